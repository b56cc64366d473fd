//! Modules by digest, and the deployments that make them active (M2, M3).
//!
//! Removing the active version leaves its tasks without a module: an older one becomes active only by being asked for,
//! never by surprise.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::OptionalExtension;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, Deployment, KEPT_VERSIONS, ModuleStore};
use stem_core::names::{DeploymentName, TaskName};
use stem_core::store_error::StoreError;

use crate::deployments;
use crate::problem::Stepped;
use crate::rows::{self, millis};
use crate::store::Store;
use crate::writer::Step;

#[async_trait]
impl ModuleStore for Store {
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError> {
        let activation = activation.clone();
        self.write("deploy", move |step| activate(step, &activation))
            .await
    }

    async fn reactivate(
        &self,
        name: &DeploymentName,
        version: u32,
        moves_tasks: bool,
    ) -> Result<Activated, StoreError> {
        let name = name.clone();
        self.write("make a version active", move |step| {
            reactivate(step, (&name, version), moves_tasks)
        })
        .await
    }

    async fn end_canary(&self, name: &DeploymentName) -> Result<Option<u32>, StoreError> {
        let name = name.clone();
        self.write("end a canary", move |step| {
            let ended = end_canary(step, &name)?;
            if ended.is_some() {
                changed(step)?;
            }
            Ok(ended)
        })
        .await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let namespace = self.shared.namespace;
        self.list_rows("list deployments", move |connection| {
            deployments::all(connection, namespace)
        })
        .await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        const MODULE: &str = "SELECT bytes FROM modules WHERE namespace = ?1 AND digest = ?2";
        let (namespace, digest) = (self.shared.namespace, *digest);
        self.list_rows("fetch a module", move |connection| {
            let mut statement = connection.prepare_cached(MODULE)?;
            let params = (namespace, digest.as_bytes());
            let bytes = statement.query_row(params, |row| rows::bytes(row, 0));
            Ok(bytes.optional()?)
        })
        .await
    }

    async fn remove(&self, name: &DeploymentName, version: u32) -> Result<bool, StoreError> {
        let name = name.clone();
        self.write("remove a deployment", move |step| {
            let is_removed = remove(step, &name, version)?;
            if is_removed {
                drop_modules(step)?;
                changed(step)?;
            }
            Ok(is_removed)
        })
        .await
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        const REVISION: &str = "SELECT revision FROM namespaces WHERE namespace = ?1";
        let namespace = self.shared.namespace;
        self.read("ask for new deployments", move |connection| {
            let mut statement = connection.prepare_cached(REVISION)?;
            let revision: i64 = statement.query_row([namespace], |row| row.get(0))?;
            Ok(revision.cast_unsigned())
        })
        .await
    }
}

fn activate(step: &Step<'_>, activation: &Activation) -> Stepped<Activated> {
    let name = &activation.manifest.name;
    let tasks = activation.manifest.tasks.iter();
    let tasks: Vec<TaskName> = tasks.map(|task| task.name.clone()).collect();
    let active = deployments::active(step.connection, step.namespace)?;
    match activation.canary {
        Some(_) if !active.iter().any(|one| one.name == *name) => {
            return Ok(Activated::NothingActive);
        }
        Some(_) => {
            if let Some(taken) = taken(&active, name, &tasks) {
                return Ok(taken);
            }
            end_canary(step, name)?;
        }
        None => {
            if let Some(taken) = take_over(step, name, (&tasks, activation.moves_tasks))? {
                return Ok(taken);
            }
        }
    }
    let new = Deployment::of(activation, next_version(step, name)?, step.now);
    keep_module(step, new.digest, &activation.module)?;
    deployments::add(step, &new, &tasks)?;
    prune(step, name)?;
    changed(step)?;
    Ok(Activated::Done(Box::new(new)))
}

fn reactivate(
    step: &Step<'_>,
    (name, version): (&DeploymentName, u32),
    moves_tasks: bool,
) -> Stepped<Activated> {
    const ACTIVATE: &str = "UPDATE deployments SET is_active = 1, canary = NULL, activated_at = ?4
        WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    let Some(kept) = deployments::find(step, name, version)? else {
        return Ok(Activated::NotKept);
    };
    let own = kept.task_names();
    if let Some(taken) = take_over(step, name, (&own, moves_tasks))? {
        return Ok(taken);
    }
    let params = (step.namespace, name.as_str(), version, millis(step.now));
    step.execute(ACTIVATE, params)?;
    deployments::set_own(step, &kept, &own)?;
    changed(step)?;
    let again = Deployment {
        is_active: true,
        canary: None,
        activated_at: Some(step.now),
        ..kept.opened(&own)
    };
    Ok(Activated::Done(Box::new(again)))
}

/// Makes room for a new active version: no other has its name or its tasks any more. Nothing has changed where a task
/// may not be moved.
fn take_over(
    step: &Step<'_>,
    name: &DeploymentName,
    (tasks, moves_tasks): (&[TaskName], bool),
) -> Stepped<Option<Activated>> {
    const RETIRE: &str =
        "UPDATE deployments SET is_active = 0, canary = NULL WHERE namespace = ?1 AND name = ?2";
    let active = deployments::active(step.connection, step.namespace)?;
    let taken = taken(&active, name, tasks);
    if taken.is_some() && !moves_tasks {
        return Ok(taken);
    }
    for owner in active.iter().filter(|owner| owner.name != *name) {
        disown(step, owner, tasks)?;
    }
    step.execute(RETIRE, (step.namespace, name.as_str()))?;
    Ok(None)
}

/// One of these tasks that another deployment owns.
fn taken(active: &[Deployment], name: &DeploymentName, tasks: &[TaskName]) -> Option<Activated> {
    let mut others = active.iter().filter(|owner| owner.name != *name);
    others.find_map(|owner| {
        let task = tasks.iter().find(|task| owner.task(task).is_some())?;
        Some(Activated::TaskTaken {
            task: task.clone(),
            owner: owner.name.clone(),
        })
    })
}

/// Takes these tasks from the version that is active under another name; its manifest stays as it was signed.
fn disown(step: &Step<'_>, owner: &Deployment, moved: &[TaskName]) -> Stepped<()> {
    let tasks = owner.tasks.iter().map(|task| task.name.clone());
    let own: Vec<TaskName> = tasks.filter(|task| !moved.contains(task)).collect();
    match own.len() == owner.tasks.len() {
        true => Ok(()),
        false => deployments::set_own(step, owner, &own),
    }
}

fn end_canary(step: &Step<'_>, name: &DeploymentName) -> Stepped<Option<u32>> {
    const END: &str = "UPDATE deployments SET canary = NULL
        WHERE namespace = ?1 AND name = ?2 AND canary IS NOT NULL RETURNING version";
    let mut statement = step.prepare(END)?;
    let ended = statement.query_row((step.namespace, name.as_str()), |row| row.get(0));
    Ok(ended.optional()?)
}

fn next_version(step: &Step<'_>, name: &DeploymentName) -> Stepped<u32> {
    const NEXT: &str = "INSERT INTO deployment_names (namespace, name, newest) VALUES (?1, ?2, 1)
        ON CONFLICT DO UPDATE SET newest = newest + 1 RETURNING newest";
    let params = (step.namespace, name.as_str());
    Ok(step.prepare(NEXT)?.query_row(params, |row| row.get(0))?)
}

fn keep_module(step: &Step<'_>, digest: Digest, module: &Bytes) -> Stepped<()> {
    const KEEP: &str = "INSERT INTO modules (namespace, digest, bytes) VALUES (?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET bytes = ?3 WHERE bytes <> ?3";
    step.execute(KEEP, (step.namespace, digest.as_bytes(), &module[..]))?;
    Ok(())
}

/// Removes old versions of a name, but for those that are needed (R4).
fn prune(step: &Step<'_>, name: &DeploymentName) -> Stepped<()> {
    const PRUNE: &str = "DELETE FROM deployments WHERE rowid IN (
        SELECT rowid FROM deployments WHERE namespace = ?1 AND name = ?2
            ORDER BY version DESC LIMIT -1 OFFSET ?3
        ) AND NOT is_active AND canary IS NULL
        AND NOT EXISTS (SELECT 1 FROM envelopes e INDEXED BY envelopes_pinned
            WHERE e.module IS NOT NULL AND e.namespace = ?1 AND e.module = deployments.digest)";
    let params = (step.namespace, name.as_str(), rows::count(KEPT_VERSIONS));
    match step.execute(PRUNE, params)? {
        0 => Ok(()),
        _ => drop_modules(step),
    }
}

fn remove(step: &Step<'_>, name: &DeploymentName, version: u32) -> Stepped<bool> {
    const REMOVE: &str =
        "DELETE FROM deployments WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    let removed = step.execute(REMOVE, (step.namespace, name.as_str(), version))?;
    Ok(removed > 0)
}

/// Removes the modules that no version needs.
fn drop_modules(step: &Step<'_>) -> Stepped<()> {
    const DROP: &str = "DELETE FROM modules WHERE namespace = ?1 AND digest NOT IN (
        SELECT digest FROM deployments WHERE namespace = ?1)";
    step.execute(DROP, [step.namespace])?;
    Ok(())
}

fn changed(step: &Step<'_>) -> Stepped<()> {
    const CHANGED: &str = "UPDATE namespaces SET revision = revision + 1 WHERE namespace = ?1";
    step.execute(CHANGED, [step.namespace])?;
    Ok(())
}
