//! Settles what has ended, in batches: one round trip for everything that ended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use stem_core::broker::{Broker, Receipt, Settled, Settling};
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::lease::Leases;

const LARGEST_BATCH: usize = 256;
/// A failure that time does not mend is tried a few times all the same, and does not hold up others for ever.
const MAX_HOPELESS_TRIES: u32 = 5;

/// Takes settlements until every attempt has given its own. A store that is away is tried again until it is back:
/// leases are renewed meanwhile, and what was done is settled afterwards.
pub(crate) async fn settle(
    broker: Arc<dyn Broker>,
    leases: Arc<Leases>,
    mut ended: mpsc::Receiver<Settling>,
) {
    let mut batch = Vec::with_capacity(LARGEST_BATCH);
    while ended.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        if !is_settled(broker.as_ref(), &batch, MAX_HOPELESS_TRIES).await {
            settle_one_by_one(broker.as_ref(), &batch).await;
        }
        let receipts: Vec<Receipt> = batch.drain(..).map(|settling| settling.receipt).collect();
        leases.release(receipts);
    }
}

/// What cannot be settled at all holds up none of its neighbours.
async fn settle_one_by_one(broker: &dyn Broker, batch: &[Settling]) {
    for settling in batch {
        if !is_settled(broker, std::slice::from_ref(settling), 1).await {
            tracing::error!(
                id = %settling.receipt.id,
                "settling was given up: the lease will end, and the envelope runs again"
            );
        }
    }
}

/// Whether the broker took the batch, after so many failures that time does not mend.
async fn is_settled(broker: &dyn Broker, batch: &[Settling], hopeless_tries: u32) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut hopeless = 0;
    while hopeless < hopeless_tries {
        match broker.settle(batch).await {
            Ok(settled) => {
                tell_lost(batch, &settled);
                return true;
            }
            Err(error) => {
                tracing::error!(%error, count = batch.len(), "settling failed");
                hopeless += u32::from(!error.is_transient());
            }
        }
        if hopeless < hopeless_tries {
            backoff.pause().await;
        }
    }
    false
}

fn tell_lost(batch: &[Settling], settled: &[Settled]) {
    for (settling, settled) in batch.iter().zip(settled) {
        if *settled == Settled::Lost {
            tracing::warn!(id = %settling.receipt.id, "the lease was lost: what this attempt did does not count");
        }
    }
}
