//! `bench queue`: enqueueing in batches, then running what was enqueued with one worker process.

use anyhow::Result;
use serde_json::json;

use super::Setup;
use super::drain;
use super::figure::Figure;
use super::rig::Rig;
use super::worker::{BenchWorker, Guest};
use crate::invocation::Invocation;
use crate::progress;

/// How much is enqueued, and what runs it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envelopes of each run
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    envelopes: u32,
    /// What runs them
    #[arg(long, value_enum, default_value_t)]
    executor: Guest,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            envelopes: 100_000,
            executor: Guest::Sandbox,
        }
    }
}

/// Measures both rates.
pub async fn run(args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let figures = figures(&rig, args, setup).await;
    rig.close().await?;
    figures
}

async fn figures(rig: &Rig, args: &Args, setup: &Setup) -> Result<Vec<Figure>> {
    let mut config = rig.describe();
    config["envelopes"] = json!(args.envelopes);
    config["executor"] = json!(args.executor.as_str());
    let mut enqueue = Figure::new("enqueue in batches of 1,000", "a second", &config);
    let mut throughput = Figure::new("run with one worker process", "a second", &config);
    let bar = progress::bar(u64::from(setup.runs), "queue");
    for _ in 0..setup.runs {
        let (enqueued, ran) = measure(rig, args).await?;
        enqueue.add(enqueued);
        throughput.add(ran);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(vec![enqueue, throughput])
}

/// One run: everything is enqueued before the worker may begin, and it is ready before the clock starts.
async fn measure(rig: &Rig, args: &Args) -> Result<(f64, f64)> {
    let queues = &rig.stores.queues;
    queues.set_paused(rig.queue(), true).await?;
    let (ids, enqueueing) = rig.enqueue(args.envelopes as usize).await?;
    let worker = BenchWorker::start(rig, args.executor).await?;
    let began = rig.clock().monotonic();
    queues.set_paused(rig.queue(), false).await?;
    drain::until_ended(&rig.stores, &ids).await?;
    let running = rig.clock().monotonic() - began;
    drain::check_all_ended(&rig.stores, &ids).await?;
    worker.stop().await?;
    let rate = |took: std::time::Duration| f64::from(args.envelopes) / took.as_secs_f64();
    Ok((rate(enqueueing), rate(running)))
}
