//! `bench waiting`: what a claim costs while few envelopes wait and while many do, and what the store takes for each.

use anyhow::{Context as _, Result};
use serde_json::json;
use stem_core::broker::{Claim, DEFAULT_LEASE, Delivery, Settling};
use stem_core::names::WorkerName;
use stem_core::outcome::Settlement;
use stem_core::upkeep::Fact;

use super::Setup;
use super::figure::{Figure, percentile};
use super::rig::{PAYLOAD_BYTES, Rig};
use crate::invocation::Invocation;
use crate::progress;

/// How many wait
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Few envelopes
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(100..))]
    few: u32,
    /// Many envelopes
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100..))]
    many: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            few: 1_000,
            many: 1_000_000,
        }
    }
}

/// Envelopes that one claim asks for: what a worker of two cores has slots for.
const CLAIMED: usize = 64;
/// Claims of each run.
const CLAIMS: usize = 200;
/// Envelopes that are removed in one step at the end.
const CHUNK: usize = 1_000;
/// What stores call the size of what they hold.
const SIZES: [&str; 2] = ["memory in use", "size of the database"];

/// Measures claims, and what waits.
pub async fn run(args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let measured = measure(&rig, args, setup).await;
    let emptied = empty(&rig).await;
    rig.close().await?;
    emptied.and(measured)
}

async fn measure(rig: &Rig, args: &Args, setup: &Setup) -> Result<Vec<Figure>> {
    let empty = size(rig).await?;
    rig.enqueue(args.few as usize).await?;
    let few = claims(rig, args.few, setup).await?;
    let more = args.many.saturating_sub(args.few);
    rig.enqueue(more as usize).await?;
    let full = size(rig).await?;
    let many = claims(rig, args.few + more, setup).await?;
    let taken = empty.zip(full).map(|(empty, full)| {
        let mut config = rig.describe();
        config["waiting"] = json!(args.few + more);
        let name = "taken by a waiting envelope, its payload left out";
        let mut figure = Figure::new(name, "bytes", &config);
        let each = full.saturating_sub(empty) as f64 / f64::from(args.few + more);
        figure.add(each - PAYLOAD_BYTES as f64);
        figure
    });
    Ok([few, many].into_iter().chain(taken).collect())
}

/// How long claims take while so many wait: what they take is settled and enqueued again, which is not counted.
async fn claims(rig: &Rig, waiting: u32, setup: &Setup) -> Result<Figure> {
    let mut config = rig.describe();
    config["waiting"] = json!(waiting);
    let mut figure = Figure::new("claim of 64, p50", "ms", &config);
    let bar = progress::bar(u64::from(setup.runs), "claims");
    for _ in 0..setup.runs {
        let mut times = Vec::with_capacity(CLAIMS);
        for _ in 0..CLAIMS {
            let began = rig.clock().monotonic();
            let taken = claim(rig, CLAIMED).await?;
            times.push((rig.clock().monotonic() - began).as_secs_f64() * 1_000.0);
            settle(rig, &taken).await?;
            rig.enqueue(taken.len()).await?;
        }
        times.sort_by(f64::total_cmp);
        figure.add(percentile(&times, 50));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(figure)
}

async fn claim(rig: &Rig, limit: usize) -> Result<Vec<Delivery>> {
    let claim = Claim {
        worker: WorkerName::new("bench").expect("a constant that keeps the rule"),
        queues: vec![rig.queue().clone()],
        limit,
        lease: DEFAULT_LEASE,
    };
    let claimed = rig.stores.broker.claim(&claim).await;
    claimed.context("claim")
}

/// Ends them without a record.
async fn settle(rig: &Rig, taken: &[Delivery]) -> Result<()> {
    let settlings = taken.iter().map(|delivery| Settling {
        receipt: delivery.receipt,
        settlement: Settlement::Ack,
        error: None,
        report: None,
    });
    let settlings: Vec<Settling> = settlings.collect();
    rig.stores
        .broker
        .settle(&settlings)
        .await
        .context("settle")?;
    Ok(())
}

/// Leaves nothing behind in a store that is not a temporary one.
async fn empty(rig: &Rig) -> Result<()> {
    loop {
        let taken = claim(rig, CHUNK).await?;
        if taken.is_empty() {
            return Ok(());
        }
        settle(rig, &taken).await?;
    }
}

/// How much the store holds, in bytes, if it says so.
async fn size(rig: &Rig) -> Result<Option<u64>> {
    let mut sizes = Vec::new();
    for store in &rig.stores.upkeep {
        sizes.extend(store.describe().await?);
    }
    Ok(sizes.into_iter().find_map(|(name, fact)| match fact {
        Fact::Size(size) if SIZES.contains(&name) => Some(size.0),
        Fact::Size(_) | Fact::Text(_) | Fact::Count(_) | Fact::Flag(_) => None,
    }))
}
