//! A module store of a few lines, which can lose a module, change one, and be away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::manifest::Manifest;
use stem_core::module_store::{Activated, Activation, DeployedTask, Deployment, ModuleStore};
use stem_core::names::{DeploymentName, TaskName};
use stem_core::store_error::{StoreError, StoreErrorKind};
use tokio::sync::Notify;

/// Deployments and modules in memory.
#[derive(Default)]
pub struct Shelf {
    deployments: Mutex<Vec<Deployment>>,
    modules: Mutex<Vec<(Digest, Bytes)>>,
    revision: AtomicU64,
    pub is_away: AtomicBool,
    pub fetched: AtomicU64,
    pub asked: AtomicU64,
    /// Told when a module is fetched.
    pub fetching: Notify,
    /// A module whose fetching never ends.
    held: Mutex<Option<Digest>>,
}

impl Shelf {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes this module the active version of `name`.
    pub fn deploy(&self, name: &str, module: &Bytes, tasks: Vec<DeployedTask>) -> Digest {
        let name = DeploymentName::new(name).expect("a good name");
        let digest = Digest::of(module);
        let manifest = Manifest::new(name, digest, tasks, Grants::default());
        self.add(&Activation::new(module.clone(), manifest, None));
        digest
    }

    /// Does what an activation says, and asks nothing.
    pub fn add(&self, activation: &Activation) {
        let Manifest { name, digest, .. } = &activation.manifest;
        let mut deployments = self.deployments.lock().expect("not poisoned");
        let version = 1 + deployments.iter().filter(|one| one.name == *name).count();
        for old in deployments.iter_mut().filter(|one| one.name == *name) {
            old.is_active &= activation.canary.is_some();
            old.canary = None;
        }
        let version = u32::try_from(version).expect("a few");
        let new = Deployment::of(activation, version, Timestamp::from_millis(1));
        deployments.insert(0, new);
        drop(deployments);
        self.put(*digest, activation.module.clone());
    }

    /// Changes what is kept of the newest version, as whoever can write to the store could.
    pub fn alter(&self, change: impl FnOnce(&mut Deployment)) {
        let mut deployments = self.deployments.lock().expect("not poisoned");
        let newest = &mut deployments[0];
        change(newest);
        let own: Vec<TaskName> = newest.tasks.iter().map(|task| task.name.clone()).collect();
        *newest = newest.clone().opened(&own);
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// Keeps these bytes under this digest, right or wrong.
    pub fn put(&self, digest: Digest, bytes: Bytes) {
        let mut modules = self.modules.lock().expect("not poisoned");
        modules.retain(|(known, _)| *known != digest);
        modules.push((digest, bytes));
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// Whoever fetches this module waits for ever.
    pub fn hold(&self, digest: Digest) {
        *self.held.lock().expect("not poisoned") = Some(digest);
    }

    /// Loses the bytes of a module.
    pub fn lose(&self, digest: Digest) {
        self.modules
            .lock()
            .expect("not poisoned")
            .retain(|(known, _)| *known != digest);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "ask",
                "the shelf",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl ModuleStore for Shelf {
    async fn activate(&self, _: &Activation) -> Result<Activated, StoreError> {
        Err(StoreError::new(
            StoreErrorKind::Refused,
            "activate",
            "on a shelf",
        ))
    }

    async fn reactivate(
        &self,
        _: &DeploymentName,
        _: u32,
        _: bool,
    ) -> Result<Activated, StoreError> {
        Ok(Activated::NotKept)
    }

    async fn end_canary(&self, name: &DeploymentName) -> Result<Option<u32>, StoreError> {
        let mut deployments = self.deployments.lock().expect("not poisoned");
        let own = deployments.iter_mut().filter(|one| one.name == *name);
        let canary = own.filter(|one| one.canary.is_some()).last();
        let canary = canary.map(|one| (one.canary = None, one.version).1);
        self.revision.fetch_add(1, Ordering::SeqCst);
        Ok(canary)
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        self.check()?;
        Ok(self.deployments.lock().expect("not poisoned").clone())
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        self.fetched.fetch_add(1, Ordering::SeqCst);
        self.fetching.notify_one();
        let is_held = *self.held.lock().expect("not poisoned") == Some(*digest);
        if is_held {
            std::future::pending::<()>().await;
        }
        let modules = self.modules.lock().expect("not poisoned");
        Ok(modules
            .iter()
            .find(|(known, _)| known == digest)
            .map(|(_, bytes)| bytes.clone()))
    }

    async fn remove(&self, name: &DeploymentName, _: u32) -> Result<bool, StoreError> {
        self.deployments
            .lock()
            .expect("not poisoned")
            .retain(|one| one.name != *name);
        self.revision.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        self.check()?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.revision.load(Ordering::SeqCst))
    }
}
