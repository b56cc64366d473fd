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
use crate::index::{Index, Ready, Source};
use crate::loads::Loads;
use crate::modules::Modules;
use crate::program::SandboxedTask;
use crate::sandbox::Sandbox;

/// A task that can be run, or why it cannot.
pub(crate) type Loaded = Result<Arc<dyn Program>, Failure>;

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
    loads: Arc<Loads>,
    upkeep: Mutex<JoinSet<()>>,
    me: Weak<Self>,
}

impl Catalog {
    /// Follows the store's deployments from now on, as long as the catalog lives. Called inside a tokio runtime.
    pub fn new(
        sandbox: Arc<Sandbox>,
        store: Arc<dyn ModuleStore>,
        signatures: SignaturePolicy,
    ) -> Arc<Self> {
        let is_vouched_for = signatures.is_in_force();
        let catalog = Arc::new_cyclic(|me| Self {
            modules: Modules::new(sandbox, Arc::clone(&store), is_vouched_for),
            store,
            signatures,
            index: RwLock::default(),
            looking: tokio::sync::Mutex::new(()),
            loads: Arc::default(),
            upkeep: Mutex::new(JoinSet::new()),
            me: Weak::clone(me),
        });
        catalog.spawn(follow(Arc::downgrade(&catalog)));
        catalog
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        while upkeep.try_join_next().is_some() {}
        upkeep.spawn(work);
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
        let is_news = self.index().revision != Some(revision);
        if is_news {
            let deployments = self.store.deployments().await.map_err(fault)?;
            self.warn_of_secrets(&deployments);
            let mut index = self.index_mut();
            index.replace(revision, deployments, &self.signatures);
        }
        self.modules.tidy(&self.index().modules());
        Ok(())
    }

    /// Whoever deploys needs no secret, so that a missing one is first seen here: once for each new deployment. Nothing
    /// waits for the files that are read for that.
    fn warn_of_secrets(&self, deployments: &[Deployment]) {
        let index = self.index();
        let news = deployments.iter().filter(|one| index.is_news(one));
        let news: Vec<Deployment> = news.cloned().collect();
        let secrets = Arc::clone(self.modules.sandbox.secrets());
        tokio::task::spawn_blocking(move || {
            for deployment in &news {
                warn_of_missing(deployment, &*secrets);
            }
        });
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

    /// Loads a task for an envelope that is pinned to its module.
    async fn load_pinned(&self, source: &Source) -> Result<Loaded, ExecutorError> {
        if let Some(program) = self.modules.pinned(source) {
            return Ok(Ok(program));
        }
        let loaded = self.load(source).await?;
        if let Ok(program) = &loaded {
            self.modules.keep_pinned(Ready {
                source: source.clone(),
                program: Arc::clone(program),
            });
        }
        Ok(loaded)
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
            (Ok(source), Some(_)) => self.load_pinned(&source).await?,
        };
        Ok(match loaded {
            Ok(program) => Resolution::Ready(program),
            Err(failure) => Resolution::Refused(failure),
        })
    }

    async fn refresh(&self) -> Result<(), ExecutorError> {
        let stale = self.look_and_load().await?;
        self.loads.finished(&stale).await;
        Ok(())
    }
}

impl Catalog {
    /// Looks, and begins to load what is not ready in its newest version: each by a task of its own, so that a module
    /// that takes long to compile keeps no other from its switch (M3).
    async fn look_and_load(&self) -> Result<Vec<Source>, ExecutorError> {
        self.look().await?;
        let stale = self.index().stale(&self.signatures);
        for load in self.loads.begin(&stale) {
            let catalog = Weak::clone(&self.me);
            self.spawn(async move {
                if let Some(catalog) = catalog.upgrade() {
                    let loaded = catalog.load_used(&load.source).await;
                    catalog.loads.note(&load.source, &loaded);
                }
            });
        }
        Ok(stale)
    }
}

/// Looks for new deployments until the catalog is gone; says once when the store cannot be asked.
async fn follow(catalog: Weak<Catalog>) {
    let mut is_lost = false;
    while let Some(catalog) = catalog.upgrade() {
        let looked = catalog.look_and_load().await;
        drop(catalog);
        if let Err(error) = &looked
            && !is_lost
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "deployments cannot be followed");
        }
        is_lost = looked.is_err();
        tokio::time::sleep(PERIOD).await;
    }
}
