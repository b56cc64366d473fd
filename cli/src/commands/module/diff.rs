//! `module diff`: what is different between two versions: tasks, policies, schemas, grants, imports, size (M3).

use std::collections::BTreeSet;

use anyhow::Result;
use comfy_table::Cell;
use serde::Serialize;
use serde_json::{Value, json};
use stem_core::grants::Grants;
use stem_core::module_store::{DeployedTask, Deployment};
use stem_core::names::TaskName;
use stem_core::stores::Stores;

use super::{DeploymentView, grant_text, title};
use crate::deployed;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::output::{Output, harmless};
use crate::sandbox::Engine;

/// Which versions
#[derive(Debug, clap::Args)]
pub struct Args {
    /// NAME, NAME@VERSION or the beginning of a digest; a name means its active version
    before: String,
    /// What it is compared with
    after: String,
}

/// Something that is different.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    what: &'static str,
    /// Whose, where it is one task's.
    task: Option<TaskName>,
    /// Of which setting, grant, task or import.
    name: Option<String>,
    before: Option<String>,
    after: Option<String>,
}

impl Difference {
    /// None where both are the same.
    fn between(what: &'static str, before: Option<String>, after: Option<String>) -> Option<Self> {
        (before != after).then_some(Self {
            what,
            task: None,
            name: None,
            before,
            after,
        })
    }

    fn named(self, name: impl Into<String>) -> Self {
        let name = Some(name.into());
        Self { name, ..self }
    }

    fn of(self, task: &TaskName) -> Self {
        let task = Some(task.clone());
        Self { task, ..self }
    }

    /// What it is of, as people read it.
    fn subject(&self) -> String {
        let name = self.name.iter().map(|name| format!(" {name}"));
        let task = self.task.iter().map(|task| format!(" of {task}"));
        let parts = std::iter::once(self.what.to_owned())
            .chain(name)
            .chain(task);
        parts.collect()
    }
}

/// Compares two versions.
pub async fn run(
    args: &Args,
    deployments: &[Deployment],
    stores: &Stores,
    invocation: &Invocation,
) -> Result<()> {
    let before = deployed::one(deployments, &args.before, "compare")?;
    let after = deployed::one(deployments, &args.after, "compare")?;
    let mut found = differences(before, after);
    if before.digest != after.digest {
        let engine = Engine::for_inspection(&stores.clock, &invocation.config)?;
        let imported = [
            imports(before, &engine, stores).await?,
            imports(after, &engine, stores).await?,
        ];
        found.extend(sets("import", &imported[0], &imported[1]));
    }
    show((before, after), &found, &invocation.output)
}

async fn imports(one: &Deployment, engine: &Engine, stores: &Stores) -> Result<BTreeSet<String>> {
    let attempted = format!("read the imports of {}", title(one));
    let module = stores.modules.module(&one.digest).await?;
    let gone = || Failure::not_found(&attempted, "the store has lost its module");
    let imports = engine
        .imports(&module.ok_or_else(gone)?, &attempted)
        .await?;
    Ok(imports.into_iter().collect())
}

fn differences(before: &Deployment, after: &Deployment) -> Vec<Difference> {
    let between = |what, of: fn(&Deployment) -> String| {
        Difference::between(what, Some(of(before)), Some(of(after)))
    };
    let whole = [
        between("digest", |one| one.digest.to_string()),
        between("size", |one| one.size_bytes.to_string()),
        between("signature", |one| match &one.sealed.signature {
            Some(signature) => format!("by {}", signature.key),
            None => "none".to_owned(),
        }),
    ];
    let mut found: Vec<Difference> = whole.into_iter().flatten().collect();
    found.extend(sets("task", &names(before), &names(after)));
    for task in &before.tasks {
        let now = after.task(&task.name);
        found.extend(now.into_iter().flat_map(|now| of_task(task, now)));
    }
    found.extend(of_grants(before, after));
    found
}

fn names(one: &Deployment) -> BTreeSet<String> {
    one.tasks.iter().map(|task| task.name.to_string()).collect()
}

/// What only one of them has.
fn sets(
    what: &'static str,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Vec<Difference> {
    let there = |set: &BTreeSet<String>, name| set.contains(name).then(|| "there".to_owned());
    let different = before.symmetric_difference(after).filter_map(|name| {
        let between = Difference::between(what, there(before, name), there(after, name));
        Some(between?.named(name))
    });
    different.collect()
}

fn of_task(before: &DeployedTask, after: &DeployedTask) -> Vec<Difference> {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let settings = before.policy.settings().zip(after.policy.settings());
    let settings = settings.filter_map(|((key, before), (_, after))| {
        Some(Difference::between("policy", text(before), text(after))?.named(key))
    });
    let description = (before.description.clone(), after.description.clone());
    let rest = [
        Difference::between("description", text(description.0), text(description.1)),
        Difference::between("command", command(before), command(after)),
        schema("payload", &before.payload_schema, &after.payload_schema),
        schema("result", &before.result_schema, &after.result_schema),
    ];
    let all = settings.chain(rest.into_iter().flatten());
    all.map(|difference| difference.of(&before.name)).collect()
}

/// What a program is run with.
fn command(task: &DeployedTask) -> Option<String> {
    let command = task.command.as_ref()?;
    serde_json::to_string(command).ok()
}

/// A schema that only says the same in another order is the same.
fn schema(name: &str, before: &Option<String>, after: &Option<String>) -> Option<Difference> {
    let parsed =
        |text: &Option<String>| -> Option<Value> { serde_json::from_str(text.as_deref()?).ok() };
    let (before, after) = (parsed(before), parsed(after));
    let text = |schema: Option<Value>| schema.map(|schema| schema.to_string());
    (before != after)
        .then(|| Difference::between("schema", text(before), text(after)))
        .flatten()
        .map(|difference| difference.named(name))
}

fn of_grants(before: &Deployment, after: &Deployment) -> Vec<Difference> {
    let granted = |one: &Deployment| serde_json::to_value(&one.grants).unwrap_or_default();
    let (before, after) = (granted(before), granted(after));
    let text = |grants: &Value, key: &str| grants.get(key).map(grant_text);
    let different = Grants::KEYS.into_iter().filter_map(|key| {
        Some(Difference::between("grant", text(&before, key), text(&after, key))?.named(key))
    });
    different.collect()
}

fn show(
    (before, after): (&Deployment, &Deployment),
    found: &[Difference],
    output: &Output,
) -> Result<()> {
    if output.is_json {
        return output.json(&json!({
            "before": DeploymentView::new(before),
            "after": DeploymentView::new(after),
            "differences": found,
        }));
    }
    let (before, after) = (title(before), title(after));
    if found.is_empty() {
        return output.line(format!("{before} and {after} are the same"));
    }
    let cell = |value: &Option<String>| Cell::new(harmless(value.as_deref().unwrap_or("-")));
    let row = |one: &Difference| {
        vec![
            Cell::new(one.subject()),
            cell(&one.before),
            cell(&one.after),
        ]
    };
    output.table(&["what", &before, &after], found.iter().map(row))
}
