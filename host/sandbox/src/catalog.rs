//! Which module runs which task: the deployments of the store, compiled ahead of their first attempt (M2, M3).
//!
//! A new version is compiled while the old one goes on; it takes over when it is ready, and attempts that run finish
//! on what they started with. A signature is verified when its deployment is first seen, not when an attempt starts.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use stem_core::executor::{Executor, ExecutorError, Program, Resolution};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::manifest::SignaturePolicy;
use stem_core::module_store::{Deployment, ModuleStore};
use stem_core::names::TaskName;
use stem_core::outcome::Failure;
use stem_core::store_error::StoreError;
use tokio::task::JoinSet;

use crate::grants::Granted;
use crate::grants::values::warn_of_missing;
use crate::index::{Index, Source};
use crate::modules::Modules;
use crate::program::SandboxedTask;
use crate::sandbox::Sandbox;

/// A task that can be run, or why it cannot.
type Loaded = Result<Arc<dyn Program>, Failure>;

/// How often the store is asked whether deployments have changed.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs the tasks that are deployed in a store.
pub struct Catalog {
    modules: Modules,
    store: Arc<dyn ModuleStore>,
    signatures: SignaturePolicy,
    index: RwLock<Index>,
    /// One look at the store at a time, so that an older answer never replaces a newer one.
    looking: tokio::sync::Mutex<()>,
    upkeep: Mutex<JoinSet<()>>,
}

impl Catalog {
    /// Follows the store's deployments from now on, as long as the catalog lives. Called inside a tokio runtime.
    pub fn new(
        sandbox: Arc<Sandbox>,
        store: Arc<dyn ModuleStore>,
        signatures: SignaturePolicy,
    ) -> Arc<Self> {
        let is_vouched_for = signatures.is_in_force();
        let catalog = Arc::new(Self {
            modules: Modules::new(sandbox, Arc::clone(&store), is_vouched_for),
            store,
            signatures,
            index: RwLock::default(),
            looking: tokio::sync::Mutex::new(()),
            upkeep: Mutex::new(JoinSet::new()),
        });
        let follower = follow(Arc::downgrade(&catalog));
        catalog
            .upkeep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(follower);
        catalog
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the deployments again if the store says that they have changed.
    async fn look(&self) -> Result<(), ExecutorError> {
        let _alone = self.looking.lock().await;
        let fault = |error: StoreError| ExecutorError::new("look for deployments").because(error);
        // The revision is read before the deployments: a change in between is seen at the next look.
        let revision = self.store.revision().await.map_err(fault)?;
        if self.index().revision == Some(revision) {
            return Ok(());
        }
        let deployments = self.store.deployments().await.map_err(fault)?;
        self.warn_of_secrets(&deployments);
        let mut index = self.index_mut();
        index.replace(revision, deployments, &self.signatures);
        self.modules.tidy(&index.modules());
        Ok(())
    }

    /// Whoever deploys needs no secret, so that a missing one is first seen here: once for each new deployment.
    fn warn_of_secrets(&self, deployments: &[Deployment]) {
        let index = self.index();
        let secrets = self.modules.sandbox.secrets();
        for deployment in deployments.iter().filter(|one| index.is_news(one)) {
            warn_of_missing(deployment, &**secrets);
        }
    }

    fn find(&self, task: &TaskName, pinned: Option<Digest>) -> Result<Source, Failure> {
        self.index().find(task, pinned, &self.signatures)
    }

    async fn load(&self, source: &Source) -> Result<Loaded, ExecutorError> {
        let (digest, class) = source.module();
        let loaded = self.modules.get(digest, class).await?;
        Ok(loaded.map(|module| {
            let program: Arc<dyn Program> = Arc::new(SandboxedTask {
                task: source.task.clone(),
                digest: source.digest,
                module,
                granted: Granted::new(source.grants.clone(), &self.modules.sandbox),
                clock: Arc::clone(self.modules.sandbox.clock()),
            });
            program
        }))
    }

    /// Loads a task for the envelopes that come: the active version's, or the canary's.
    async fn load_used(&self, source: &Source) -> Result<Loaded, ExecutorError> {
        let loaded = self.load(source).await?;
        let program = loaded.as_ref().ok();
        self.index_mut().put(source, program, &self.signatures);
        Ok(loaded)
    }
}

#[async_trait]
impl Executor for Catalog {
    async fn resolve(
        &self,
        task: &TaskName,
        id: EnvelopeId,
        pinned: Option<Digest>,
    ) -> Result<Resolution, ExecutorError> {
        if pinned.is_none()
            && let Some(program) = self.index().ready(task, id)
        {
            return Ok(Resolution::Ready(Arc::clone(program)));
        }
        if self.find(task, pinned).is_err() {
            self.look().await?;
        }
        let loaded = match (self.find(task, pinned), pinned) {
            (Err(failure), _) => Err(failure),
            (Ok(source), None) => self.load_used(&source).await?,
            (Ok(source), Some(_)) => self.load(&source).await?,
        };
        Ok(match loaded {
            Ok(program) => Resolution::Ready(program),
            Err(failure) => Resolution::Refused(failure),
        })
    }

    async fn refresh(&self) -> Result<(), ExecutorError> {
        self.look().await?;
        let mut refreshed = Ok(());
        let stale = self.index().stale(&self.signatures);
        for source in stale {
            // A module that cannot be loaded is its attempts' failure, and no reason not to load the others.
            let loaded = self.load_used(&source).await;
            if self.modules.rest(&source.module()).is_none() {
                refreshed = refreshed.and(loaded.map(drop));
            }
        }
        refreshed
    }
}

/// Looks for new deployments until the catalog is gone; says once when the store cannot be asked.
async fn follow(catalog: Weak<Catalog>) {
    let mut is_lost = false;
    while let Some(catalog) = catalog.upgrade() {
        let refreshed = catalog.refresh().await;
        drop(catalog);
        if let Err(error) = &refreshed
            && !is_lost
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "deployments cannot be followed");
        }
        is_lost = refreshed.is_err();
        tokio::time::sleep(PERIOD).await;
    }
}
