//! A module store of a few lines, which can lose a module, change one, and be away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, DeployedTask, Deployment, ModuleStore};
use stem_core::names::DeploymentName;
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
        let mut deployments = self.deployments.lock().expect("not poisoned");
        let version = 1 + deployments.iter().filter(|one| one.name == name).count();
        for old in deployments.iter_mut().filter(|one| one.name == name) {
            old.is_active = false;
        }
        let new = Deployment {
            name,
            version: u32::try_from(version).expect("a few"),
            digest,
            size_bytes: u64::try_from(module.len()).expect("small"),
            deployed_at: Timestamp::from_millis(1),
            is_active: true,
            tasks,
            grants: Grants::default(),
        };
        deployments.insert(0, new);
        drop(deployments);
        self.put(digest, module.clone());
        digest
    }

    /// Keeps these bytes under this digest, right or wrong.
    pub fn put(&self, digest: Digest, bytes: Bytes) {
        let mut modules = self.modules.lock().expect("not poisoned");
        modules.retain(|(known, _)| *known != digest);
        modules.push((digest, bytes));
        self.revision.fetch_add(1, Ordering::SeqCst);
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

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        self.check()?;
        Ok(self.deployments.lock().expect("not poisoned").clone())
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        self.fetched.fetch_add(1, Ordering::SeqCst);
        self.fetching.notify_one();
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
