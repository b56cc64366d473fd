//! Which module runs which task: the deployments of the store, compiled ahead of their first attempt (M2, M3).
//!
//! A new version is compiled while the old one goes on; it takes over when it is ready, and attempts that run finish
//! on what they started with.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use async_trait::async_trait;
use stem_core::executor::{Executor, ExecutorError, Program, Resolution};
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::module_store::{DeployedTask, Deployment, ModuleStore};
use stem_core::names::{TaskName, nearest};
use stem_core::outcome::{Failure, FailureKind};
use stem_core::store_error::StoreError;
use tokio::task::JoinSet;

use crate::engine::Class;
use crate::grants::Granted;
use crate::grants::values::warn_of_missing;
use crate::modules::{Modules, unavailable};
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
    index: RwLock<Index>,
    /// One look at the store at a time, so that an older answer never replaces a newer one.
    looking: tokio::sync::Mutex<()>,
    upkeep: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Index {
    revision: Option<u64>,
    deployments: Vec<Arc<Deployment>>,
    /// What can be run at once. For a new version the old one stays here until the new one is compiled.
    ready: HashMap<TaskName, Ready>,
}

struct Ready {
    source: Source,
    program: Arc<dyn Program>,
}

/// Where a task comes from: when this changes, it is to be loaded anew.
#[derive(Clone, PartialEq)]
struct Source {
    digest: Digest,
    task: DeployedTask,
    grants: Grants,
    size: u64,
}

impl Source {
    fn module(&self) -> (Digest, Class) {
        (self.digest, Class::of(&self.task.policy.limits))
    }
}

impl Catalog {
    /// Follows the store's deployments from now on, as long as the catalog lives. Called inside a tokio runtime.
    pub fn new(sandbox: Arc<Sandbox>, store: Arc<dyn ModuleStore>) -> Arc<Self> {
        let catalog = Arc::new(Self {
            modules: Modules::new(sandbox, Arc::clone(&store)),
            store,
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
        index.deployments = deployments.into_iter().map(Arc::new).collect();
        index.revision = Some(revision);
        let Index {
            deployments, ready, ..
        } = &mut *index;
        ready.retain(|task, _| find_active(deployments, task).is_ok());
        self.modules.tidy(&active_modules(deployments));
        Ok(())
    }

    /// Whoever deploys needs no secret, so that a missing one is first seen here: once for each new deployment.
    fn warn_of_secrets(&self, deployments: &[Deployment]) {
        let known = self.index().deployments.clone();
        let is_new = |one: &&Deployment| {
            let same = |old: &Arc<Deployment>| (&old.name, old.version) == (&one.name, one.version);
            one.is_active && !known.iter().any(|old| old.is_active && same(old))
        };
        let secrets = self.modules.sandbox.secrets();
        for deployment in deployments.iter().filter(is_new) {
            warn_of_missing(deployment, &**secrets);
        }
    }

    fn find(&self, task: &TaskName, pinned: Option<Digest>) -> Result<Source, Failure> {
        let deployments = &self.index().deployments;
        match pinned {
            None => find_active(deployments, task),
            Some(digest) => find_pinned(deployments, task, digest),
        }
    }

    async fn load(&self, source: &Source) -> Result<Loaded, ExecutorError> {
        let (digest, class) = source.module();
        let loaded = self.modules.get(digest, class).await?;
        Ok(loaded.map(|module| {
            let program: Arc<dyn Program> = Arc::new(SandboxedTask {
                task: source.task.clone(),
                digest: source.digest,
                module,
                granted: Granted::new(source.grants.clone(), self.modules.sandbox.secrets()),
                clock: Arc::clone(self.modules.sandbox.clock()),
            });
            program
        }))
    }

    async fn load_active(&self, source: &Source) -> Result<Loaded, ExecutorError> {
        let loaded = self.load(source).await?;
        let task = &source.task.name;
        let mut index = self.index_mut();
        // Where the deployment has changed meanwhile, whoever saw the change loads the new one.
        if find_active(&index.deployments, task).is_ok_and(|current| current == *source) {
            match &loaded {
                Ok(program) => {
                    let (source, program) = (source.clone(), Arc::clone(program));
                    index.ready.insert(task.clone(), Ready { source, program });
                }
                Err(_) => drop(index.ready.remove(task)),
            }
        }
        Ok(loaded)
    }

    /// Active tasks that are not ready in their newest version, those with small modules first.
    fn stale(&self) -> Vec<Source> {
        let index = self.index();
        let active = index.deployments.iter().filter(|one| one.is_active);
        let tasks = active.flat_map(|one| one.tasks.iter().map(|task| source(one, task)));
        let mut stale: Vec<Source> = tasks
            .filter(|source| {
                let ready = index.ready.get(&source.task.name);
                ready.is_none_or(|ready| ready.source != *source)
            })
            .collect();
        stale.sort_by_key(|source| source.size);
        stale
    }
}

#[async_trait]
impl Executor for Catalog {
    async fn resolve(
        &self,
        task: &TaskName,
        pinned: Option<Digest>,
    ) -> Result<Resolution, ExecutorError> {
        if pinned.is_none()
            && let Some(ready) = self.index().ready.get(task)
        {
            return Ok(Resolution::Ready(Arc::clone(&ready.program)));
        }
        if self.find(task, pinned).is_err() {
            self.look().await?;
        }
        let loaded = match (self.find(task, pinned), pinned) {
            (Err(failure), _) => Err(failure),
            (Ok(source), None) => self.load_active(&source).await?,
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
        for source in self.stale() {
            // A module that cannot be loaded is its attempts' failure, and no reason not to load the others.
            let loaded = self.load_active(&source).await;
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

fn source(deployment: &Deployment, task: &DeployedTask) -> Source {
    Source {
        digest: deployment.digest,
        task: task.clone(),
        grants: deployment.grants.clone(),
        size: deployment.size_bytes,
    }
}

fn find_active(deployments: &[Arc<Deployment>], name: &TaskName) -> Result<Source, Failure> {
    let active = || deployments.iter().filter(|one| one.is_active);
    let found = active().find_map(|deployment| Some(source(deployment, deployment.task(name)?)));
    found.ok_or_else(|| {
        let names = active().flat_map(|deployment| &deployment.tasks);
        let hint = nearest(name.as_str(), names.map(|task| task.name.as_str()))
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        unknown_task(format!("no task named `{name}` is deployed{hint}"))
    })
}

fn find_pinned(
    deployments: &[Arc<Deployment>],
    name: &TaskName,
    digest: Digest,
) -> Result<Source, Failure> {
    let mut kept = deployments
        .iter()
        .filter(|one| one.digest == digest)
        .peekable();
    if kept.peek().is_none() {
        let message = format!("no deployment has the module {}", digest.short());
        return Err(unavailable(message));
    }
    // The store lists the newest version of a deployment first: its policy counts.
    let found = kept.find_map(|deployment| Some(source(deployment, deployment.task(name)?)));
    found.ok_or_else(|| {
        let digest = digest.short();
        unknown_task(format!("the module {digest} has no task named `{name}`"))
    })
}

fn unknown_task(message: String) -> Failure {
    Failure::permanent(FailureKind::UnknownTask, message)
}

fn active_modules(deployments: &[Arc<Deployment>]) -> HashSet<(Digest, Class)> {
    deployments
        .iter()
        .filter(|deployment| deployment.is_active)
        .flat_map(|deployment| {
            let classes = deployment
                .tasks
                .iter()
                .map(|task| Class::of(&task.policy.limits));
            classes.map(|class| (deployment.digest, class))
        })
        .collect()
}
