//! Versions as they are kept: a manifest in its signed bytes, and beside it what the store itself says of it.
//!
//! A version that is damaged is listed as damaged: it must not hide the others.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stem_core::canary::Share;
use stem_core::clock::Timestamp;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::manifest::Sealed;
use stem_core::module_store::Deployment;
use stem_core::names::{DeploymentName, TaskName};
use stem_core::signing::Signature;

use crate::problem::{Problem, Stepped};
use crate::reply;

/// What is kept of a version.
#[derive(Serialize, Deserialize)]
struct Row {
    digest: Digest,
    size_bytes: u64,
    deployed_at: Timestamp,
    activated_at: Option<Timestamp>,
    is_active: bool,
    canary: Option<u32>,
    /// Which of the tasks in the manifest are its own.
    tasks: Vec<TaskName>,
    manifest: Bytes,
    signature: Option<Signature>,
}

/// The field under which a version is kept.
pub(crate) fn field(name: &DeploymentName, version: u32) -> String {
    format!("{name}\0{version}")
}

pub(crate) fn encode(deployment: &Deployment) -> Stepped<Vec<u8>> {
    reply::encode(&Row {
        digest: deployment.digest,
        size_bytes: deployment.size_bytes,
        deployed_at: deployment.deployed_at,
        activated_at: deployment.activated_at,
        is_active: deployment.is_active,
        canary: deployment.canary.map(Share::parts),
        tasks: deployment
            .tasks
            .iter()
            .map(|task| task.name.clone())
            .collect(),
        manifest: deployment.sealed.manifest.clone(),
        signature: deployment.sealed.signature.clone(),
    })
}

pub(crate) fn decode(field: &[u8], body: &[u8]) -> Stepped<Deployment> {
    let (name, version) = split(field)?;
    let row: Option<Row> = rmp_serde::from_slice(body).ok();
    let damage = row
        .is_none()
        .then(|| "what is kept of it cannot be decoded".to_owned());
    let row = row.unwrap_or_else(Row::nothing);
    let deployment = Deployment {
        name,
        version,
        digest: row.digest,
        size_bytes: row.size_bytes,
        deployed_at: row.deployed_at,
        activated_at: row.activated_at,
        is_active: row.is_active,
        canary: row.canary.and_then(Share::from_parts),
        sealed: Sealed {
            manifest: row.manifest,
            signature: row.signature,
        },
        tasks: Vec::new(),
        grants: Grants::default(),
        damage: None,
    };
    let opened = deployment.opened(&row.tasks);
    Ok(Deployment {
        damage: damage.or_else(|| opened.damage.clone()),
        ..opened
    })
}

impl Row {
    fn nothing() -> Self {
        Self {
            digest: Digest::from_bytes([0; 32]),
            size_bytes: 0,
            deployed_at: Timestamp::default(),
            activated_at: None,
            is_active: false,
            canary: None,
            tasks: Vec::new(),
            manifest: Bytes::new(),
            signature: None,
        }
    }
}

fn split(field: &[u8]) -> Stepped<(DeploymentName, u32)> {
    let unreadable = || Problem::unreadable("a deployment", "it has no name");
    let text = std::str::from_utf8(field).map_err(|_| unreadable())?;
    let (name, version) = text.split_once('\0').ok_or_else(unreadable)?;
    let name = DeploymentName::new(name).map_err(|_| unreadable())?;
    Ok((name, version.parse().map_err(|_| unreadable())?))
}
