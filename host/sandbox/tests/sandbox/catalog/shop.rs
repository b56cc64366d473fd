//! A store, what is deployed in it, and a catalog that follows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use stem_core::executor::{Executor, ExecutorError, Program, Resolution};
use stem_core::grants::Grants;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::manifest::{Manifest, SignaturePolicy};
use stem_core::module_store::Activation;
use stem_core::names::{DeploymentName, TaskName};
use stem_core::outcome::FailureKind;
use stem_core::signing::PrivateKey;
use stem_sandbox::{Catalog, Sandbox};

use crate::common::hostile::running;
use crate::common::store::Shelf;
use crate::common::{PATIENCE, guest, inspect, sandbox};

/// A store with `word-count` in it, and a catalog that follows it.
pub struct Shop {
    pub sandbox: Arc<Sandbox>,
    pub shelf: Arc<Shelf>,
    pub catalog: Arc<Catalog>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::running_on(sandbox(4)).await
    }

    /// With modules that are run in this sandbox, and were inspected in another.
    pub async fn running_on(runner: Arc<Sandbox>) -> Self {
        Self::asking(runner, SignaturePolicy::default()).await
    }

    /// With modules that are signed as this asks.
    pub async fn asking(runner: Arc<Sandbox>, signatures: SignaturePolicy) -> Self {
        let (sandbox, shelf) = (sandbox(4), Shelf::new());
        let catalog = Catalog::new(runner, Arc::clone(&shelf) as _, signatures);
        let shop = Self {
            sandbox,
            shelf,
            catalog,
        };
        shop.deploy("texts", &guest("word_count")).await;
        shop
    }

    pub async fn deploy(&self, name: &str, module: &Bytes) -> Digest {
        let tasks = inspect(&self.sandbox, module, &[]).await.tasks;
        self.shelf.deploy(name, module, tasks)
    }

    pub async fn resolve(&self, task: &str, pinned: Option<Digest>) -> Resolution {
        let task = TaskName::new(task).expect("a good name");
        let resolved = self.catalog.resolve(&task, EnvelopeId::new(), pinned).await;
        resolved.expect("the store was asked")
    }

    pub async fn program(&self, task: &str, pinned: Option<Digest>) -> Arc<dyn Program> {
        match self.resolve(task, pinned).await {
            Resolution::Ready(program) => program,
            Resolution::Refused(failure) => panic!("refused: {failure:?}"),
        }
    }

    /// Why the host cannot even say whether there is such a task.
    pub async fn fault(&self, task: &str) -> ExecutorError {
        let task = TaskName::new(task).expect("a good name");
        let resolved = self.catalog.resolve(&task, EnvelopeId::new(), None).await;
        resolved.err().expect("a fault of the host")
    }

    pub async fn refusal(&self, task: &str, pinned: Option<Digest>) -> (FailureKind, String) {
        match self.resolve(task, pinned).await {
            Resolution::Ready(_) => panic!("`{task}` is ready"),
            Resolution::Refused(failure) => (failure.kind, failure.message),
        }
    }

    /// Deploys a module as a canary with this share.
    pub async fn deploy_canary(&self, name: &str, module: &Bytes, share: &str) -> Digest {
        let manifest = self.manifest(name, module).await;
        let digest = manifest.digest;
        self.shelf.add(&Activation {
            canary: Some(share.parse().expect("a share")),
            ..Activation::new(module.clone(), manifest, None)
        });
        self.catalog.refresh().await.expect("refreshed");
        digest
    }

    /// Deploys what a key has signed.
    pub async fn deploy_signed(&self, name: &str, module: &Bytes, key: Option<&PrivateKey>) {
        let manifest = self.manifest(name, module).await;
        let activation = Activation::new(module.clone(), manifest, key);
        self.shelf.add(&activation);
    }

    pub async fn manifest(&self, name: &str, module: &Bytes) -> Manifest {
        let tasks = inspect(&self.sandbox, module, &[]).await.tasks;
        let name = DeploymentName::new(name).expect("a good name");
        Manifest::new(name, Digest::of(module), tasks, Grants::default())
    }

    /// The modules that these envelopes run on.
    pub async fn modules(&self, ids: &[EnvelopeId]) -> Vec<Digest> {
        let task = TaskName::new("word-count").expect("a good name");
        let mut modules = Vec::new();
        for id in ids {
            let resolved = self.catalog.resolve(&task, *id, None).await;
            match resolved.expect("the store was asked") {
                Resolution::Ready(program) => modules.push(program.digest()),
                Resolution::Refused(failure) => panic!("refused: {failure:?}"),
            }
        }
        modules
    }

    /// Returns when `word-count` runs on this module, without asking for anything to be looked for.
    pub async fn switched_to(&self, digest: Digest) {
        let switched = async {
            while self.program("word-count", None).await.digest() != digest {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(20 * PATIENCE, switched).await;
        waited.expect("the version is switched");
    }

    pub fn fetched(&self) -> u64 {
        self.shelf.fetched.load(Ordering::SeqCst)
    }
}

/// The same task in another module.
pub fn other_version(answer: &str) -> Bytes {
    let mut module = running(&format!(
        "(i32.store16 (i32.const 3088) (i32.const {answer})) (global.get $ok)"
    ));
    module.name = "word-count".to_owned();
    module.component()
}
