//! What an attempt costs: the `noop` task, run in a fresh sandbox again and again, on one thread and on two.
//!
//! `throughput [MODULE.wasm [pooling|on-demand [PAYLOAD]]]` takes another module and payload.
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
use stem_core::units::ByteSize;
use stem_sandbox::{Allocation, Options, Overrides, Sandbox};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const RUNS: usize = 5;
const ATTEMPTS: u32 = 50_000;

fn main() {
    let noop = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/wasm32-wasip2/guest/noop.wasm"
    );
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |place: usize| arguments.get(place).map(String::as_str);
    let module = read(Path::new(argument(1).unwrap_or(noop)));
    let payload = argument(3).unwrap_or(r#"{"number":12345678}"#).to_owned();
    let mut options = Options::new(64, SystemClock::shared());
    if argument(2) == Some(Allocation::OnDemand.as_str()) {
        options.allocation = Allocation::OnDemand;
    }
    let sandbox = Sandbox::new(options).expect("a sandbox");
    let program = runtime().block_on(prepare(&sandbox, &module));
    let payload = Payload::new(JSON, payload);
    let allocator = sandbox.allocation().as_str();
    let memory = ByteSize(runtime().block_on(once(&*program, &payload)));
    println!("allocator: {allocator}; the guest has {memory} of memory");
    for threads in [1, 2] {
        for _ in 0..RUNS {
            measure(&program, &payload, threads);
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

fn measure(program: &Arc<dyn Program>, payload: &Payload, threads: u32) {
    let started = Instant::now();
    let cpu: Duration = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| runtime().block_on(repeat(&**program, payload))))
            .collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.map(|cpu| cpu.expect("no panic")).sum()
    });
    let elapsed = started.elapsed();
    let attempts = ATTEMPTS * threads;
    let rate = f64::from(attempts) / elapsed.as_secs_f64();
    println!(
        "{threads} thread(s): {:>8.2?} an attempt on each, {:>8.2?} of processor time, {rate:>8.0} attempts/s",
        elapsed / ATTEMPTS,
        cpu / attempts,
    );
}

/// Gives the guest's memory.
async fn once(program: &dyn Program, payload: &Payload) -> u64 {
    let (_keep, stop) = watch::channel(Stop::No);
    let run = attempt(program, payload, &stop);
    let execution = program.run(run).await.expect("no host fault");
    execution.usage.peak_memory_bytes
}

/// Gives the processor time that the attempts report.
async fn repeat(program: &dyn Program, payload: &Payload) -> Duration {
    let (_keep, stop) = watch::channel(Stop::No);
    let first = attempt(program, payload, &stop);
    let mut cpu = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        let execution = program.run(again(&first)).await.expect("no host fault");
        let is_good = matches!(execution.outcome, Outcome::Succeeded(_));
        assert!(is_good, "{:?}", execution.outcome);
        cpu += execution.usage.cpu;
    }
    cpu
}

fn attempt(program: &dyn Program, payload: &Payload, stop: &StopSignal) -> Run {
    let task = program.task();
    Run {
        facts: facts(task.name.clone()),
        payload: payload.clone(),
        limits: task.policy.limits.clone(),
        stop: stop.clone(),
        context: Arc::new(Nothing),
    }
}

fn again(run: &Run) -> Run {
    Run {
        facts: run.facts.clone(),
        payload: run.payload.clone(),
        limits: run.limits.clone(),
        stop: run.stop.clone(),
        context: Arc::clone(&run.context),
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
