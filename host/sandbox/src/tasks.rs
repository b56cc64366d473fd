//! From a module's descriptors to deployed tasks: names, schemas, and the policies in force (E5, M4).

use std::collections::HashSet;

use stem_core::module_store::DeployedTask;
use stem_core::names::{TaskName, nearest};
use stem_core::policy::TaskPolicy;
use stem_core::schema::Schema;

use crate::bindings::stem::task::types::Descriptor;
use crate::ceilings;
use crate::command::CommandSettings;
use crate::deploy_error::DeployError;
use crate::log::{cut, escape};
use crate::overrides::Overrides;

const MOST_TASKS: usize = 256;
const LONGEST_DESCRIPTION: usize = 4 << 10;

/// The tasks that a module describes, as its operator wants them.
pub(crate) fn read(
    descriptors: Vec<Descriptor>,
    overrides: &Overrides,
) -> Result<Vec<DeployedTask>, DeployError> {
    let number = descriptors.len();
    if number == 0 {
        return Err(DeployError::NoTask);
    }
    if number > MOST_TASKS {
        let limit = MOST_TASKS;
        return Err(DeployError::TooManyTasks { number, limit });
    }
    let mut names = HashSet::new();
    let mut tasks = Vec::with_capacity(number);
    for descriptor in descriptors {
        let task = read_one(descriptor, overrides)?;
        if !names.insert(task.name.clone()) {
            return Err(DeployError::TwiceNamed(task.name));
        }
        tasks.push(task);
    }
    check_sections(overrides, &names)?;
    Ok(tasks)
}

/// The one task of a program, as its operator describes it (S9).
pub(crate) fn read_command(
    command: &CommandSettings,
    overrides: &Overrides,
) -> Result<DeployedTask, DeployError> {
    let name = command.task.clone().ok_or(DeployError::UnnamedCommand)?;
    let task = read_one(command.descriptor(&name), overrides)?;
    check_sections(overrides, &HashSet::from([name]))?;
    Ok(DeployedTask {
        command: Some(command.line.clone()),
        ..task
    })
}

fn read_one(descriptor: Descriptor, overrides: &Overrides) -> Result<DeployedTask, DeployError> {
    let name = TaskName::new(&descriptor.name).map_err(DeployError::TaskName)?;
    let mut policy = TaskPolicy::default();
    let defaults = &descriptor.defaults;
    defaults
        .iter()
        .try_for_each(|(key, value)| policy.set(key, value))
        .map_err(|problem| DeployError::Default {
            task: name.clone(),
            problem,
        })?;
    ceilings::check(&name, &policy.limits, overrides)?;
    overrides
        .apply(&name, &mut policy)
        .map_err(|problem| DeployError::Default {
            task: name.clone(),
            problem,
        })?;
    check_schema(&name, "payload", descriptor.payload_schema.as_deref())?;
    check_schema(&name, "result", descriptor.result_schema.as_deref())?;
    let mut description = descriptor.description;
    cut(&mut description, LONGEST_DESCRIPTION);
    Ok(DeployedTask {
        name,
        description: escape(&description),
        payload_schema: descriptor.payload_schema,
        result_schema: descriptor.result_schema,
        command: None,
        policy,
    })
}

fn check_schema(
    task: &TaskName,
    which: &'static str,
    schema: Option<&str>,
) -> Result<(), DeployError> {
    let Some(schema) = schema else { return Ok(()) };
    let compiled = Schema::compile(schema);
    compiled.map(drop).map_err(|source| DeployError::Schema {
        task: task.clone(),
        which,
        source,
    })
}

fn check_sections(overrides: &Overrides, names: &HashSet<TaskName>) -> Result<(), DeployError> {
    match overrides.tasks().find(|task| !names.contains(*task)) {
        None => Ok(()),
        Some(task) => Err(DeployError::UnknownTask {
            task: task.clone(),
            hint: nearest(task.as_str(), names.iter().map(TaskName::as_str)).map(str::to_owned),
        }),
    }
}
