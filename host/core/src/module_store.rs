//! The module store's seam: modules by digest, and the deployments that make them active (M2, M3).

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::canary::Share;
use crate::clock::Timestamp;
use crate::grants::Grants;
use crate::ids::Digest;
use crate::manifest::{Manifest, Sealed};
use crate::names::{DeploymentName, TaskName};
use crate::policy::TaskPolicy;
use crate::signing::PrivateKey;
use crate::store_error::StoreError;

/// Versions that are kept under a name (R4): older ones go when a new one comes, but for the active one, the canary,
/// and those that envelopes are pinned to.
pub const KEPT_VERSIONS: usize = 20;

/// Keeps modules and deployments.
#[async_trait]
pub trait ModuleStore: Send + Sync {
    /// Stores the module and makes it the active version of its deployment, or its canary, in one step: versions count
    /// from 1 under the name. Refused where a task belongs to another deployment, unless it is moved on purpose. A new
    /// active version ends the canary, and versions beyond [`KEPT_VERSIONS`] go with their modules.
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError>;

    /// Makes a version active that is kept: all that it was deployed with counts again. Ends the canary.
    async fn reactivate(
        &self,
        name: &DeploymentName,
        version: u32,
        moves_tasks: bool,
    ) -> Result<Activated, StoreError>;

    /// Gives the canary's share back to the active version; the canary is kept. Gives its version, if there was one.
    async fn end_canary(&self, name: &DeploymentName) -> Result<Option<u32>, StoreError>;

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
    /// The component.
    pub module: Bytes,
    /// What it is deployed as.
    pub manifest: Manifest,
    /// The manifest's bytes.
    pub sealed: Sealed,
    /// Whether tasks of other deployments are taken over.
    pub moves_tasks: bool,
    /// Its share, where it is not to be the active version but its canary: that moves no tasks.
    pub canary: Option<Share>,
}

impl Activation {
    /// A module for all envelopes, which moves no tasks.
    pub fn new(module: Bytes, manifest: Manifest, key: Option<&PrivateKey>) -> Self {
        Self {
            sealed: manifest.seal(key),
            module,
            manifest,
            moves_tasks: false,
            canary: None,
        }
    }
}

/// What became of an activation.
#[derive(Debug, Clone, PartialEq)]
pub enum Activated {
    /// It is active, or the canary.
    Done(Box<Deployment>),
    /// Nothing has changed: the task belongs to another deployment.
    TaskTaken {
        /// The task.
        task: TaskName,
        /// Whose it is.
        owner: DeploymentName,
    },
    /// Nothing has changed: a canary needs an active version beside it.
    NothingActive,
    /// Nothing has changed: no such version is kept.
    NotKept,
}

/// One version of a module made active for its tasks.
#[derive(Debug, Clone, PartialEq)]
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
    /// When it was last made active; never, where it was only a canary.
    pub activated_at: Option<Timestamp>,
    /// Whether new attempts run on it.
    pub is_active: bool,
    /// The share of the active version's envelopes that run on it.
    pub canary: Option<Share>,
    /// Its manifest as it was signed.
    pub sealed: Sealed,
    /// Its tasks: those of the manifest that no other deployment has taken over.
    pub tasks: Vec<DeployedTask>,
    /// What its module is given.
    pub grants: Grants,
    /// Why it cannot be run: it is not what was deployed.
    pub damage: Option<String>,
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

impl DeployedTask {
    /// A task of which nothing but its name can be read.
    fn unreadable(name: &TaskName) -> Self {
        Self {
            name: name.clone(),
            description: String::new(),
            payload_schema: None,
            result_schema: None,
            policy: TaskPolicy::default(),
            command: None,
        }
    }
}

impl Deployment {
    /// The version that an activation makes.
    pub fn of(activation: &Activation, version: u32, now: Timestamp) -> Self {
        let Manifest { name, digest, .. } = &activation.manifest;
        Self {
            name: name.clone(),
            version,
            digest: *digest,
            size_bytes: activation.module.len() as u64,
            deployed_at: now,
            activated_at: activation.canary.is_none().then_some(now),
            is_active: activation.canary.is_none(),
            canary: activation.canary,
            sealed: activation.sealed.clone(),
            tasks: activation.manifest.tasks.clone(),
            grants: activation.manifest.grants.clone(),
            damage: None,
        }
    }

    /// The same as its manifest has it, with these tasks of it: for stores, which keep the manifest's bytes and, beside
    /// them, which tasks are the deployment's own.
    pub fn opened(mut self, own: &[TaskName]) -> Self {
        let manifest = match Manifest::decode(&self.sealed.manifest) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.damage = Some(error.to_string());
                self.tasks = own.iter().map(DeployedTask::unreadable).collect();
                return self;
            }
        };
        if (&manifest.name, manifest.digest) != (&self.name, self.digest) {
            let (name, digest) = (&manifest.name, manifest.digest.short());
            self.damage = Some(format!(
                "its manifest is that of `{name}` with the module {digest}"
            ));
        }
        let mut tasks = manifest.tasks;
        tasks.retain(|task| own.contains(&task.name));
        for name in own {
            if !tasks.iter().any(|task| task.name == *name) {
                self.damage = Some(format!("its manifest has no task `{name}`"));
                tasks.push(DeployedTask::unreadable(name));
            }
        }
        self.tasks = tasks;
        self.grants = manifest.grants;
        self
    }

    /// The task of this name, if the deployment has it.
    pub fn task(&self, name: &TaskName) -> Option<&DeployedTask> {
        self.tasks.iter().find(|task| task.name == *name)
    }

    /// All tasks that it was deployed with, also those that others have now.
    pub fn task_names(&self) -> Vec<TaskName> {
        match Manifest::decode(&self.sealed.manifest) {
            Ok(manifest) => manifest.tasks.into_iter().map(|task| task.name).collect(),
            Err(_) => self.tasks.iter().map(|task| task.name.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str) -> TaskName {
        TaskName::new(name).expect("a name")
    }

    fn deployment() -> Deployment {
        let name = DeploymentName::new("text").expect("a name");
        let tasks = ["a", "b"].map(|name| DeployedTask::unreadable(&task(name)));
        let digest = Digest::of(b"module");
        let manifest = Manifest::new(name, digest, tasks.into(), Grants::default());
        let activation = Activation::new(Bytes::from_static(b"module"), manifest, None);
        Deployment::of(&activation, 1, Timestamp::default())
    }

    /// M2: what is signed stays as it was signed.
    #[test]
    fn a_task_that_was_taken_over_is_left_out_and_stays_in_the_manifest() {
        let opened = deployment().opened(&[task("b")]);
        assert_eq!(opened.damage, None);
        assert_eq!((opened.task(&task("a")), opened.tasks.len()), (None, 1));
        assert_eq!(opened.task_names(), [task("a"), task("b")]);
        assert_eq!(opened.sealed, deployment().sealed);
    }

    /// M2
    #[test]
    fn what_is_not_as_it_was_deployed_is_known_to_be() {
        let (own, mut renamed, mut damaged) = ([task("a")], deployment(), deployment());
        renamed.name = DeploymentName::new("other").expect("a name");
        damaged.sealed.manifest = Bytes::from_static(b"\xc1");
        let other = deployment().opened(&[task("c")]);
        for (altered, said) in [
            (renamed.opened(&own), "that of `text`"),
            (damaged.opened(&own), "cannot be decoded"),
            (other, "no task `c`"),
        ] {
            let damage = altered.damage.expect("it is seen");
            assert!(damage.contains(said), "{damage}");
        }
    }
}
