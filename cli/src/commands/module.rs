//! `module`: list, show and remove what is deployed (M3).

use std::collections::BTreeSet;

use anyhow::Result;
use comfy_table::Cell;
use serde::Serialize;
use serde_json::Value;
use stem_core::control::Command;
use stem_core::grants::Grants;
use stem_core::module_store::{CommandLine, DeployedTask, Deployment};
use stem_core::names::TaskName;
use stem_core::stores::Stores;

use super::observe::Account;
use crate::deployed;
use crate::invocation::Invocation;
use crate::output::{Columns, Output, harmless, size};
use crate::stores::Lifetime;
use crate::terminal::Consent;
use crate::views::PolicyView;

/// What to do with modules
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Every version that is kept, newest first
    List,
    /// One version with its tasks, the policy in force, and what its tasks used in the last 24 hours
    Show {
        /// NAME, NAME@VERSION or the beginning of a digest
        module: String,
    },
    /// Remove a version, or everything under a name
    Remove(RemoveArgs),
}

/// Which versions, and how sure that is
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// NAME, NAME@VERSION or the beginning of a digest
    module: String,
    #[command(flatten)]
    consent: Consent,
}

/// Looks after modules.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let output = &invocation.output;
    let deployments = stores.modules.deployments().await?;
    match verb {
        Verb::List => list(&deployments, output),
        Verb::Show { module } => {
            let found = deployed::select(&deployments, &module, "show")?;
            let active = found.iter().find(|one| one.is_active);
            let shown = active.unwrap_or(&found[0]);
            let used = Account::of_tasks(&shown.tasks, &stores).await?;
            show(shown, &used, output)
        }
        Verb::Remove(args) => {
            let found = deployed::select(&deployments, &args.module, "remove")?;
            remove(&found, args.consent, &stores, output).await
        }
    }
}

/// One version, as `module list --json` and `deploy --json` give it.
#[derive(Serialize)]
pub struct DeploymentView {
    name: String,
    version: u32,
    active: bool,
    digest: String,
    size_bytes: u64,
    deployed_at: String,
    tasks: Vec<TaskName>,
}

impl DeploymentView {
    /// A version without its policy.
    pub fn new(deployment: &Deployment) -> Self {
        Self {
            name: deployment.name.to_string(),
            version: deployment.version,
            active: deployment.is_active,
            digest: deployment.digest.to_string(),
            size_bytes: deployment.size_bytes,
            deployed_at: deployment.deployed_at.to_string(),
            tasks: deployment
                .tasks
                .iter()
                .map(|task| task.name.clone())
                .collect(),
        }
    }
}

fn list(deployments: &[Deployment], output: &Output) -> Result<()> {
    let columns = Columns {
        header: &["module", "active", "digest", "size", "deployed", "tasks"],
        row,
        none: "nothing is deployed",
    };
    output.list(deployments, DeploymentView::new, &columns)
}

fn row(deployment: &Deployment) -> Vec<Cell> {
    let tasks: Vec<&str> = deployment
        .tasks
        .iter()
        .map(|task| task.name.as_str())
        .collect();
    vec![
        Cell::new(format!("{}@{}", deployment.name, deployment.version)),
        Cell::new(if deployment.is_active { "active" } else { "" }),
        Cell::new(deployment.digest.short()),
        Cell::new(size(deployment.size_bytes)),
        Cell::new(deployment.deployed_at),
        Cell::new(tasks.join(", ")),
    ]
}

fn show(deployment: &Deployment, used: &Account, output: &Output) -> Result<()> {
    if output.is_json {
        let mut view = serde_json::to_value(DeploymentView::new(deployment))?;
        let tasks = deployment.tasks.iter().map(task_value);
        view["tasks"] = tasks.collect();
        view["grants"] = serde_json::to_value(&deployment.grants)?;
        view["usage"] = used.values().into();
        return output.json(&view);
    }
    output.details([
        (
            "module",
            Cell::new(format!("{}@{}", deployment.name, deployment.version)),
        ),
        (
            "active",
            Cell::new(if deployment.is_active { "yes" } else { "no" }),
        ),
        ("digest", Cell::new(deployment.digest)),
        ("size", Cell::new(size(deployment.size_bytes))),
        ("deployed", Cell::new(deployment.deployed_at)),
    ])?;
    show_grants(&deployment.grants, output)?;
    show_policies(&deployment.tasks, output)?;
    output.line("\nused")?;
    used.show(output)
}

/// What a module is given, where it is given anything.
pub fn show_grants(grants: &Grants, output: &Output) -> Result<()> {
    if *grants == Grants::default() {
        return Ok(());
    }
    output.line("\ngrants")?;
    let granted = serde_json::to_value(grants)?;
    let granted = granted.as_object().into_iter().flatten();
    output.details(granted.map(|(key, value)| (key.as_str(), Cell::new(grant_text(value)))))
}

/// A grant in the words of `stem.toml`, one a line.
fn grant_text(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(grant_text).collect::<Vec<_>>().join("\n"),
        Value::Object(pairs) => {
            let line = |(key, value)| format!("{key} = {}", grant_text(value).replace('\n', ", "));
            pairs.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => harmless(text).to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The effective policy of each task.
pub fn show_policies(tasks: &[DeployedTask], output: &Output) -> Result<()> {
    for task in tasks {
        output.line(format!(
            "\ntask {}: {}",
            task.name,
            harmless(&task.description)
        ))?;
        if let Some(command) = &task.command {
            show_command(command, output)?;
        }
        let settings = task.policy.settings();
        output.details(settings.map(|(key, value)| (key, Cell::new(value))))?;
    }
    Ok(())
}

fn show_command(command: &CommandLine, output: &Output) -> Result<()> {
    let arguments = command.arguments.join(" ");
    let content_type = command.result_content_type.as_deref();
    output.details([
        ("command", Cell::new("wasi:cli/run")),
        ("arguments", Cell::new(harmless(&arguments))),
        (
            "result-content-type",
            Cell::new(content_type.unwrap_or("as the output looks")),
        ),
    ])
}

/// A task as JSON: description, schemas, and the policy in force.
pub fn task_value(task: &DeployedTask) -> Value {
    let schema = |schema: &Option<String>| -> Value {
        let parsed = schema.as_deref().map(serde_json::from_str);
        parsed.and_then(Result::ok).unwrap_or_default()
    };
    serde_json::json!({
        "task": task.name,
        "description": task.description,
        "command": task.command.as_ref().map(command_value),
        "policy": PolicyView::new(&task.policy),
        "payload_schema": schema(&task.payload_schema),
        "result_schema": schema(&task.result_schema),
    })
}

fn command_value(command: &CommandLine) -> Value {
    serde_json::json!({
        "arguments": command.arguments,
        "result_content_type": command.result_content_type,
    })
}

async fn remove(
    found: &[&Deployment],
    consent: Consent,
    stores: &Stores,
    output: &Output,
) -> Result<()> {
    let names: Vec<String> = found
        .iter()
        .map(|one| format!("{}@{}", one.name, one.version))
        .collect();
    let lost: BTreeSet<TaskName> = found
        .iter()
        .filter(|one| one.is_active)
        .flat_map(|one| one.tasks.iter().map(|task| task.name.clone()))
        .collect();
    let waiting = deployed::waiting_for(stores, &lost).await?;
    if !waiting.is_empty() {
        output.note(format!(
            "envelopes wait for its tasks: {}",
            deployed::listed(&waiting)
        ));
    }
    let mut deed = names.join(", ");
    if !lost.is_empty() {
        let lost: Vec<&str> = lost.iter().map(TaskName::as_str).collect();
        deed.push_str(&format!(
            ", after which these tasks are not deployed: {}",
            lost.join(", ")
        ));
    }
    let mut removed = 0;
    if !consent.dry_run {
        consent.obtain(&format!("remove {deed}"))?;
        for one in found {
            removed += usize::from(stores.modules.remove(&one.name, one.version).await?);
        }
        stores
            .control
            .broadcast(&Command::DeploymentsChanged)
            .await?;
    }
    if output.is_json {
        return output.json(&serde_json::json!({
            "versions": names, "removed": removed, "undeployed": lost,
            "waiting_by_task": waiting, "dry_run": consent.dry_run,
        }));
    }
    let verb = if consent.dry_run {
        "would remove"
    } else {
        "removed"
    };
    output.line(format!("{verb} {deed}"))
}
