//! Whether a module may be deployed, and what its tasks are then: the checks of M1, in their order.

use std::sync::Arc;

use bytes::Bytes;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::module_store::DeployedTask;
use stem_core::names::DeploymentName;
use stem_core::policy::TaskPolicy;
use stem_core::units::ByteSize;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::bindings::{COMMAND, HANDLER};
use crate::ceilings;
use crate::deploy_error::DeployError;
use crate::describe::{describe, memory_over};
use crate::engine::{Class, most};
use crate::grants;
use crate::imports::{self, Import};
use crate::module::Module;
use crate::overrides::Overrides;
use crate::sandbox::Sandbox;
use crate::tasks;

/// The largest module that is taken.
pub const LARGEST_MODULE: ByteSize = ByteSize::mib(64);
const PAGE: u64 = 64 << 10;
const WASM: &[u8] = b"\0asm";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A module that may be deployed.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// What `stem.toml` calls the deployment.
    pub name: Option<DeploymentName>,
    /// What the module is known by.
    pub digest: Digest,
    /// Its tasks, with the policies that will be in force.
    pub tasks: Vec<DeployedTask>,
    /// What it is given.
    pub grants: Grants,
    /// What the operator should know, and may accept.
    pub warnings: Vec<String>,
}

impl Sandbox {
    /// Checks a module and reads its tasks: its policies are the built-in defaults, then the module's own, then the
    /// operator's.
    pub async fn inspect(
        self: &Arc<Self>,
        module: &Bytes,
        overrides: &Overrides,
    ) -> Result<Inspected, DeployError> {
        check_file(module)?;
        let component = self.compile(module.clone(), Class::Unmetered).await?;
        check_exports(&component, overrides.command().is_some())?;
        check_imports(&component, overrides.grants())?;
        grants::check(overrides.grants()).map_err(DeployError::Grants)?;
        let linked = self.link(&component).map_err(DeployError::mismatch)?;
        let described_with = memory_to_describe_with(overrides);
        let needed = check_size(&component, described_with)?;
        let tasks = match overrides.command() {
            Some(command) => vec![tasks::read_command(command, overrides)?],
            None => tasks::read(describe(self, &linked, described_with).await?, overrides)?,
        };
        check_memory(&tasks, needed)?;
        self.check_start(&component, &linked, &tasks).await?;
        if tasks.iter().any(counts_fuel) {
            // As workers will: what they could not compile is refused here.
            self.compile(module.clone(), Class::Fuel).await?;
        }
        Ok(Inspected {
            name: overrides.name().cloned(),
            digest: Digest::of(module),
            warnings: tasks.iter().flat_map(warnings).collect(),
            tasks,
            grants: overrides.grants().clone(),
        })
    }
}

impl Sandbox {
    /// Several memories count together, and only an instance tells with how much of them a module starts.
    async fn check_start(
        self: &Arc<Self>,
        component: &Component,
        linked: &Module,
        tasks: &[DeployedTask],
    ) -> Result<(), DeployError> {
        let needed = component.resources_required();
        let has_several = needed.is_some_and(|needed| needed.num_memories > 1);
        let smallest = tasks.iter().min_by_key(|task| task.policy.limits.memory);
        let Some(task) = smallest.filter(|_| has_several) else {
            return Ok(());
        };
        match memory_over(self, linked, task.policy.limits.memory).await? {
            None => Ok(()),
            Some(needed) => Err(DeployError::NeedsMemory {
                task: Some(task.name.clone()),
                needed,
            }),
        }
    }

    /// What a module imports, by name.
    pub async fn imports(self: &Arc<Self>, module: &Bytes) -> Result<Vec<String>, DeployError> {
        let component = self.compile(module.clone(), Class::Unmetered).await?;
        let ty = component.component_type();
        let imports = ty.imports(component.engine());
        let mut names: Vec<String> = imports.map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn counts_fuel(task: &DeployedTask) -> bool {
    Class::of(&task.policy.limits) == Class::Fuel
}

fn check_file(module: &Bytes) -> Result<(), DeployError> {
    if Engine::detect_precompiled(module).is_some() {
        return Err(DeployError::Precompiled);
    }
    if !module.starts_with(WASM) {
        return Err(DeployError::NotWasm);
    }
    if !module.starts_with(COMPONENT) {
        return Err(DeployError::CoreModule);
    }
    let size = ByteSize(u64::try_from(module.len()).unwrap_or(u64::MAX));
    if size > LARGEST_MODULE {
        return Err(DeployError::TooLarge { size });
    }
    Ok(())
}

fn check_exports(component: &Component, is_command: bool) -> Result<(), DeployError> {
    let ty = component.component_type();
    let names: Vec<&str> = ty
        .exports(component.engine())
        .map(|(name, _)| name)
        .collect();
    let other = |start: &str| names.iter().find(|name| name.starts_with(start));
    if names.contains(&HANDLER) {
        return match is_command {
            true => Err(DeployError::NoCommand),
            false => Ok(()),
        };
    }
    if let Some(handler) = other("stem:task/handler@") {
        return Err(DeployError::OtherHandler((*handler).to_owned()));
    }
    match other("wasi:cli/run@") {
        Some(run) if !run.starts_with(COMMAND) => Err(DeployError::OtherCommand((*run).to_owned())),
        Some(_) if is_command => Ok(()),
        Some(_) => Err(DeployError::Command),
        None => Err(DeployError::NoHandler),
    }
}

fn check_imports(component: &Component, grants: &Grants) -> Result<(), DeployError> {
    let ty = component.component_type();
    let names: Vec<&str> = ty
        .imports(component.engine())
        .map(|(name, _)| name)
        .collect();
    let all = |kind: Import| {
        let is_one = |name: &&&str| imports::kind(name) == kind;
        let found = imports::listed(names.iter().filter(is_one).copied());
        (!found.is_empty()).then_some(found)
    };
    if let Some(imports) = all(Import::Unknown) {
        return Err(DeployError::UnknownImports(imports));
    }
    if let Some(imports) = all(Import::OtherVersion) {
        return Err(DeployError::OtherVersions(imports));
    }
    match imports::refuse(&names, grants) {
        Some((imports, remedy)) => Err(DeployError::NotGranted { imports, remedy }),
        None => Ok(()),
    }
}

/// Checks what the component takes of the pool; gives the memory that it starts with.
fn check_size(component: &Component, memory: ByteSize) -> Result<ByteSize, DeployError> {
    let Some(needed) = component.resources_required() else {
        return Err(DeployError::Nested);
    };
    let over = |what, number: u32, limit: u32| {
        (number > limit).then_some(DeployError::TooMany {
            what,
            number,
            limit,
        })
    };
    let too_many = over("memories", needed.num_memories, most::MEMORIES)
        .or_else(|| over("tables", needed.num_tables, most::TABLES));
    if let Some(too_many) = too_many {
        return Err(too_many);
    }
    let pages = needed.max_initial_memory_size.unwrap_or_default();
    let needed = ByteSize(pages.saturating_mul(PAGE));
    if needed > memory {
        return Err(DeployError::NeedsMemory { task: None, needed });
    }
    Ok(needed)
}

/// What `describe` may use, before anybody knows the module's own limits: as much as they, or the operator's, may be.
fn memory_to_describe_with(overrides: &Overrides) -> ByteSize {
    let allowed = |setting: &crate::overrides::Setting| {
        let mut policy = TaskPolicy::default();
        let is_set = policy.set(&setting.key, &setting.value).is_ok();
        is_set.then_some(policy.limits.memory)
    };
    let largest = overrides.all().filter_map(allowed).max();
    largest.map_or(ceilings::MEMORY, |most| most.max(ceilings::MEMORY))
}

fn check_memory(tasks: &[DeployedTask], needed: ByteSize) -> Result<(), DeployError> {
    match tasks.iter().find(|task| task.policy.limits.memory < needed) {
        None => Ok(()),
        Some(task) => Err(DeployError::NeedsMemory {
            task: Some(task.name.clone()),
            needed,
        }),
    }
}

fn warnings(task: &DeployedTask) -> Vec<String> {
    let (name, limits) = (&task.name, &task.policy.limits);
    let mut warnings = Vec::new();
    if limits.memory > ceilings::MEMORY {
        warnings.push(format!(
            "`{name}` may use {}: over {}, one bulk memory operation can outlast the hard time limit",
            limits.memory,
            ceilings::MEMORY
        ));
    }
    if limits
        .soft_time
        .is_some_and(|soft| soft >= limits.hard_time)
    {
        warnings.push(format!(
            "`{name}` is never asked to stop: its soft-time-limit is not below its hard-time-limit"
        ));
    }
    warnings
}
