//! Waits until everything has ended, and counts the records: no rate without an exact count.

use std::time::Duration;

use anyhow::Result;
use stem_core::ids::EnvelopeId;
use stem_core::state::EndState;
use stem_core::stores::Stores;

use crate::errors::{Exit, Failure};

/// How often the end is looked for: often enough for runs of seconds, and too rare to be in the way.
const LOOK: Duration = Duration::from_millis(5);
/// The newest envelopes end last, but not in their order: as many as a worker has in hand at once, and more.
const TAIL: usize = 4_096;
/// Records that are read in one step.
const CHUNK: usize = 500;
/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// No single step takes longer: three times the longest that is promised.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Waits for one step of a measurement; a worker that hangs must not hang the benchmark.
pub async fn bounded<T, E: Into<anyhow::Error>>(
    step: impl Future<Output = Result<T, E>>,
) -> Result<T> {
    let waited = tokio::time::timeout(LONGEST_STEP, step).await;
    waited
        .map_err(|_| too_long(LONGEST_STEP))?
        .map_err(Into::into)
}

fn too_long(patience: Duration) -> Failure {
    let problem = format!("it has not ended after {} s", patience.as_secs());
    Failure::new(Exit::TimedOut, "measure a run", problem)
}

/// Returns when every envelope has an ended record.
pub async fn until_ended(stores: &Stores, ids: &[EnvelopeId]) -> Result<()> {
    let waited = tokio::time::timeout(PATIENCE, async {
        let tail = &ids[ids.len().saturating_sub(TAIL)..];
        // The last one first: only when it has ended is it worth looking at the others.
        for chunk in tail.rchunks(CHUNK) {
            let last = &chunk[chunk.len() - 1..];
            while count_succeeded(stores, last).await? < last.len() {
                tokio::time::sleep(LOOK).await;
            }
            while count_succeeded(stores, chunk).await? < chunk.len() {
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    });
    waited
        .await
        .unwrap_or_else(|_| Err(too_long(PATIENCE).into()))
}

/// Refuses unless each of these envelopes has exactly one record that ended well, and none is left in the broker.
pub async fn check_all_ended(stores: &Stores, ids: &[EnvelopeId]) -> Result<()> {
    let mut succeeded = 0;
    for chunk in ids.chunks(CHUNK) {
        succeeded += count_succeeded(stores, chunk).await?;
    }
    let queues = stores.queues.queues().await?;
    let left: u64 = queues
        .iter()
        .map(|queue| queue.queued + queue.scheduled + queue.running + queue.dead)
        .sum();
    if succeeded == ids.len() && left == 0 {
        return Ok(());
    }
    let problem = format!(
        "{} envelopes were enqueued, {succeeded} have a record that ended well, {left} are left in the broker: \
         a rate would be wrong",
        ids.len()
    );
    Err(Failure::refused("measure a run", problem).into())
}

async fn count_succeeded(stores: &Stores, ids: &[EnvelopeId]) -> Result<usize> {
    let records = stores.results.records(ids).await?;
    let ends = records
        .iter()
        .flatten()
        .filter_map(|record| record.end.as_ref());
    Ok(ends.filter(|end| end.state == EndState::Succeeded).count())
}
