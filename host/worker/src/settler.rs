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
        let settled = persist(broker.as_ref(), &batch).await;
        for (settling, settled) in batch.iter().zip(settled) {
            if settled == Settled::Lost {
                tracing::warn!(id = %settling.receipt.id, "the lease was lost: what this attempt did does not count");
            }
        }
        let receipts: Vec<Receipt> = batch.drain(..).map(|settling| settling.receipt).collect();
        leases.release(receipts);
    }
}

async fn persist(broker: &dyn Broker, batch: &[Settling]) -> Vec<Settled> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut hopeless = 0;
    while hopeless < MAX_HOPELESS_TRIES {
        match broker.settle(batch).await {
            Ok(settled) => return settled,
            Err(error) => {
                tracing::error!(%error, count = batch.len(), "settling failed: trying again");
                hopeless += u32::from(!error.is_transient());
                backoff.pause().await;
            }
        }
    }
    tracing::error!(
        count = batch.len(),
        "settling was given up: the leases will end, and the envelopes run again"
    );
    Vec::new()
}
