//! `module remove`: forgets versions that are kept, on purpose (M3).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use stem_core::module_store::Deployment;
use stem_core::names::TaskName;
use stem_core::stores::Stores;

use super::{RemoveArgs, title};
use crate::deployed;
use crate::output::Output;

/// Removes these versions.
pub async fn run(
    args: &RemoveArgs,
    found: &[&Deployment],
    stores: &Stores,
    output: &Output,
) -> Result<()> {
    let names: Vec<String> = found.iter().map(|one| title(one)).collect();
    let lost: BTreeSet<TaskName> = found
        .iter()
        .filter(|one| one.is_active)
        .flat_map(|one| one.tasks.iter().map(|task| task.name.clone()))
        .collect();
    let consent = args.consent;
    if !args.force {
        let attempted = format!("remove `{}`", args.module);
        deployed::check_dropped(&lost, stores, &attempted).await?;
    }
    let waiting = deployed::waiting_for(stores, &lost).await?;
    if !waiting.is_empty() {
        let listed = deployed::listed(&waiting);
        output.note(format!("envelopes wait for its tasks: {listed}"));
    }
    let mut deed = names.join(", ");
    if !lost.is_empty() {
        let lost: Vec<&str> = lost.iter().map(TaskName::as_str).collect();
        let lost = lost.join(", ");
        deed.push_str(&format!(
            ", after which these tasks are not deployed: {lost}"
        ));
    }
    let mut removed = 0;
    if !consent.dry_run {
        consent.obtain(&format!("remove {deed}"))?;
        let all = remove(found, stores).await;
        // Also where it stopped midway: what went before is gone.
        let told = deployed::tell_workers(stores).await;
        removed = all?;
        told?;
    }
    if output.is_json {
        return output.json(&serde_json::json!({
            "versions": names, "removed": removed, "undeployed": lost,
            "waiting_by_task": waiting, "dry_run": consent.dry_run,
        }));
    }
    let verb = match consent.dry_run {
        true => "would remove",
        false => "removed",
    };
    output.line(format!("{verb} {deed}"))
}

/// Removes one after the other, and says how many were there.
async fn remove(found: &[&Deployment], stores: &Stores) -> Result<usize> {
    let mut removed = 0;
    for one in found {
        let is_removed = stores.modules.remove(&one.name, one.version).await;
        removed += usize::from(is_removed.with_context(|| format!("remove {}", title(one)))?);
    }
    Ok(removed)
}
