//! `bench latency`: from enqueueing to the result as the producer sees it, on an idle worker in another process.

use anyhow::{Context as _, Result};
use serde_json::json;
use stem_core::lookup;

use super::Setup;
use super::drain;
use super::figure::{Figure, percentile};
use super::rig::{Rig, request};
use super::worker::{BenchWorker, Guest};
use crate::invocation::Invocation;
use crate::progress;

/// How much is measured
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envelopes of each run, one after another
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    envelopes: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { envelopes: 500 }
    }
}

/// Envelopes before the first that counts.
const WARM_UP: u32 = 50;

/// Measures the way there and back.
pub async fn run(args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let measured = measure(&rig, args, setup).await;
    rig.close().await?;
    measured
}

async fn measure(rig: &Rig, args: &Args, setup: &Setup) -> Result<Vec<Figure>> {
    let mut config = rig.describe();
    config["envelopes"] = json!(args.envelopes);
    let mut median = Figure::new("enqueue to result, p50", "ms", &config);
    let mut tail = Figure::new("enqueue to result, p99", "ms", &config);
    let worker = BenchWorker::start(rig, Guest::Sandbox).await?;
    round_trips(rig, WARM_UP).await?;
    let bar = progress::bar(u64::from(setup.runs), "latency");
    for _ in 0..setup.runs {
        let sorted = round_trips(rig, args.envelopes).await?;
        median.add(percentile(&sorted, 50));
        tail.add(percentile(&sorted, 99));
        bar.inc(1);
    }
    bar.finish_and_clear();
    worker.stop().await?;
    Ok(vec![median, tail])
}

/// So many round trips, one after another, in milliseconds, sorted.
async fn round_trips(rig: &Rig, count: u32) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(count as usize);
    let mut ids = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let began = rig.clock().monotonic();
        let enqueued = rig
            .client
            .enqueue(request("noop"))
            .await
            .context("enqueue")?;
        drain::bounded(lookup::wait(&rig.stores, enqueued.id, |_| ())).await?;
        times.push((rig.clock().monotonic() - began).as_secs_f64() * 1_000.0);
        ids.push(enqueued.id);
    }
    drain::check_all_ended(&rig.stores, &ids).await?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}
