//! Modules by digest, and the deployments that make them active.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::ids::Digest;
use stem_core::module_store::{
    Activated, Activation, DeployedTask, Deployment, KEPT_VERSIONS, ModuleStore,
};
use stem_core::names::{DeploymentName, TaskName};
use stem_core::store_error::StoreError;

use crate::server::Store;
use crate::state::{Shelves, State};

#[async_trait]
impl ModuleStore for Store {
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError> {
        let (mut state, now) = self.locked();
        let State {
            modules, shelves, ..
        } = &mut *state;
        let activated = modules.activate(activation, now);
        if let Activated::Done(new) = &activated {
            modules.prune(&new.name, shelves);
        }
        Ok(activated)
    }

    async fn reactivate(
        &self,
        name: &DeploymentName,
        version: u32,
        moves_tasks: bool,
    ) -> Result<Activated, StoreError> {
        let (mut state, now) = self.locked();
        let Some(kept) = state.modules.kept(name, version) else {
            return Ok(Activated::NotKept);
        };
        let own = kept.task_names();
        if !moves_tasks && let Some(taken) = state.modules.taken(name, &own) {
            return Ok(taken);
        }
        let again = Deployment {
            is_active: true,
            activated_at: Some(now),
            canary: None,
            ..kept.clone().opened(&own)
        };
        Ok(state.modules.put_active(again, &own))
    }

    async fn end_canary(&self, name: &DeploymentName) -> Result<Option<u32>, StoreError> {
        let (mut state, _) = self.locked();
        Ok(state.modules.end_canary(name))
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
        let manifest = &activation.manifest;
        let tasks = manifest.tasks.iter().map(|task| task.name.clone());
        let tasks: Vec<TaskName> = tasks.collect();
        let moves_tasks = activation.moves_tasks && activation.canary.is_none();
        if !moves_tasks && let Some(taken) = self.taken(&manifest.name, &tasks) {
            return taken;
        }
        if activation.canary.is_some() && !self.has_active(&manifest.name) {
            return Activated::NothingActive;
        }
        let line = self.lines.entry(manifest.name.clone()).or_default();
        line.newest += 1;
        let new = Deployment::of(activation, line.newest, now);
        self.bytes.insert(new.digest, activation.module.clone());
        match new.canary {
            None => self.put_active(new, &tasks),
            Some(_) => self.put_canary(new),
        }
    }

    fn kept(&self, name: &DeploymentName, version: u32) -> Option<&Deployment> {
        self.lines.get(name)?.versions.get(&version)
    }

    fn has_active(&self, name: &DeploymentName) -> bool {
        let line = self.lines.get(name);
        line.is_some_and(|line| line.versions.values().any(|one| one.is_active))
    }

    /// Makes a version the only active one of its name, and these tasks its own.
    fn put_active(&mut self, new: Deployment, tasks: &[TaskName]) -> Activated {
        self.disown(&new.name, tasks);
        let line = self.lines.entry(new.name.clone()).or_default();
        for version in line.versions.values_mut() {
            version.is_active = false;
            version.canary = None;
        }
        self.put(new)
    }

    fn put_canary(&mut self, new: Deployment) -> Activated {
        self.end_canary(&new.name);
        self.put(new)
    }

    fn put(&mut self, new: Deployment) -> Activated {
        let line = self.lines.entry(new.name.clone()).or_default();
        line.versions.insert(new.version, new.clone());
        self.revision += 1;
        Activated::Done(Box::new(new))
    }

    fn end_canary(&mut self, name: &DeploymentName) -> Option<u32> {
        let mut versions = self.lines.get_mut(name)?.versions.values_mut();
        let canary = versions.find(|version| version.canary.is_some())?;
        canary.canary = None;
        self.revision += 1;
        Some(canary.version)
    }

    /// One of these tasks that another deployment owns.
    fn taken(&self, name: &DeploymentName, tasks: &[TaskName]) -> Option<Activated> {
        let lines = self.lines.values();
        let mut others = lines
            .flat_map(|line| line.versions.values())
            .filter(|version| version.is_active && version.name != *name);
        others.find_map(|owner| {
            let task = tasks.iter().find(|task| owner.task(task).is_some())?;
            Some(Activated::TaskTaken {
                task: task.clone(),
                owner: owner.name.clone(),
            })
        })
    }

    /// Takes these tasks away from whoever else has them; the manifests stay as they were signed.
    fn disown(&mut self, name: &DeploymentName, tasks: &[TaskName]) {
        let is_kept = |task: &DeployedTask| !tasks.contains(&task.name);
        for (_, line) in self.lines.iter_mut().filter(|(other, _)| *other != name) {
            let versions = line.versions.values_mut();
            let active = versions.filter(|version| version.is_active);
            active.for_each(|version| version.tasks.retain(is_kept));
        }
    }

    /// Removes old versions of a name, but for those that are needed (R4).
    fn prune(&mut self, name: &DeploymentName, shelves: &Shelves) {
        let versions = self.lines.get(name).map(|line| &line.versions);
        let old = versions.into_iter().flatten().rev().skip(KEPT_VERSIONS);
        let is_idle = |one: &Deployment| !one.is_active && one.canary.is_none();
        let is_pinned = |digest| shelves.iter().any(|entry| entry.module == Some(digest));
        let gone: Vec<u32> = old
            .filter(|(_, one)| is_idle(one) && !is_pinned(one.digest))
            .map(|(version, _)| *version)
            .collect();
        for version in gone {
            self.remove(name, version);
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
