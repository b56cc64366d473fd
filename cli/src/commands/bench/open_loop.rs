//! `bench open-loop`: from enqueueing to the result while so many a second are enqueued, whether others have ended or not.
//!
//! Each time counts from when its envelope was to be enqueued: where the producer falls behind, that is a part of it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use stem_core::ids::EnvelopeId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Setup;
use super::drain;
use super::figure::{Figure, permille};
use super::rig::{Rig, request};
use super::worker::{BenchWorker, Guest};
use crate::arguments;
use crate::invocation::Invocation;
use crate::progress;

/// How many, and for how long
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envelopes a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long each run lasts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = arguments::duration)]
    lasting: Duration,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            rate: 1_000,
            lasting: Duration::from_secs(10),
        }
    }
}

/// How long the first envelopes go on that do not count.
const WARM_UP: Duration = Duration::from_secs(1);
/// What the figures are called, and the shares, in thousandths, that they stand for.
const SHARES: [(&str, usize); 3] = [
    ("open loop, enqueue to result, p50", 500),
    ("open loop, enqueue to result, p99", 990),
    ("open loop, enqueue to result, p99.9", 999),
];

/// An envelope, and when it was to be enqueued.
type Sent = (EnvelopeId, Duration);

/// Measures the way there and back under this load.
pub async fn run(args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let measured = measure(&rig, args, setup).await;
    rig.close().await?;
    measured
}

async fn measure(rig: &Rig, args: &Args, setup: &Setup) -> Result<Vec<Figure>> {
    let mut config = rig.describe();
    config["rate_a_second"] = json!(args.rate);
    config["seconds"] = json!(args.lasting.as_secs_f64());
    let mut figures = SHARES.map(|(name, _)| Figure::new(name, "ms", &config));
    let worker = BenchWorker::start(rig, Guest::Sandbox).await?;
    load(rig, args.rate, WARM_UP).await?;
    let bar = progress::bar(u64::from(setup.runs), "open loop");
    for _ in 0..setup.runs {
        let sorted = load(rig, args.rate, args.lasting).await?;
        for (figure, (_, share)) in figures.iter_mut().zip(SHARES) {
            figure.add(permille(&sorted, share));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    worker.stop().await?;
    Ok(figures.into())
}

/// One run's round trips, in milliseconds, sorted.
async fn load(rig: &Rig, rate: u32, lasting: Duration) -> Result<Vec<f64>> {
    let count = (f64::from(rate) * lasting.as_secs_f64()).ceil() as u32;
    let (sender, sent) = mpsc::unbounded_channel();
    let producing = produce(rig, (rate, count), sender);
    let (produced, times) = tokio::join!(producing, collect(rig, sent));
    produced?;
    let (ids, mut times) = times?;
    drain::check_all_ended(&rig.stores, &ids).await?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Enqueues at a rate: each when its time has come, without waiting for the one before.
async fn produce(
    rig: &Rig,
    (rate, count): (u32, u32),
    sender: mpsc::UnboundedSender<Sent>,
) -> Result<()> {
    let pace = Duration::from_secs(1) / rate;
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = rig.clock().monotonic();
    let mut enqueueing: JoinSet<Result<()>> = JoinSet::new();
    for number in 0..count {
        ticks.tick().await;
        let (client, sender) = (rig.client.clone(), sender.clone());
        enqueueing.spawn(async move {
            let enqueued = client.enqueue(request("noop")).await.context("enqueue")?;
            // Whoever collects has failed, and says so.
            let _ = sender.send((enqueued.id, began + pace * number));
            Ok(())
        });
        while let Some(enqueued) = enqueueing.try_join_next() {
            enqueued.context("enqueue")??;
        }
    }
    while let Some(enqueued) = enqueueing.join_next().await {
        enqueued.context("enqueue")??;
    }
    Ok(())
}

/// Waits for the end of everything that is sent, as a producer does that waits for many at once.
async fn collect(
    rig: &Rig,
    mut sent: mpsc::UnboundedReceiver<Sent>,
) -> Result<(Vec<EnvelopeId>, Vec<f64>)> {
    let mut changes = rig.stores.results.changes().await?;
    let mut waiting: HashMap<EnvelopeId, Duration> = HashMap::new();
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        tokio::select! {
            next = sent.recv(), if is_open => match next {
                Some((id, due)) => drop(waiting.insert(id, due)),
                None => is_open = false,
            },
            change = drain::bounded(changes.next()), if !waiting.is_empty() => change?,
        }
        while let Ok((id, due)) = sent.try_recv() {
            waiting.insert(id, due);
        }
        for id in ended(rig, &waiting).await? {
            let now = rig.clock().monotonic();
            let due = waiting.remove(&id).unwrap_or(now);
            times.push(now.saturating_sub(due).as_secs_f64() * 1_000.0);
            ids.push(id);
        }
    }
    Ok((ids, times))
}

/// Those that have ended.
async fn ended(rig: &Rig, waiting: &HashMap<EnvelopeId, Duration>) -> Result<Vec<EnvelopeId>> {
    let ids: Vec<EnvelopeId> = waiting.keys().copied().collect();
    let records = rig.stores.results.records(&ids).await?;
    let ended = records.into_iter().flatten();
    let ended = ended.filter(|record| record.end.is_some());
    Ok(ended.map(|record| record.id).collect())
}
