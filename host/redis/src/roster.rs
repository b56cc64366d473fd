//! What is deployed, as it was read at one revision, and what becomes of it: decided here, and written in one step that
//! is refused where somebody was faster.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, DeployedTask, Deployment, KEPT_VERSIONS};
use stem_core::names::{DeploymentName, TaskName};

use crate::deployments;
use crate::link::Call;
use crate::problem::Stepped;

/// Every version that is kept, and the changes to it.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    pub(crate) revision: u64,
    versions: BTreeMap<(DeploymentName, u32), Deployment>,
    /// Counts on when versions are removed: a number never names two modules.
    newest: BTreeMap<DeploymentName, u32>,
    /// Modules that envelopes are pinned to.
    pinned: BTreeSet<Digest>,
    changes: Changes,
}

#[derive(Debug, Default)]
struct Changes {
    versions: BTreeSet<(DeploymentName, u32)>,
    newest: Option<(DeploymentName, u32)>,
    module: Option<(Digest, Bytes)>,
    /// Modules of versions that went because nothing was pinned to them.
    idle: BTreeSet<Digest>,
    /// Modules of versions that went.
    gone: BTreeSet<Digest>,
}

impl Roster {
    pub(crate) fn new(
        revision: u64,
        versions: Vec<Deployment>,
        newest: BTreeMap<DeploymentName, u32>,
        pinned: BTreeSet<Digest>,
    ) -> Self {
        let keyed = versions
            .into_iter()
            .map(|version| ((version.name.clone(), version.version), version));
        Self {
            revision,
            versions: keyed.collect(),
            newest,
            pinned,
            changes: Changes::default(),
        }
    }

    /// By name, newest first.
    pub(crate) fn into_list(self) -> Vec<Deployment> {
        let mut list: Vec<Deployment> = self.versions.into_values().collect();
        list.sort_by(|one, other| {
            let by_name = one.name.cmp(&other.name);
            by_name.then(other.version.cmp(&one.version))
        });
        list
    }

    pub(crate) fn activate(&mut self, activation: &Activation, now: Timestamp) -> Activated {
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
        let newest = self
            .newest
            .get(&manifest.name)
            .map_or(1, |newest| newest + 1);
        let new = Deployment::of(activation, newest, now);
        self.changes.newest = Some((new.name.clone(), newest));
        self.changes.module = Some((new.digest, activation.module.clone()));
        match new.canary {
            None => self.retire(&new.name, &tasks),
            Some(_) => _ = self.end_canary(&new.name),
        }
        self.put(new.clone());
        self.prune(&new.name);
        Activated::Done(Box::new(new))
    }

    pub(crate) fn reactivate(
        &mut self,
        (name, version): (&DeploymentName, u32),
        moves_tasks: bool,
        now: Timestamp,
    ) -> Activated {
        let Some(kept) = self.versions.get(&(name.clone(), version)).cloned() else {
            return Activated::NotKept;
        };
        let own = kept.task_names();
        if !moves_tasks && let Some(taken) = self.taken(name, &own) {
            return taken;
        }
        self.retire(name, &own);
        let again = Deployment {
            is_active: true,
            activated_at: Some(now),
            canary: None,
            ..kept.opened(&own)
        };
        self.put(again.clone());
        Activated::Done(Box::new(again))
    }

    pub(crate) fn end_canary(&mut self, name: &DeploymentName) -> Option<u32> {
        let mut versions = self.versions.values_mut();
        let is_it = |one: &&mut Deployment| one.name == *name && one.canary.is_some();
        let canary = versions.find(is_it)?;
        canary.canary = None;
        let number = canary.version;
        self.changes.versions.insert((name.clone(), number));
        Some(number)
    }

    pub(crate) fn remove(&mut self, name: &DeploymentName, version: u32) -> bool {
        let key = (name.clone(), version);
        let Some(removed) = self.versions.remove(&key) else {
            return false;
        };
        self.changes.versions.insert(key);
        self.changes.gone.insert(removed.digest);
        true
    }

    fn has_active(&self, name: &DeploymentName) -> bool {
        let mut versions = self.versions.values();
        versions.any(|one| one.name == *name && one.is_active)
    }

    /// One of these tasks that another deployment owns.
    fn taken(&self, name: &DeploymentName, tasks: &[TaskName]) -> Option<Activated> {
        let versions = self.versions.values();
        let mut others = versions.filter(|one| one.is_active && one.name != *name);
        others.find_map(|owner| {
            let task = tasks.iter().find(|task| owner.task(task).is_some())?;
            Some(Activated::TaskTaken {
                task: task.clone(),
                owner: owner.name.clone(),
            })
        })
    }

    /// Makes room for a new active version: no other has its name or its tasks any more.
    fn retire(&mut self, name: &DeploymentName, tasks: &[TaskName]) {
        let is_kept = |task: &DeployedTask| !tasks.contains(&task.name);
        for (key, one) in &mut self.versions {
            let is_own = one.name == *name;
            let loses = one.is_active && !one.tasks.iter().all(is_kept);
            if is_own && (one.is_active || one.canary.is_some()) {
                one.is_active = false;
                one.canary = None;
            } else if !is_own && loses {
                // Its manifest stays as it was signed.
                one.tasks.retain(is_kept);
            } else {
                continue;
            }
            self.changes.versions.insert(key.clone());
        }
    }

    fn put(&mut self, new: Deployment) {
        let key = (new.name.clone(), new.version);
        self.changes.versions.insert(key.clone());
        self.versions.insert(key, new);
    }

    /// Removes old versions of a name, but for those that are needed (R4).
    fn prune(&mut self, name: &DeploymentName) {
        let versions = self.versions.values().rev();
        let old = versions.filter(|one| one.name == *name).skip(KEPT_VERSIONS);
        let is_idle = |one: &&Deployment| {
            !one.is_active && one.canary.is_none() && !self.pinned.contains(&one.digest)
        };
        let gone: Vec<(u32, Digest)> = old
            .filter(is_idle)
            .map(|one| (one.version, one.digest))
            .collect();
        for (version, digest) in gone {
            self.remove(name, version);
            self.changes.idle.insert(digest);
        }
    }

    /// Adds the changes to a script's arguments.
    pub(crate) fn add_changes(&self, call: &mut Call) -> Stepped<()> {
        for key in &self.changes.versions {
            let field = deployments::field(&key.0, key.1);
            match self.versions.get(key) {
                Some(version) => call
                    .arg("put")
                    .arg(field)
                    .arg(deployments::encode(version)?),
                None => call.arg("drop").arg(field).arg(""),
            };
        }
        if let Some((name, version)) = &self.changes.newest {
            call.arg("newest").arg(name.as_str()).arg(*version);
        }
        let is_needed = |digest: &Digest| self.versions.values().any(|one| one.digest == *digest);
        for digest in self.changes.gone.iter().filter(|digest| !is_needed(digest)) {
            call.arg("lose").arg(digest.as_bytes()).arg("");
        }
        for digest in &self.changes.idle {
            call.arg("idle").arg(digest.as_bytes()).arg("");
        }
        if let Some((digest, module)) = &self.changes.module {
            call.arg("keep").arg(digest.as_bytes()).arg(&module[..]);
        }
        Ok(())
    }
}
