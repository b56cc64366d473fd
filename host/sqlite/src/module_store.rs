//! Modules by digest, and the deployments that make them active (M2, M3).
//!
//! Removing the active version leaves its tasks without a module: an older one becomes active only by being deployed
//! again, never by surprise.

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use stem_core::clock::Timestamp;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, DeployedTask, Deployment, ModuleStore};
use stem_core::names::{DeploymentName, TaskName};
use stem_core::store_error::StoreError;

use crate::problem::Stepped;
use crate::rows::{self, millis, time};
use crate::store::Store;
use crate::writer::Step;

const COLUMNS: &str =
    "SELECT name, version, digest, size_bytes, deployed_at, is_active, tasks, grants
    FROM deployments WHERE namespace = ?1";

#[async_trait]
impl ModuleStore for Store {
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError> {
        let activation = activation.clone();
        let digest = Digest::of(&activation.module);
        self.write("deploy", move |step| activate(step, &activation, digest))
            .await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let namespace = self.shared.namespace;
        self.list_rows("list deployments", move |connection| {
            let order = "ORDER BY name, version DESC";
            deployments(connection, &format!("{COLUMNS} {order}"), namespace)
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
            remove(step, &name, version)
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

fn activate(step: &Step<'_>, activation: &Activation, digest: Digest) -> Stepped<Activated> {
    let others = owners(step, activation)?;
    if !activation.moves_tasks
        && let Some((owner, task)) = others.first()
    {
        return Ok(Activated::TaskTaken {
            task: task.clone(),
            owner: owner.name.clone(),
        });
    }
    for (owner, _) in &others {
        disown(step, owner, activation)?;
    }
    let deployment = Deployment {
        name: activation.name.clone(),
        version: next_version(step, &activation.name)?,
        digest,
        size_bytes: activation.module.len() as u64,
        deployed_at: step.now,
        is_active: true,
        tasks: activation.tasks.clone(),
        grants: activation.grants.clone(),
    };
    store(step, &deployment, &activation.module)?;
    changed(step)?;
    Ok(Activated::Done(Box::new(deployment)))
}

/// Other active deployments that have one of the activation's tasks, each with the first such task.
fn owners(step: &Step<'_>, activation: &Activation) -> Stepped<Vec<(Deployment, TaskName)>> {
    let sql = format!("{COLUMNS} AND is_active ORDER BY name");
    let active = deployments(step.connection, &sql, step.namespace)?;
    let task_of = |owner: &Deployment| {
        let mut tasks = activation.tasks.iter().map(|task| &task.name);
        tasks.find(|name| owner.task(name).is_some()).cloned()
    };
    Ok(active
        .into_iter()
        .filter(|owner| owner.name != activation.name)
        .filter_map(|owner| task_of(&owner).map(|task| (owner, task)))
        .collect())
}

/// Takes the activation's tasks from the version that is active under another name.
fn disown(step: &Step<'_>, owner: &Deployment, activation: &Activation) -> Stepped<()> {
    const DISOWN: &str = "UPDATE deployments SET tasks = ?4
        WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    let is_moved = |task: &&DeployedTask| activation.tasks.iter().any(|new| new.name == task.name);
    let kept: Vec<&DeployedTask> = owner.tasks.iter().filter(|task| !is_moved(task)).collect();
    let params = (
        step.namespace,
        owner.name.as_str(),
        owner.version,
        rows::encode(&kept)?,
    );
    step.execute(DISOWN, params)?;
    Ok(())
}

fn next_version(step: &Step<'_>, name: &DeploymentName) -> Stepped<u32> {
    const NEXT: &str = "INSERT INTO deployment_names (namespace, name, newest) VALUES (?1, ?2, 1)
        ON CONFLICT DO UPDATE SET newest = newest + 1 RETURNING newest";
    let params = (step.namespace, name.as_str());
    Ok(step.prepare(NEXT)?.query_row(params, |row| row.get(0))?)
}

fn store(step: &Step<'_>, deployment: &Deployment, module: &Bytes) -> Stepped<()> {
    const KEEP: &str = "INSERT INTO modules (namespace, digest, bytes) VALUES (?1, ?2, ?3)
        ON CONFLICT DO NOTHING";
    const RETIRE: &str = "UPDATE deployments SET is_active = 0 WHERE namespace = ?1 AND name = ?2";
    const ADD: &str = "INSERT INTO deployments
        (namespace, name, version, digest, size_bytes, deployed_at, is_active, tasks, grants)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8)";
    let name = deployment.name.as_str();
    let digest = deployment.digest.as_bytes();
    step.execute(KEEP, (step.namespace, digest, &module[..]))?;
    step.execute(RETIRE, (step.namespace, name))?;
    let params = (
        step.namespace,
        name,
        deployment.version,
        digest,
        rows::count(module.len()),
        millis(deployment.deployed_at),
        rows::encode(&deployment.tasks)?,
        rows::encode(&deployment.grants)?,
    );
    step.execute(ADD, params)?;
    Ok(())
}

fn remove(step: &Step<'_>, name: &DeploymentName, version: u32) -> Stepped<bool> {
    const REMOVE: &str =
        "DELETE FROM deployments WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    const DROP: &str = "DELETE FROM modules WHERE namespace = ?1 AND digest NOT IN (
        SELECT digest FROM deployments WHERE namespace = ?1)";
    let removed = step.execute(REMOVE, (step.namespace, name.as_str(), version))?;
    if removed == 0 {
        return Ok(false);
    }
    step.execute(DROP, [step.namespace])?;
    changed(step)?;
    Ok(true)
}

fn changed(step: &Step<'_>) -> Stepped<()> {
    const CHANGED: &str = "UPDATE namespaces SET revision = revision + 1 WHERE namespace = ?1";
    step.execute(CHANGED, [step.namespace])?;
    Ok(())
}

fn deployments(connection: &Connection, sql: &str, namespace: i64) -> Stepped<Vec<Deployment>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([namespace])?;
    let mut deployments = Vec::new();
    while let Some(row) = rows.next()? {
        deployments.push(deployment(row)?);
    }
    Ok(deployments)
}

fn deployment(row: &Row<'_>) -> Stepped<Deployment> {
    let deployed_at: Timestamp = time(row.get(4)?);
    let tasks = row.get_ref(6)?.as_blob().map_err(rusqlite::Error::from)?;
    let grants = row.get_ref(7)?.as_blob_or_null();
    let grants = grants.map_err(rusqlite::Error::from)?;
    Ok(Deployment {
        name: rows::name(row, 0, |text| DeploymentName::new(text))?,
        version: row.get(1)?,
        digest: Digest::from_bytes(row.get(2)?),
        size_bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        deployed_at,
        is_active: row.get(5)?,
        tasks: rows::decode("the tasks of a deployment", tasks)?,
        grants: match grants {
            Some(grants) => rows::decode("the grants of a deployment", grants)?,
            None => Grants::default(),
        },
    })
}
