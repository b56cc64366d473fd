//! `module`: what is deployed, in which versions, and which of them is active (M3).

mod diff;
mod remove;
mod switch;

use anyhow::Result;
use comfy_table::Cell;
use serde::Serialize;
use serde_json::Value;
use stem_core::canary::Share;
use stem_core::grants::Grants;
use stem_core::module_store::{CommandLine, DeployedTask, Deployment};
use stem_core::names::{KeyId, TaskName};
use stem_core::signing::{Algorithm, PublicKeys, Purpose, SignatureError};

use super::observe::Account;
use crate::deployed::{self, title};
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
    /// One version with its tasks, the policy in force, its grants, its signature, and what its tasks used in the last
    /// 24 hours
    Show {
        /// NAME, NAME@VERSION or the beginning of a digest
        module: String,
    },
    /// What is different between two versions
    Diff(diff::Args),
    /// Go back to an older version, or end a canary
    Rollback(switch::RollbackArgs),
    /// Make a canary active for all envelopes
    Promote(switch::PromoteArgs),
    /// Remove a version, or everything under a name
    Remove(RemoveArgs),
}

/// Which versions, and how sure that is
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// NAME, NAME@VERSION or the beginning of a digest
    module: String,
    /// Remove it though envelopes wait for its tasks: they become dead letters
    #[arg(long)]
    force: bool,
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
            let shown = deployed::one(&deployments, &module, "show")?;
            let signature = SignatureView::new(shown, invocation);
            let used = Account::of_tasks(&shown.tasks, &stores).await?;
            show(shown, (&signature, &used), output)
        }
        Verb::Diff(args) => diff::run(&args, &deployments, &stores, invocation).await,
        Verb::Rollback(args) => switch::rollback(&args, &deployments, &stores, invocation).await,
        Verb::Promote(args) => switch::promote(&args, &deployments, &stores, invocation).await,
        Verb::Remove(args) => {
            let found = deployed::select(&deployments, &args.module, "remove")?;
            remove::run(&args, &found, &stores, output).await
        }
    }
}

/// One version, as `module list --json` and `deploy --json` give it.
#[derive(Serialize)]
pub struct DeploymentView {
    name: String,
    version: u32,
    active: bool,
    canary_percent: Option<f64>,
    digest: String,
    size_bytes: u64,
    deployed_at: String,
    activated_at: Option<String>,
    signed_by: Option<KeyId>,
    tasks: Vec<TaskName>,
}

impl DeploymentView {
    /// A version without its policy.
    pub fn new(deployment: &Deployment) -> Self {
        Self {
            name: deployment.name.to_string(),
            version: deployment.version,
            active: deployment.is_active,
            canary_percent: deployment.canary.map(Share::percent),
            digest: deployment.digest.to_string(),
            size_bytes: deployment.size_bytes,
            deployed_at: deployment.deployed_at.to_string(),
            activated_at: deployment.activated_at.map(|time| time.to_string()),
            signed_by: signer(deployment).cloned(),
            tasks: deployment
                .tasks
                .iter()
                .map(|task| task.name.clone())
                .collect(),
        }
    }
}

fn signer(deployment: &Deployment) -> Option<&KeyId> {
    let signature = deployment.sealed.signature.as_ref();
    signature.map(|signature| &signature.key)
}

/// Which envelopes run on it.
fn role(deployment: &Deployment) -> String {
    match (deployment.is_active, deployment.canary) {
        (true, _) => "active".to_owned(),
        (false, Some(share)) => format!("canary {share}"),
        (false, None) => String::new(),
    }
}

/// What a signature is worth on this machine.
#[derive(Serialize)]
struct SignatureView {
    key: Option<KeyId>,
    algorithm: Option<Algorithm>,
    /// `verified`, `altered`, `unknown-key`, `unchecked` (this machine has no keys) or `unsigned`.
    state: &'static str,
    problem: Option<String>,
}

impl SignatureView {
    fn new(deployment: &Deployment, invocation: &Invocation) -> Self {
        // Whoever only looks may have no right to read the private keys' file.
        let keys = invocation.config.signing.trusted().unwrap_or_else(|error| {
            invocation.output.note(format!("warning: {error:#}"));
            PublicKeys::default()
        });
        let (state, problem) = judge(deployment, &keys);
        let signature = deployment.sealed.signature.as_ref();
        Self {
            key: signature.map(|signature| signature.key.clone()),
            algorithm: signature.map(|signature| signature.algorithm),
            state,
            problem: problem.or_else(|| deployment.damage.clone()),
        }
    }

    fn text(&self) -> String {
        let key = self.key.iter().map(|key| format!(" (`{key}`)"));
        let problem = self.problem.iter().map(|problem| format!(": {problem}"));
        let parts = std::iter::once(self.state.to_owned())
            .chain(key)
            .chain(problem);
        parts.collect()
    }
}

fn judge(deployment: &Deployment, keys: &PublicKeys) -> (&'static str, Option<String>) {
    let Some(signature) = &deployment.sealed.signature else {
        return ("unsigned", None);
    };
    if keys.is_empty() {
        return ("unchecked", None);
    }
    let manifest = &deployment.sealed.manifest;
    match keys.verify(Purpose::Manifest, manifest, signature) {
        Ok(()) if deployment.damage.is_none() => ("verified", None),
        Ok(()) => ("altered", None),
        Err(error @ SignatureError::UnknownKey(_)) => ("unknown-key", Some(error.to_string())),
        Err(error @ SignatureError::Mismatch(_)) => ("altered", Some(error.to_string())),
    }
}

fn list(deployments: &[Deployment], output: &Output) -> Result<()> {
    let columns = Columns {
        header: &[
            "module",
            "active",
            "digest",
            "size",
            "deployed",
            "signed by",
            "tasks",
        ],
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
        Cell::new(title(deployment)),
        Cell::new(role(deployment)),
        Cell::new(deployment.digest.short()),
        Cell::new(size(deployment.size_bytes)),
        Cell::new(deployment.deployed_at),
        Cell::new(signer(deployment).map(KeyId::as_str).unwrap_or_default()),
        Cell::new(tasks.join(", ")),
    ]
}

fn show(
    deployment: &Deployment,
    (signature, used): (&SignatureView, &Account),
    output: &Output,
) -> Result<()> {
    if output.is_json {
        let mut view = serde_json::to_value(DeploymentView::new(deployment))?;
        let tasks = deployment.tasks.iter().map(task_value);
        view["tasks"] = tasks.collect();
        view["grants"] = serde_json::to_value(&deployment.grants)?;
        view["usage"] = used.values().into();
        view["signature"] = serde_json::to_value(signature)?;
        return output.json(&view);
    }
    let activated = deployment.activated_at.map(|time| time.to_string());
    let activated = activated.unwrap_or_default();
    output.details([
        ("module", Cell::new(title(deployment))),
        (
            "active",
            Cell::new(match role(deployment).as_str() {
                "active" => "yes",
                "" => "no",
                canary => canary,
            }),
        ),
        ("digest", Cell::new(deployment.digest)),
        ("size", Cell::new(size(deployment.size_bytes))),
        ("deployed", Cell::new(deployment.deployed_at)),
        ("made active", Cell::new(activated)),
        ("signature", Cell::new(signature.text())),
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
