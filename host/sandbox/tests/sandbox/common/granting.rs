//! Modules with grants, on a sandbox with secrets of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stem_core::clock::SystemClock;
use stem_core::executor::Program;
use stem_core::secrets::{Secret, SecretError, SecretName, Secrets};
use stem_sandbox::{DeployError, Options, Overrides, Sandbox};

/// Secrets that a test changes.
#[derive(Debug, Default)]
pub struct Vault {
    values: Mutex<BTreeMap<String, String>>,
    /// Whether reading them takes until this is taken back.
    pub is_stuck: AtomicBool,
    /// Whether the machine cannot read them.
    pub is_broken: AtomicBool,
}

impl Vault {
    /// With these in it.
    pub fn with(values: &[(&str, &str)]) -> Arc<Self> {
        let vault = Arc::<Self>::default();
        values
            .iter()
            .for_each(|(name, value)| vault.put(name, value));
        vault
    }

    /// Adds one, or replaces it.
    pub fn put(&self, name: &str, value: &str) {
        let mut values = self.values.lock().expect("not poisoned");
        values.insert(name.to_owned(), value.to_owned());
    }
}

impl Secrets for Vault {
    fn value(&self, name: &SecretName) -> Result<Option<Secret>, SecretError> {
        while self.is_stuck.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(SecretError::unreadable(name, "the disk is gone"));
        }
        let values = self.values.lock().expect("not poisoned");
        Ok(values.get(name.as_str()).map(Secret::new))
    }
}

/// The first task of a module that is deployed with this policy.
pub async fn granted(
    module: &Bytes,
    policy: &str,
    secrets: Arc<Vault>,
) -> Result<Arc<dyn Program>, DeployError> {
    let options = Options {
        secrets,
        ..Options::new(2, SystemClock::shared())
    };
    let sandbox = Sandbox::new(options).expect("a sandbox");
    let overrides = Overrides::parse(policy).expect("a good policy");
    let mut inspected = sandbox.inspect(module, &overrides).await?;
    let task = inspected.tasks.remove(0);
    sandbox.program(module, task, &inspected.grants).await
}
