//! `bench sandbox`: a fresh instance, one call and its end, without any store in the way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use serde_json::json;
use stem_core::children::{Child, Refusal};
use stem_core::clock::{Clock, SystemClock};
use stem_core::executor::{
    AttemptContext, AttemptFacts, CheckpointError, Executor, Program, Resolution, Run, Stop,
};
use stem_core::ids::EnvelopeId;
use stem_core::manifest::SignaturePolicy;
use stem_core::module_store::DeployedTask;
use stem_core::names::{Namespace, QueueName, TaskName};
use stem_core::outcome::Outcome;
use stem_core::payload::Payload;
use tokio::sync::watch;

use super::Setup;
use super::figure::Figure;
use super::rig::{Rig, payload};
use super::{lateness, parts};
use crate::commands::worker::new_options;
use crate::config::Config;
use crate::errors::Failure;
use crate::output::Output;
use crate::progress;
use crate::sandbox::{Engine, Overrides};
use crate::stores::StoreUrl;

/// How much is measured
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Attempts of each run on each thread
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// Where guests in other languages are, whose parts are timed too
    #[arg(long, value_name = "DIR", default_value = GUESTS)]
    guests: PathBuf,
}

/// Where `cargo xtask guests --all` puts them, seen from the project's folder.
const GUESTS: &str = "target/guests";

/// Everything that a module may be granted without a secret of the operator's.
const GRANTS: &str = r#"
[grants]
http = ["https://api.example.com"]
enqueue = ["*"]
buckets = ["cache"]
config = { REGION = "eu-west-1" }
environment = { LANG = "C.UTF-8" }
"#;

impl Default for Args {
    fn default() -> Self {
        Self {
            attempts: 50_000,
            guests: GUESTS.into(),
        }
    }
}

/// Measures one thread, two at once, the parts of an attempt, and how soon what does not end is ended.
pub async fn run(args: &Args, setup: &Setup, output: &Output) -> Result<Vec<Figure>> {
    let clock = SystemClock::shared();
    let slots = new_options(Vec::new()).slots;
    let stores = Config::at(
        StoreUrl::Memory,
        Namespace::new("bench")?,
        QueueName::new("default")?,
    );
    let engine = Engine::for_worker(slots, &clock, &stores)?;
    let rig = Rig::new(Some(&StoreUrl::Memory), &stores).await?;
    let program = program(&engine, &rig, "noop").await?;
    let endless = [
        self::program(&engine, &rig, "spin").await?,
        self::program(&engine, &rig, "sleep").await?,
    ];
    rig.deploy(Overrides::parse(GRANTS)?).await?;
    let granted = self::program(&engine, &rig, "noop").await?;
    let settings = engine.settings();
    let config = json!({
        "attempts": args.attempts, "slots": slots, "payload_bytes": payload().body.len(),
        "allocation": settings.allocation.as_str(), "pagemap_scan": settings.scans_pages,
        "memory_kept_bytes": settings.memory_kept.0, "table_kept_bytes": settings.table_kept.0,
    });
    let mut one = Figure::new("attempt on one thread", "µs", &config);
    let mut unused = Figure::new("the same with grants that it does not use", "µs", &config);
    let mut two = Figure::new("attempts on two threads", "a second", &config);
    let bar = progress::bar(u64::from(setup.runs), "sandbox");
    for _ in 0..setup.runs {
        let took = measure(&program, args.attempts, 1, clock.as_ref())?;
        one.add(took.as_secs_f64() * 1e6 / f64::from(args.attempts));
        let took = measure(&granted, args.attempts, 1, clock.as_ref())?;
        unused.add(took.as_secs_f64() * 1e6 / f64::from(args.attempts));
        let took = measure(&program, args.attempts, 2, clock.as_ref())?;
        two.add(f64::from(args.attempts) * 2.0 / took.as_secs_f64());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let bench = parts::Bench {
        guests: &args.guests,
        runs: setup.runs,
        engine: &engine,
        config: &config,
    };
    let (figures, missing) = bench.measure().await?;
    missing.iter().for_each(|missing| output.note(missing));
    let late = lateness::measure(&endless, setup.runs, clock.as_ref(), &config)?;
    let figures = [one, unused, two].into_iter().chain(figures).chain(late);
    Ok(figures.collect())
}

/// A task of the built-in guest as it is deployed now, compiled.
async fn program(engine: &Engine, rig: &Rig, task: &str) -> Result<Arc<dyn Program>> {
    let executor: Arc<dyn Executor> = engine
        .executor(&rig.stores, SignaturePolicy::default())
        .await?;
    let task = TaskName::new(task)?;
    match executor.resolve(&task, EnvelopeId::new(), None).await? {
        Resolution::Ready(program) => Ok(program),
        Resolution::Refused(failure) => {
            Err(Failure::refused("load the guest", failure.message).into())
        }
    }
}

/// Runs so many attempts on each of so many threads; gives how long that took.
fn measure(
    program: &Arc<dyn Program>,
    attempts: u32,
    threads: usize,
    clock: &dyn Clock,
) -> Result<Duration> {
    let began = clock.monotonic();
    let work = || in_a_thread(|| run_all(program.as_ref(), attempts));
    let done: Vec<Result<u32>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = || anyhow::anyhow!("measure the sandbox: a thread panicked");
        started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
            .collect()
    });
    let took = clock.monotonic() - began;
    for succeeded in done {
        let succeeded = succeeded?;
        if succeeded != attempts {
            let problem =
                format!("{succeeded} of {attempts} attempts succeeded: a rate would be wrong");
            return Err(Failure::refused("measure the sandbox", problem).into());
        }
    }
    Ok(took)
}

async fn run_all(program: &dyn Program, attempts: u32) -> Result<u32> {
    let (id, mut succeeded) = (EnvelopeId::new(), 0);
    for _ in 0..attempts {
        let (_sender, stop) = watch::channel(Stop::No);
        let attempt = attempt(program.task(), id, payload(), stop);
        let execution = program.run(attempt).await?;
        succeeded += u32::from(matches!(execution.outcome, Outcome::Succeeded(_)));
    }
    Ok(succeeded)
}

/// Works on a thread that nothing else runs on.
pub fn in_a_thread<T: Send, W: Future<Output = Result<T>>>(
    work: impl FnOnce() -> W + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .context("start a runtime")?;
            runtime.block_on(work())
        });
        let panicked = |_| Err(anyhow::anyhow!("measure the sandbox: a thread panicked"));
        done.join().unwrap_or_else(panicked)
    })
}

/// The first attempt of this envelope of this task.
pub fn attempt(
    task: &DeployedTask,
    id: EnvelopeId,
    payload: Payload,
    stop: watch::Receiver<Stop>,
) -> Run {
    Run {
        facts: AttemptFacts {
            id,
            task: task.name.clone(),
            queue: QueueName::new("default").expect("a constant that keeps the rule"),
            number: 1,
            max_attempts: task.policy.max_attempts,
            delivery: 1,
            enqueued_at: stem_core::clock::Timestamp::default(),
            headers: BTreeMap::new(),
            attributes: Vec::new(),
        },
        payload,
        limits: task.policy.limits.clone(),
        stop,
        context: Arc::new(NoStore),
    }
}

/// What a guest can ask for where there is no store.
struct NoStore;

#[async_trait]
impl AttemptContext for NoStore {
    fn progress(&self, _: f64, _: String) {}

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(None)
    }

    async fn save_checkpoint(&self, _: Payload) -> Result<(), CheckpointError> {
        Ok(())
    }

    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        vec![Err(Refusal::NotGranted); children.len()]
    }
}
