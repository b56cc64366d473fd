//! The module store's seam: modules by digest, and the deployments that make them active (M2, M3).

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::grants::Grants;
use crate::ids::Digest;
use crate::names::{DeploymentName, TaskName};
use crate::policy::TaskPolicy;
use crate::store_error::StoreError;

/// Keeps modules and deployments.
#[async_trait]
pub trait ModuleStore: Send + Sync {
    /// Stores the module and makes it the active version of its deployment, in one step: versions count from 1
    /// under the name. Refused where a task belongs to another deployment, unless it is moved on purpose.
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError>;

    /// Every version that is kept, by name, newest first.
    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError>;

    /// The bytes of a module.
    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError>;

    /// Removes one version, and its module where no other needs it. Gives whether it was there.
    async fn remove(&self, name: &DeploymentName, version: u32) -> Result<bool, StoreError>;

    /// A number that grows with every change of the deployments: cheap to ask again and again.
    async fn revision(&self) -> Result<u64, StoreError>;
}

/// A module to be made active.
#[derive(Debug, Clone)]
pub struct Activation {
    /// What its versions are counted under.
    pub name: DeploymentName,
    /// The component.
    pub module: Bytes,
    /// Its tasks with their policies in force.
    pub tasks: Vec<DeployedTask>,
    /// What the module is given.
    pub grants: Grants,
    /// Whether tasks of other deployments are taken over.
    pub moves_tasks: bool,
}

/// What became of an activation.
#[derive(Debug, Clone, PartialEq)]
pub enum Activated {
    /// It is active.
    Done(Box<Deployment>),
    /// Nothing has changed: the task belongs to another deployment.
    TaskTaken {
        /// The task.
        task: TaskName,
        /// Whose it is.
        owner: DeploymentName,
    },
}

/// One version of a module made active for its tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// What its versions are counted under.
    pub name: DeploymentName,
    /// Counts from 1 under the name.
    pub version: u32,
    /// The module.
    pub digest: Digest,
    /// How large the module is.
    pub size_bytes: u64,
    /// When it was deployed.
    pub deployed_at: Timestamp,
    /// Whether new attempts run on it.
    pub is_active: bool,
    /// Its tasks.
    pub tasks: Vec<DeployedTask>,
    /// What its module is given.
    #[serde(default)]
    pub grants: Grants,
}

/// A task of a deployment, with its policy in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployedTask {
    /// Its name.
    pub name: TaskName,
    /// For people.
    pub description: String,
    /// JSON Schema of the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_schema: Option<String>,
    /// JSON Schema of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_schema: Option<String>,
    /// What a task that is a whole program is run with (S9); nothing where a module's handler runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// How it is run.
    pub policy: TaskPolicy,
}

/// What a program is run with, beside the payload on its standard input (S9).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    /// Its arguments, after its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The media type of its standard output; where none is named the output itself is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_content_type: Option<String>,
}

impl Deployment {
    /// The task of this name, if the deployment has it.
    pub fn task(&self, name: &TaskName) -> Option<&DeployedTask> {
        self.tasks.iter().find(|task| task.name == *name)
    }
}
