//! Rows of deployments: a manifest in its signed bytes, and beside it what the store itself says of a version.
//!
//! A row that is damaged is listed as damaged, or left out where not even its name can be read: it must not hide the
//! others.

use bytes::Bytes;
use rusqlite::{Connection, Row};
use stem_core::canary::Share;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::manifest::{Manifest, Sealed};
use stem_core::module_store::{DeployedTask, Deployment};
use stem_core::names::{DeploymentName, TaskName};

use crate::problem::Stepped;
use crate::rows::{self, millis, time};
use crate::writer::Step;

const COLUMNS: &str = "SELECT name, version, digest, size_bytes, deployed_at, activated_at, \
    is_active, canary, tasks, manifest, signature FROM deployments WHERE namespace = ?1";

/// Every version that is kept, by name, newest first.
pub(crate) fn all(connection: &Connection, namespace: i64) -> Stepped<Vec<Deployment>> {
    let sql = format!("{COLUMNS} ORDER BY name, version DESC");
    list(connection, &sql, namespace)
}

/// The active ones, by name.
pub(crate) fn active(connection: &Connection, namespace: i64) -> Stepped<Vec<Deployment>> {
    let sql = format!("{COLUMNS} AND is_active ORDER BY name");
    list(connection, &sql, namespace)
}

/// One version, if it is kept.
pub(crate) fn find(
    step: &Step<'_>,
    name: &DeploymentName,
    version: u32,
) -> Stepped<Option<Deployment>> {
    let sql = format!("{COLUMNS} AND name = ?2 AND version = ?3");
    let mut statement = step.prepare(&sql)?;
    let mut rows = statement.query((step.namespace, name.as_str(), version))?;
    rows.next()?.map(read).transpose()
}

/// Adds a version with these tasks.
pub(crate) fn add(step: &Step<'_>, new: &Deployment, own: &[TaskName]) -> Stepped<()> {
    const ADD: &str = "INSERT INTO deployments (namespace, name, version, digest, size_bytes, \
        deployed_at, activated_at, is_active, canary, tasks, manifest, signature) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let signature = new
        .sealed
        .signature
        .as_ref()
        .map(rows::encode)
        .transpose()?;
    let params = rusqlite::params![
        step.namespace,
        new.name.as_str(),
        new.version,
        new.digest.as_bytes(),
        new.size_bytes.cast_signed(),
        millis(new.deployed_at),
        new.activated_at.map(millis),
        new.is_active,
        new.canary.map(Share::parts),
        rows::encode(&own)?,
        &new.sealed.manifest[..],
        signature,
    ];
    step.execute(ADD, params)?;
    Ok(())
}

/// Writes which of the tasks in its manifest are a version's own.
pub(crate) fn set_own(step: &Step<'_>, version: &Deployment, own: &[TaskName]) -> Stepped<()> {
    const SET: &str = "UPDATE deployments SET tasks = ?4
        WHERE namespace = ?1 AND name = ?2 AND version = ?3";
    let name = version.name.as_str();
    let params = (step.namespace, name, version.version, rows::encode(&own)?);
    step.execute(SET, params)?;
    Ok(())
}

fn list(connection: &Connection, sql: &str, namespace: i64) -> Stepped<Vec<Deployment>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([namespace])?;
    let mut deployments = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(deployment) => deployments.push(deployment),
            Err(problem) => {
                let version: Option<i64> = row.get(1).ok();
                tracing::error!(
                    version,
                    ?problem,
                    "a deployment cannot be read, and is left out"
                );
            }
        }
    }
    Ok(deployments)
}

fn read(row: &Row<'_>) -> Stepped<Deployment> {
    let blob = |column| -> Stepped<Option<&[u8]>> {
        let blob = row.get_ref(column)?.as_blob_or_null();
        Ok(blob.map_err(rusqlite::Error::from)?)
    };
    let manifest = Bytes::copy_from_slice(blob(9)?.unwrap_or_default());
    let (signature, is_signature) = decoded(blob(10)?);
    let (own, is_index) = decoded::<Vec<TaskName>>(blob(8)?);
    let digest: Option<[u8; 32]> = row.get(2).ok();
    let damage = match (is_signature, is_index, digest) {
        (true, true, Some(_)) => None,
        (false, _, _) => Some("its signature cannot be decoded"),
        (true, false, _) => Some("the list of its tasks cannot be decoded"),
        (true, true, None) => Some("its digest cannot be decoded"),
    };
    let deployment = Deployment {
        name: rows::name(row, 0, |text| DeploymentName::new(text))?,
        version: row.get(1)?,
        digest: Digest::from_bytes(digest.unwrap_or_default()),
        size_bytes: row.get::<_, i64>(3)?.cast_unsigned(),
        deployed_at: time(row.get(4)?),
        activated_at: row.get::<_, Option<i64>>(5)?.map(time),
        is_active: row.get(6)?,
        canary: row.get::<_, Option<u32>>(7)?.and_then(Share::from_parts),
        sealed: Sealed {
            manifest,
            signature,
        },
        tasks: Vec::new(),
        grants: Grants::default(),
        damage: damage.map(str::to_owned),
    };
    let own = own.unwrap_or_else(|| deployment.task_names());
    Ok(deployment.opened(&own))
}

/// What is there, and whether all of it can be read.
fn decoded<T: serde::de::DeserializeOwned>(blob: Option<&[u8]>) -> (Option<T>, bool) {
    let decoded = blob.map(rmp_serde::from_slice);
    let is_read = !matches!(decoded, Some(Err(_)));
    (decoded.and_then(Result::ok), is_read)
}

/// Gives versions of the first layout, which kept their tasks with the policies, a manifest: unsigned, as they were. One
/// that cannot be read gets none, and is damaged from then on.
pub(crate) fn write_manifests(connection: &Connection) -> Stepped<()> {
    const ALL: &str = "SELECT name, digest, tasks, rowid FROM deployments";
    const SET: &str = "UPDATE deployments SET manifest = ?2, tasks = ?3 WHERE rowid = ?1";
    let mut statement = connection.prepare(ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(3)?;
        match manifest(row) {
            Ok((manifest, own)) => {
                connection.execute(SET, (number, &manifest.manifest[..], own))?;
            }
            Err(problem) => {
                tracing::error!(?problem, "a deployment of an older format cannot be read");
            }
        }
    }
    Ok(())
}

/// What the first layout says of a version, as a manifest and the list of its tasks.
fn manifest(row: &Row<'_>) -> Stepped<(Sealed, Vec<u8>)> {
    let name = rows::name(row, 0, |text| DeploymentName::new(text))?;
    let digest = Digest::from_bytes(row.get(1)?);
    let blob = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
    let tasks: Vec<DeployedTask> = rows::decode("the tasks of a deployment", blob)?;
    let own: Vec<TaskName> = tasks.iter().map(|task| task.name.clone()).collect();
    let sealed = Manifest::new(name, digest, tasks, Grants::default()).seal(None);
    Ok((sealed, rows::encode(&own)?))
}
