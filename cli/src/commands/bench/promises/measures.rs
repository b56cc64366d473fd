//! One measurement of each promise, in milliseconds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use stem_core::broker::Due;
use stem_core::client::Request;
use stem_core::clock::Timestamp;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::lookup::Lookup;
use stem_core::queues::{EnvelopeStatus, Place};

use crate::commands::bench::drain;
use crate::commands::bench::rig::{GUEST, Rig, request};
use crate::commands::bench::worker::{BenchWorker, Guest};
use crate::sandbox::Overrides;

/// How often something is looked for that nobody announces.
const LOOK: Duration = Duration::from_millis(2);
/// The delay of a delayed envelope.
const DELAY: Duration = Duration::from_millis(300);
/// An attempt that is to be ended is given this long to be at work.
const AT_WORK: Duration = Duration::from_millis(50);

/// From enqueueing to the attempt's start, and from its end to who waits for it.
pub async fn round_trip(rig: &Rig) -> Result<(f64, f64)> {
    let began = rig.clock().now();
    let ended = to_its_end(rig, request("noop")).await?;
    let now = rig.clock().now();
    let end = ended.end().context("look at an end")?;
    Ok((between(began, started(&ended)?), between(end.at, now)))
}

/// How late an envelope starts that was delayed.
pub async fn due(rig: &Rig) -> Result<f64> {
    let due = rig.clock().now() + DELAY;
    let delayed = Request {
        due: Due::After(DELAY),
        ..request("noop")
    };
    let ended = to_its_end(rig, delayed).await?;
    Ok(between(due, started(&ended)?))
}

/// From resuming a queue to the start of what waited in it.
pub async fn resumed(rig: &Rig) -> Result<f64> {
    let queues = &rig.stores.queues;
    queues.set_paused(rig.queue(), true).await?;
    let id = rig.client.enqueue(request("noop")).await?.id;
    tokio::time::sleep(AT_WORK).await;
    let began = rig.clock().now();
    queues.set_paused(rig.queue(), false).await?;
    let ended = rig.end_of(id).await?;
    Ok(between(began, started(&ended)?))
}

/// From cancelling a guest that spins to its end.
pub async fn cancelled(rig: &Rig) -> Result<f64> {
    let id = rig.client.enqueue(request("spin")).await?.id;
    until_leased(rig, id, 1).await?;
    tokio::time::sleep(AT_WORK).await;
    let began = rig.clock().monotonic();
    rig.cancel(id).await?;
    let took = rig.clock().monotonic() - began;
    Ok(took.as_secs_f64() * 1_000.0)
}

/// From making a new version active to the first attempt on it.
pub async fn new_version(rig: &Rig, number: u32) -> Result<f64> {
    // A section that means nothing makes it another module.
    let mut module = GUEST.to_vec();
    module.extend([0, 7, 2, b'v', b'n']);
    module.extend(number.to_le_bytes());
    let digest = Digest::of(&module);
    let checked = rig.check(module.into(), Overrides::default()).await?;
    let began = rig.clock().now();
    checked.activate(&rig.stores).await?;
    let ended = drain::bounded(first_on(rig, digest)).await?;
    Ok(between(began, started(&ended)?))
}

/// The first envelope that runs on this module.
async fn first_on(rig: &Rig, digest: Digest) -> Result<Lookup> {
    loop {
        let ended = to_its_end(rig, request("noop")).await?;
        let record = ended.record.as_ref().context("look at a record")?;
        let mut modules = record.attempts.iter().map(|attempt| attempt.module);
        if modules.any(|module| module == Some(digest)) {
            return Ok(ended);
        }
    }
}

/// From starting a worker to its first attempt: the module is compiled on the way.
pub async fn start(rig: &Rig) -> Result<f64> {
    let id = rig.client.enqueue(request("noop")).await?.id;
    let began = rig.clock().now();
    let worker = BenchWorker::start(rig, Guest::Sandbox).await?;
    let ended = rig.end_of(id).await?;
    worker.stop().await?;
    Ok(between(began, started(&ended)?))
}

/// From killing a worker to the next delivery of what it ran.
pub async fn rescued(rig: &Rig) -> Result<f64> {
    let lost = BenchWorker::start(rig, Guest::Sandbox).await?;
    let id = rig.client.enqueue(request("spin")).await?.id;
    until_leased(rig, id, 1).await?;
    let other = BenchWorker::start(rig, Guest::Sandbox).await?;
    let began = rig.clock().monotonic();
    lost.kill().await?;
    until_leased(rig, id, 2).await?;
    let took = rig.clock().monotonic() - began;
    rig.cancel(id).await?;
    other.stop().await?;
    Ok(took.as_secs_f64() * 1_000.0)
}

async fn to_its_end(rig: &Rig, request: Request) -> Result<Lookup> {
    let id = rig.client.enqueue(request).await?.id;
    rig.end_of(id).await
}

/// Returns when this delivery of an envelope is with a worker.
async fn until_leased(rig: &Rig, id: EnvelopeId, delivery: u32) -> Result<()> {
    let is_leased = |status: &EnvelopeStatus| {
        matches!(status.place, Place::Leased { .. }) && status.deliveries >= delivery
    };
    drain::bounded(async {
        while !rig
            .stores
            .queues
            .find(&[id])
            .await?
            .iter()
            .flatten()
            .any(is_leased)
        {
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    })
    .await
}

fn started(ended: &Lookup) -> Result<Timestamp> {
    let record = ended.record.as_ref();
    let last = record.and_then(|record| record.attempts.last());
    Ok(last.context("look at an attempt")?.started_at)
}

/// Milliseconds from one moment to a later one.
fn between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.since(earlier).as_secs_f64() * 1_000.0
}
