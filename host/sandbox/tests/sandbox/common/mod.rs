//! Guests, sandboxes and attempts for tests, made in one line each.

pub mod granting;
pub mod hostile;
pub mod net;
pub mod server;
pub mod store;
pub mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::children::{Child, Refusal};
use stem_core::clock::{SystemClock, Timestamp};
use stem_core::executor::{
    AttemptContext, AttemptFacts, CheckpointError, Execution, ExecutorError, Program, Run, Stop,
    StopSignal,
};
use stem_core::ids::EnvelopeId;
use stem_core::key_value::Buckets;
use stem_core::module_store::DeployedTask;
use stem_core::names::{HeaderName, QueueName, TaskName};
use stem_core::outcome::{Failure, FailureKind, Limit, Outcome};
use stem_core::payload::Payload;
use stem_core::policy::Limits;
use stem_sandbox::{Allocation, Inspected, Options, Overrides, Parts, Sandbox, TimedTask};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Barrier, Notify, OnceCell, watch};

/// How much later than it should an event may come on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// A guest that `cargo xtask guests` has built.
pub fn guest(name: &str) -> Bytes {
    let executable = std::env::current_exe().expect("a test runs from a file");
    let target = executable
        .ancestors()
        .nth(3)
        .expect("target/PROFILE/deps/TEST");
    let file = format!("{}.wasm", name.replace('-', "_"));
    let path = target.join(Path::new("wasm32-wasip2/guest").join(file));
    match std::fs::read(&path) {
        Ok(bytes) => bytes.into(),
        Err(error) => panic!("{}: {error}: run `cargo xtask guests`", path.display()),
    }
}

/// A runtime that runs this and is gone.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

/// One thread that guests run on.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A sandbox with pooled slots.
pub fn sandbox(slots: u32) -> Arc<Sandbox> {
    sandbox_with(slots, Allocation::Pooling)
}

/// A sandbox with slots of this kind.
pub fn sandbox_with(slots: u32, allocation: Allocation) -> Arc<Sandbox> {
    let options = Options {
        allocation,
        ..Options::new(slots, SystemClock::shared())
    };
    let sandbox = Sandbox::new(options).expect("a sandbox");
    assert_eq!(sandbox.allocation(), allocation);
    sandbox
}

/// What `deploy` finds, with these settings for all tasks.
pub async fn inspect(
    sandbox: &Arc<Sandbox>,
    module: &Bytes,
    settings: &[(&str, &str)],
) -> Inspected {
    let mut overrides = Overrides::default();
    for (key, value) in settings {
        overrides.set(key, value).expect("a good setting");
    }
    let inspected = sandbox.inspect(module, &overrides).await;
    inspected.expect("a good module")
}

/// The first task of a module, with these settings.
pub async fn program(
    sandbox: &Arc<Sandbox>,
    module: &Bytes,
    settings: &[(&str, &str)],
) -> Arc<dyn Program> {
    let inspected = inspect(sandbox, module, settings).await;
    let task = inspected.tasks[0].clone();
    let program = sandbox.program(module, task, &inspected.grants).await;
    program.expect("a good module")
}

/// The task that gives back what it is given.
pub async fn noop(sandbox: &Arc<Sandbox>) -> Arc<dyn Program> {
    let module = guest("noop");
    let inspected = inspect(sandbox, &module, &[]).await;
    let mut tasks = inspected.tasks.into_iter();
    let task = tasks.find(|task| task.name.as_str() == "noop");
    let program = sandbox.program(&module, task.expect("it is there"), &inspected.grants);
    program.await.expect("a good module")
}

/// `misbehave` with these settings.
pub async fn misbehave(settings: &[(&str, &str)]) -> Arc<dyn Program> {
    /// Compiled once for all tests: it never changes.
    static DEFAULT: OnceCell<Arc<dyn Program>> = OnceCell::const_new();
    let compile = || async { program(&sandbox(64), &guest("misbehave"), settings).await };
    if settings.is_empty() {
        Arc::clone(DEFAULT.get_or_init(compile).await)
    } else {
        compile().await
    }
}

/// An attempt to be run.
pub struct Attempt {
    pub id: EnvelopeId,
    pub payload: Payload,
    pub stop: StopSignal,
    pub context: Arc<Kept>,
    pub headers: BTreeMap<HeaderName, String>,
}

impl Attempt {
    /// With this JSON as its payload.
    pub fn json(payload: &str) -> Self {
        Self {
            id: EnvelopeId::new(),
            payload: Payload::new("application/json", payload.to_owned()),
            stop: watch::channel(Stop::No).1,
            context: Arc::default(),
            headers: BTreeMap::new(),
        }
    }

    /// That meets this fate of `misbehave`.
    pub fn fate(name: &str) -> Self {
        Self::json(&format!(r#"{{"fate":"{name}"}}"#))
    }

    /// Of this envelope.
    pub fn of(mut self, id: EnvelopeId) -> Self {
        self.id = id;
        self
    }

    /// With this header.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::new(name).expect("a good name");
        self.headers.insert(name, value.to_owned());
        self
    }

    /// With this stop signal.
    pub fn stopping(mut self, stop: StopSignal) -> Self {
        self.stop = stop;
        self
    }

    /// Runs it under the task's own limits.
    pub async fn run(self, program: &Arc<dyn Program>) -> Execution {
        self.try_run(program).await.expect("no host fault")
    }

    /// The same, where the host may fail.
    pub async fn try_run(self, program: &Arc<dyn Program>) -> Result<Execution, ExecutorError> {
        let limits = program.task().policy.limits.clone();
        program.run(self.prepare(program.task(), limits)).await
    }

    /// Runs it under other limits.
    pub async fn run_within(self, program: &Arc<dyn Program>, limits: Limits) -> Execution {
        let execution = program.run(self.prepare(program.task(), limits)).await;
        execution.expect("no host fault")
    }

    /// Runs it under the task's own limits, part by part.
    pub async fn run_timed(self, timed: &TimedTask) -> (Execution, Parts) {
        let policy = &timed.task().policy;
        let run = self.prepare(timed.task(), policy.limits.clone());
        timed.run(run).await.expect("no host fault")
    }

    fn prepare(self, task: &DeployedTask, limits: Limits) -> Run {
        Run {
            facts: facts(self.id, task.name.clone(), self.headers),
            payload: self.payload,
            limits,
            stop: self.stop,
            context: self.context,
        }
    }
}

fn facts(id: EnvelopeId, task: TaskName, headers: BTreeMap<HeaderName, String>) -> AttemptFacts {
    AttemptFacts {
        id,
        task,
        queue: QueueName::new("default").expect("a good name"),
        number: 1,
        max_attempts: 5,
        delivery: 1,
        enqueued_at: Timestamp::from_millis(1_795_000_000_000),
        headers,
        attributes: vec![("root", "r".to_owned())],
    }
}

/// The failure that an attempt ended with.
#[track_caller]
pub fn failure(execution: &Execution) -> &Failure {
    let Outcome::Failed(failure) = &execution.outcome else {
        panic!("not a failure: {execution:?}");
    };
    failure
}

/// The limit that an attempt crossed: which, what was allowed, what was used.
#[track_caller]
pub fn crossed(execution: &Execution) -> (Limit, u64, u64) {
    let FailureKind::Limit {
        limit,
        allowed,
        used,
    } = failure(execution).kind
    else {
        panic!("not a limit: {execution:?}");
    };
    (limit, allowed, used)
}

/// The result that an attempt ended with, as text.
#[track_caller]
pub fn result(execution: &Execution) -> String {
    let Outcome::Succeeded(payload) = &execution.outcome else {
        panic!("not a result: {execution:?}");
    };
    String::from_utf8_lossy(&payload.body).into_owned()
}

/// What an attempt says to the host.
#[derive(Default)]
pub struct Kept {
    pub progress: Mutex<Vec<(f64, String)>>,
    pub checkpoint: Mutex<Option<Payload>>,
    /// Told when a checkpoint is asked for.
    pub asked: Notify,
    /// Whether a checkpoint that is asked for comes only when `answer` is told.
    pub is_stuck: AtomicBool,
    pub answer: Notify,
    /// Where attempts that share this wait for one another when they ask for a checkpoint.
    pub meeting: Option<Barrier>,
    /// How long the guest waited for a core in all.
    pub waited: Mutex<Duration>,
    /// Where its buckets lie.
    pub buckets: Option<Buckets>,
    /// What it asked to be enqueued, call by call.
    pub enqueued: Mutex<Vec<Vec<Child>>>,
}

#[async_trait]
impl AttemptContext for Kept {
    fn progress(&self, fraction: f64, note: String) {
        self.progress
            .lock()
            .expect("not poisoned")
            .push((fraction, note));
    }

    fn waited(&self, time: Duration) {
        *self.waited.lock().expect("not poisoned") += time;
    }

    fn buckets(&self) -> Option<Buckets> {
        self.buckets.clone()
    }

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        self.asked.notify_one();
        if self.is_stuck.load(Ordering::SeqCst) {
            self.answer.notified().await;
        }
        if let Some(meeting) = &self.meeting {
            meeting.wait().await;
        }
        Ok(self.checkpoint.lock().expect("not poisoned").clone())
    }

    async fn save_checkpoint(&self, checkpoint: Payload) -> Result<(), CheckpointError> {
        *self.checkpoint.lock().expect("not poisoned") = Some(checkpoint);
        Ok(())
    }

    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        self.asked.notify_one();
        if self.is_stuck.load(Ordering::SeqCst) {
            self.answer.notified().await;
        }
        let ids = children.iter().map(|_| Ok(EnvelopeId::new())).collect();
        self.enqueued.lock().expect("not poisoned").push(children);
        ids
    }
}
