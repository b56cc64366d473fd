//! `module remove`: forgets versions that are kept, on purpose (M3).

use std::collections::BTreeSet;

use anyhow::Result;
use stem_core::module_store::Deployment;
use stem_core::names::TaskName;
use stem_core::stores::Stores;

use super::title;
use crate::deployed;
use crate::output::Output;
use crate::terminal::Consent;

/// Removes these versions.
pub async fn run(
    found: &[&Deployment],
    consent: Consent,
    stores: &Stores,
    output: &Output,
) -> Result<()> {
    let names: Vec<String> = found.iter().map(|one| title(one)).collect();
    let lost: BTreeSet<TaskName> = found
        .iter()
        .filter(|one| one.is_active)
        .flat_map(|one| one.tasks.iter().map(|task| task.name.clone()))
        .collect();
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
        for one in found {
            removed += usize::from(stores.modules.remove(&one.name, one.version).await?);
        }
        deployed::tell_workers(stores).await?;
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
