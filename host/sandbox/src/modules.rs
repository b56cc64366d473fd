//! Compiled modules by digest: each is fetched and compiled once, however many ask for it (S5, M2).

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use stem_core::executor::{ExecutorError, Program};
use stem_core::ids::Digest;
use stem_core::manifest::bad_signature;
use stem_core::module_store::ModuleStore;
use stem_core::names::TaskName;
use stem_core::outcome::{Failure, FailureKind};
use tokio::sync::{OnceCell, Semaphore};

use crate::engine::Class;
use crate::index::{Ready, Source};
use crate::module::Module;
use crate::sandbox::{Sandbox, Unloaded};

/// How long a module that no active deployment has stays compiled: envelopes may be pinned to it.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// How long a module that took too much of its compiler is left alone: every try costs as much again.
const REST: Duration = Duration::from_secs(60);

/// A module that was compiled, or that cannot be.
pub(crate) type Loaded = Result<Arc<Module>, Failure>;

type Key = (Digest, Class);
type Cause = Box<dyn Error + Send + Sync>;

struct Slot {
    cell: Arc<OnceCell<Loaded>>,
    last_used: Duration,
    /// Until when nobody tries to compile it again, and why.
    rest: Option<(Duration, String)>,
    /// What runs its tasks for envelopes that are pinned to it.
    pinned: HashMap<TaskName, Ready>,
}

/// Why nothing was loaded; asked again, the answer may be another.
enum NotYet {
    Missing,
    Altered,
    TooMuch(String),
    Fault(ExecutorError),
}

/// Fetches and compiles modules.
pub(crate) struct Modules {
    pub(crate) sandbox: Arc<Sandbox>,
    store: Arc<dyn ModuleStore>,
    /// Whether deployments are signed: then bytes that are not theirs are somebody's doing.
    is_vouched_for: bool,
    slots: Mutex<HashMap<Key, Slot>>,
    /// Who may compile: each takes memory, and what is compiled already waits for nobody.
    compiling: Semaphore,
}

impl Modules {
    /// Nothing loaded yet.
    pub(crate) fn new(
        sandbox: Arc<Sandbox>,
        store: Arc<dyn ModuleStore>,
        is_vouched_for: bool,
    ) -> Self {
        Self {
            sandbox,
            store,
            is_vouched_for,
            slots: Mutex::new(HashMap::new()),
            compiling: Semaphore::new(at_once()),
        }
    }

    /// The module, compiled now if it was not before. An `Err` is a fault of the host or the store.
    pub(crate) async fn get(&self, digest: Digest, class: Class) -> Result<Loaded, ExecutorError> {
        let key = (digest, class);
        let cell = self.cell(key);
        match cell.get_or_try_init(|| self.load_unless_resting(key)).await {
            Ok(loaded) => Ok(loaded.clone()),
            Err(NotYet::Missing) => {
                let message = format!("the store has no module {}", digest.short());
                Ok(Err(unavailable(message)))
            }
            Err(NotYet::Altered) if self.is_vouched_for => {
                let digest = digest.short();
                let problem = format!("the module {digest} in the store is not what was deployed");
                Ok(Err(bad_signature(problem)))
            }
            Err(NotYet::Altered) => {
                let problem = "what was read is not what was deployed";
                Err(fault(digest, problem.into()))
            }
            Err(NotYet::TooMuch(problem)) => Err(fault(digest, problem.into())),
            Err(NotYet::Fault(error)) => Err(error),
        }
    }

    /// Alone for each module: whoever waited for a try that was too much does not try again.
    async fn load_unless_resting(&self, key: Key) -> Result<Loaded, NotYet> {
        if let Some(problem) = self.rest(&key) {
            return Err(NotYet::TooMuch(problem));
        }
        let loaded = self.load(key.0, key.1).await;
        if let Err(NotYet::TooMuch(problem)) = &loaded {
            self.begin_rest(&key, problem);
        }
        loaded
    }

    /// Why nobody compiles this module for now, if so.
    fn rest(&self, key: &Key) -> Option<String> {
        let now = self.sandbox.clock().monotonic();
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, problem) = slots.get(key)?.rest.as_ref()?;
        (now < *until).then(|| problem.clone())
    }

    fn begin_rest(&self, key: &Key, problem: &str) {
        tracing::error!(module = %key.0.short(), problem, "a module cannot be compiled on this machine");
        let until = self.sandbox.clock().monotonic() + REST;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(key) {
            slot.rest = Some((until, problem.to_owned()));
        }
    }

    fn cell(&self, key: Key) -> Arc<OnceCell<Loaded>> {
        let now = self.sandbox.clock().monotonic();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(key).or_insert_with(|| Slot {
            cell: Arc::default(),
            last_used: now,
            rest: None,
            pinned: HashMap::new(),
        });
        slot.last_used = now;
        Arc::clone(&slot.cell)
    }

    /// What was kept to run this.
    pub(crate) fn pinned(&self, source: &Source) -> Option<Arc<dyn Program>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slots.get(&source.module())?.pinned.get(&source.task.name)?;
        (kept.source == *source).then(|| Arc::clone(&kept.program))
    }

    /// Keeps what runs this as long as its module.
    pub(crate) fn keep_pinned(&self, ready: Ready) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(&ready.source.module()) {
            let task = ready.source.task.name.clone();
            slot.pinned.insert(task, ready);
        }
    }

    async fn load(&self, digest: Digest, class: Class) -> Result<Loaded, NotYet> {
        let fault = |cause: Cause| NotYet::Fault(fault(digest, cause));
        if let Some(Ok(module)) = self.sandbox.load_kept(digest, class).await {
            return Ok(Ok(Arc::new(module)));
        }
        let bytes = match self.fetch(digest).await {
            // What was read badly once may be read well.
            Err(NotYet::Altered) => self.fetch(digest).await?,
            fetched => fetched?,
        };
        let compiling = self.compiling.acquire().await;
        let loaded = self.sandbox.load(bytes, class).await;
        drop(compiling);
        match loaded {
            Ok(module) => Ok(Ok(Arc::new(module))),
            Err(Unloaded::TooMuch(problem)) => Err(NotYet::TooMuch(problem)),
            Err(Unloaded::Fault(error)) => Err(fault(format!("{error:#}").into())),
            Err(Unloaded::Refused(error)) => {
                let message = format!("the module {} cannot be loaded: {error:#}", digest.short());
                Ok(Err(unavailable(message)))
            }
        }
    }

    async fn fetch(&self, digest: Digest) -> Result<Bytes, NotYet> {
        let fetched = self.store.module(&digest).await;
        let bytes = fetched.map_err(|error| NotYet::Fault(fault(digest, error.into())))?;
        let bytes = bytes.ok_or(NotYet::Missing)?;
        match Digest::of(&bytes) == digest {
            true => Ok(bytes),
            false => Err(NotYet::Altered),
        }
    }

    /// Lets go of what no active deployment needs and nobody has asked for in a while.
    pub(crate) fn tidy(&self, active: &HashSet<Key>) {
        let now = self.sandbox.clock().monotonic();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|key, slot| {
            active.contains(key) || now.saturating_sub(slot.last_used) < IDLE_TIME
        });
    }
}

/// Modules that are compiled at the same time: never one alone, so that one that takes long holds up no other.
fn at_once() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
}

fn fault(digest: Digest, cause: Cause) -> ExecutorError {
    ExecutorError::new(format!("load the module {}", digest.short())).because(cause)
}

/// A task whose module cannot be run.
pub(crate) fn unavailable(message: String) -> Failure {
    Failure::permanent(FailureKind::ModuleUnavailable, message)
}
