//! What an attempt costs: the `noop` task, run in a fresh sandbox again and again, on one thread and on two.
//!
//! Prints microseconds an attempt and attempts a second, for each of several runs, and which allocator ran.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program to look at, and a clock that nobody moves"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::{SystemClock, Timestamp};
use stem_core::executor::{
    AttemptContext, AttemptFacts, CheckpointError, Program, Run, Stop, StopSignal,
};
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName};
use stem_core::outcome::Outcome;
use stem_core::payload::{JSON, Payload};
use stem_sandbox::{Allocation, Options, Overrides, Sandbox};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const RUNS: usize = 5;
const ATTEMPTS: u32 = 50_000;

fn main() {
    let wasm = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/wasm32-wasip2/guest/noop.wasm"
    );
    let wasm = std::env::args().nth(1).unwrap_or_else(|| wasm.to_owned());
    let on_demand = std::env::args()
        .nth(2)
        .is_some_and(|word| word == "on-demand");
    let module = read(Path::new(&wasm));
    let mut options = Options::new(64, SystemClock::shared());
    if on_demand {
        options.allocation = Allocation::OnDemand;
    }
    let sandbox = Sandbox::new(options).expect("a sandbox");
    let program = runtime().block_on(prepare(&sandbox, &module));
    println!("allocator: {}", sandbox.allocation().as_str());
    for threads in [1, 2] {
        for _ in 0..RUNS {
            measure(&program, threads);
        }
    }
}

fn read(path: &Path) -> Bytes {
    match std::fs::read(path) {
        Ok(bytes) => bytes.into(),
        Err(error) => panic!("{}: {error}: run `cargo xtask guests`", path.display()),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

async fn prepare(sandbox: &Arc<Sandbox>, module: &Bytes) -> Arc<dyn Program> {
    let inspected = sandbox.inspect(module, &Overrides::default()).await;
    let task = inspected.expect("a good module").tasks.remove(0);
    let program = sandbox.program(module, task).await;
    program.expect("a good module")
}

fn measure(program: &Arc<dyn Program>, threads: u32) {
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| runtime().block_on(repeat(&**program)));
        }
    });
    let elapsed = started.elapsed();
    let rate = f64::from(ATTEMPTS * threads) / elapsed.as_secs_f64();
    let each = elapsed / ATTEMPTS;
    println!("{threads} thread(s): {each:>8.2?} an attempt on each, {rate:>8.0} attempts/s");
}

async fn repeat(program: &dyn Program) {
    let (_keep, stop) = watch::channel(Stop::No);
    let context: Arc<dyn AttemptContext> = Arc::new(Nothing);
    let mut cpu = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        let run = attempt(program, &stop, &context);
        let execution = program.run(run).await.expect("no host fault");
        assert!(
            matches!(execution.outcome, Outcome::Succeeded(_)),
            "{:?}",
            execution.outcome
        );
        cpu += execution.usage.cpu;
    }
    assert!(cpu > Duration::ZERO);
}

fn attempt(program: &dyn Program, stop: &StopSignal, context: &Arc<dyn AttemptContext>) -> Run {
    let task = program.task();
    Run {
        facts: facts(task.name.clone()),
        payload: Payload::new(JSON, Bytes::from_static(br#"{"number":12345678}"#)),
        limits: task.policy.limits.clone(),
        stop: stop.clone(),
        context: Arc::clone(context),
    }
}

fn facts(task: TaskName) -> AttemptFacts {
    AttemptFacts {
        id: EnvelopeId::new(),
        task,
        queue: QueueName::new("default").expect("a good name"),
        number: 1,
        max_attempts: 5,
        delivery: 1,
        enqueued_at: Timestamp::from_millis(1_795_000_000_000),
        headers: BTreeMap::new(),
        attributes: Vec::new(),
    }
}

struct Nothing;

#[async_trait]
impl AttemptContext for Nothing {
    fn progress(&self, _: f64, _: String) {}

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(None)
    }

    async fn save_checkpoint(&self, _: Payload) -> Result<(), CheckpointError> {
        Ok(())
    }
}
