//! `bench memory`: what a worker takes while many attempts sleep at once, and after many have ended.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Setup;
use super::drain;
use super::figure::Figure;
use super::rig::{Rig, request};
use super::worker::{BenchWorker, Guest};
use crate::invocation::Invocation;
use crate::progress;
use crate::stores::StoreUrl;

/// How much is measured
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Attempts that sleep at once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    asleep: u32,
    /// Attempts that one worker runs to their end, in all
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    attempts: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            asleep: 1_000,
            attempts: 1_000_000,
        }
    }
}

/// A worker has taken what it needs after so many attempts.
const FIRST: u32 = 10_000;
/// Attempts of which the ids are held at one time.
const SHARE: u32 = 100_000;
/// How often it is looked at who is at work.
const LOOK: Duration = Duration::from_millis(10);
/// An attempt that has begun sleeps after this time.
const TO_FALL_ASLEEP: Duration = Duration::from_secs(1);

/// Measures both, where workers are processes.
pub async fn run(args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    if setup.store()? == Some(StoreUrl::Memory) {
        let why = "memory was not measured: a worker on `memory:` is no process of its own";
        invocation.output.note(why);
        return Ok(Vec::new());
    }
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let measured = measure(&rig, args, setup).await;
    rig.close().await?;
    measured
}

async fn measure(rig: &Rig, args: &Args, setup: &Setup) -> Result<Vec<Figure>> {
    let mut figures = vec![asleep(rig, args, setup).await?];
    figures.extend(ended(rig, args).await?);
    Ok(figures)
}

/// A worker for each run, with a slot for each attempt.
async fn asleep(rig: &Rig, args: &Args, setup: &Setup) -> Result<Figure> {
    let mut config = rig.describe();
    config["attempts"] = json!(args.asleep);
    let mut figure = Figure::new("resident while attempts sleep", "MiB", &config);
    let bar = progress::bar(u64::from(setup.runs), "attempts asleep");
    for _ in 0..setup.runs {
        let slots = args.asleep as usize;
        let requests = (0..slots).map(|_| request("sleep")).collect();
        let enqueued = rig.client.enqueue_all(requests).await?;
        let worker = BenchWorker::with_slots(rig, slots).await?;
        drain::bounded(until_running(rig, u64::from(args.asleep))).await?;
        tokio::time::sleep(TO_FALL_ASLEEP).await;
        figure.add(worker.resident()?);
        for one in enqueued {
            rig.cancel(one.id).await?;
        }
        worker.stop().await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(figure)
}

async fn until_running(rig: &Rig, count: u64) -> Result<()> {
    loop {
        let queues = rig.stores.queues.queues().await?;
        if queues.iter().map(|queue| queue.running).sum::<u64>() == count {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One worker, looked at early and at its end.
async fn ended(rig: &Rig, args: &Args) -> Result<[Figure; 2]> {
    let worker = BenchWorker::start(rig, Guest::Sandbox).await?;
    let bar = progress::bar(u64::from(args.attempts), "attempts ended");
    let mut left = args.attempts;
    let mut resident = Vec::new();
    while left > 0 {
        let share = left.min(if resident.is_empty() { FIRST } else { SHARE });
        drain(rig, share).await?;
        resident.push(worker.resident()?);
        left -= share;
        bar.inc(u64::from(share));
    }
    bar.finish_and_clear();
    worker.stop().await?;
    let figure = |attempts: u32, resident: Option<&f64>| {
        let mut config = rig.describe();
        config["attempts"] = json!(attempts);
        let mut figure = Figure::new("resident after attempts", "MiB", &config);
        figure.add(resident.copied().unwrap_or_default());
        figure
    };
    Ok([
        figure(FIRST, resident.first()),
        figure(args.attempts, resident.last()),
    ])
}

/// Has so many attempts run to their end.
async fn drain(rig: &Rig, count: u32) -> Result<()> {
    let (ids, _) = rig.enqueue(count as usize).await?;
    drain::until_ended(&rig.stores, &ids).await?;
    drain::check_all_ended(&rig.stores, &ids).await
}
