//! Modules by digest, and the deployments that make them active.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, DeployedTask, Deployment, ModuleStore};
use stem_core::names::DeploymentName;
use stem_core::store_error::StoreError;

use crate::server::Store;

#[async_trait]
impl ModuleStore for Store {
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError> {
        let (mut state, now) = self.locked();
        Ok(state.modules.activate(activation, now))
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let (state, _) = self.locked();
        let lines = state.modules.lines.values();
        Ok(lines
            .flat_map(|line| line.versions.values().rev())
            .cloned()
            .collect())
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        let (state, _) = self.locked();
        Ok(state.modules.bytes.get(digest).cloned())
    }

    async fn remove(&self, name: &DeploymentName, version: u32) -> Result<bool, StoreError> {
        let (mut state, _) = self.locked();
        Ok(state.modules.remove(name, version).is_some())
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        let (state, _) = self.locked();
        Ok(state.modules.revision)
    }
}

/// What has been deployed.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    bytes: HashMap<Digest, Bytes>,
    lines: BTreeMap<DeploymentName, Line>,
    revision: u64,
}

/// The versions under one name.
#[derive(Debug, Default)]
struct Line {
    versions: BTreeMap<u32, Deployment>,
    /// Counts on when versions are removed: a number never names two modules.
    newest: u32,
}

impl Modules {
    fn activate(&mut self, activation: &Activation, now: Timestamp) -> Activated {
        if !activation.moves_tasks
            && let Some((owner, task)) = self.taken(activation)
        {
            return Activated::TaskTaken {
                task: task.name.clone(),
                owner: owner.clone(),
            };
        }
        self.disown(activation);
        let digest = Digest::of(&activation.module);
        let line = self.lines.entry(activation.name.clone()).or_default();
        line.newest += 1;
        for version in line.versions.values_mut() {
            version.is_active = false;
        }
        let deployment = Deployment {
            name: activation.name.clone(),
            version: line.newest,
            digest,
            size_bytes: activation.module.len() as u64,
            deployed_at: now,
            is_active: true,
            tasks: activation.tasks.clone(),
            grants: activation.grants.clone(),
        };
        line.versions.insert(line.newest, deployment.clone());
        self.bytes.insert(digest, activation.module.clone());
        self.revision += 1;
        Activated::Done(Box::new(deployment))
    }

    /// A task that the activation has and another deployment owns.
    fn taken<'a>(
        &'a self,
        activation: &'a Activation,
    ) -> Option<(&'a DeploymentName, &'a DeployedTask)> {
        activation.tasks.iter().find_map(|task| {
            let owners = self.others(activation);
            let owner = owners
                .into_iter()
                .find(|owner| owner.task(&task.name).is_some())?;
            Some((&owner.name, task))
        })
    }

    fn others<'a>(
        &'a self,
        activation: &'a Activation,
    ) -> impl IntoIterator<Item = &'a Deployment> {
        self.lines
            .values()
            .flat_map(|line| line.versions.values())
            .filter(|version| version.is_active && version.name != activation.name)
    }

    /// Takes the activation's tasks away from whoever else has them.
    fn disown(&mut self, activation: &Activation) {
        let is_moved =
            |task: &DeployedTask| activation.tasks.iter().any(|moved| moved.name == task.name);
        for (name, line) in &mut self.lines {
            let versions = line.versions.values_mut();
            let active = versions.filter(|version| version.is_active && *name != activation.name);
            active.for_each(|version| version.tasks.retain(|task| !is_moved(task)));
        }
    }

    fn remove(&mut self, name: &DeploymentName, version: u32) -> Option<()> {
        let removed = self.lines.get_mut(name)?.versions.remove(&version)?;
        let mut kept = self.lines.values().flat_map(|line| line.versions.values());
        if kept.all(|other| other.digest != removed.digest) {
            self.bytes.remove(&removed.digest);
        }
        self.revision += 1;
        Some(())
    }
}
