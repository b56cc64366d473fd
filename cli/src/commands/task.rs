//! `task`: what can be enqueued, and what each task takes.

use anyhow::Result;
use comfy_table::Cell;
use serde_json::json;
use stem_core::module_store::{DeployedTask, Deployment};
use stem_core::names::TaskName;
use stem_core::units::format_duration;

use super::module::{show_policies, task_value};
use crate::arguments::OneTask;
use crate::deployed;
use crate::invocation::Invocation;
use crate::output::{Columns, Output, harmless};
use crate::stores::Lifetime;

/// What to do with tasks
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Every task that is deployed
    List,
    /// One task: its policy, its schemas, its deployment
    Show(OneTask),
}

/// Shows tasks.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let output = &invocation.output;
    let deployments = stores.modules.deployments().await?;
    match verb {
        Verb::List => list(&deployments, output),
        Verb::Show(task) => show(deployments, &task.get(), output),
    }
}

/// A task and the deployment that it belongs to.
type Owned<'a> = (&'a Deployment, &'a DeployedTask);

fn list(deployments: &[Deployment], output: &Output) -> Result<()> {
    let active = deployments.iter().filter(|deployment| deployment.is_active);
    let mut tasks: Vec<Owned> = active
        .flat_map(|deployment| deployment.tasks.iter().map(move |task| (deployment, task)))
        .collect();
    tasks.sort_by_key(|(_, task)| task.name.clone());
    let columns = Columns {
        header: &[
            "task",
            "module",
            "queue",
            "attempts",
            "hard limit",
            "memory",
            "description",
        ],
        row,
        none: "no task is deployed",
    };
    output.list(&tasks, view, &columns)
}

fn row((deployment, task): &Owned) -> Vec<Cell> {
    let policy = &task.policy;
    let queue = policy.queue.as_ref().map(ToString::to_string);
    vec![
        Cell::new(&task.name),
        Cell::new(format!("{}@{}", deployment.name, deployment.version)),
        Cell::new(queue.unwrap_or_default()),
        Cell::new(policy.max_attempts),
        Cell::new(format_duration(policy.limits.hard_time)),
        Cell::new(policy.limits.memory),
        Cell::new(harmless(
            task.description.lines().next().unwrap_or_default(),
        )),
    ]
}

fn view((deployment, task): &Owned) -> serde_json::Value {
    json!({
        "task": task.name,
        "module": deployment.name,
        "version": deployment.version,
        "queue": task.policy.queue,
        "description": task.description,
    })
}

fn show(deployments: Vec<Deployment>, name: &TaskName, output: &Output) -> Result<()> {
    let (deployment, task) = deployed::find_task(deployments, name, "show")?;
    if output.is_json {
        let mut value = task_value(&task);
        value["module"] = json!(deployment.name);
        value["version"] = json!(deployment.version);
        value["digest"] = json!(deployment.digest);
        return output.json(&value);
    }
    output.details([
        (
            "module",
            Cell::new(format!("{}@{}", deployment.name, deployment.version)),
        ),
        ("digest", Cell::new(deployment.digest)),
    ])?;
    show_policies(std::slice::from_ref(&task), output)?;
    show_schema("takes", task.payload_schema.as_deref(), output)?;
    show_schema("gives", task.result_schema.as_deref(), output)
}

fn show_schema(title: &str, schema: Option<&str>, output: &Output) -> Result<()> {
    let Some(schema) = schema else {
        return Ok(());
    };
    let parsed: serde_json::Value = serde_json::from_str(schema)?;
    output.line(format!(
        "\n{title} (JSON Schema)\n{}",
        serde_json::to_string_pretty(&parsed)?
    ))
}
