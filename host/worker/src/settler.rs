//! Settles what has ended, in batches: one round trip for everything that ended meanwhile.

use std::sync::Arc;
use std::time::Duration;

use stem_core::broker::{Broker, Receipt, Settled, Settling};
use tokio::sync::mpsc;

use crate::backoff::{Backoff, may_pass};
use crate::contact::Contact;
use crate::lease::Leases;

const LARGEST_BATCH: usize = 256;
/// A failure that time does not mend is tried a few times all the same, and does not hold up others for ever.
const MAX_HOPELESS_TRIES: u32 = 5;

/// Takes settlements until every attempt has given its own. A store that is away, or lets us in no more, is tried again
/// until it is back: leases are renewed meanwhile, and what was done is settled afterwards.
pub(crate) async fn settle(
    broker: Arc<dyn Broker>,
    leases: Arc<Leases>,
    contact: Arc<Contact>,
    mut ended: mpsc::Receiver<Settling>,
) {
    let settler = Settler { broker, contact };
    let mut batch = Vec::with_capacity(LARGEST_BATCH);
    while ended.recv_many(&mut batch, LARGEST_BATCH).await > 0 {
        if !settler.is_settled(&batch, MAX_HOPELESS_TRIES).await {
            settler.settle_one_by_one(&batch).await;
        }
        let receipts: Vec<Receipt> = batch.drain(..).map(|settling| settling.receipt).collect();
        leases.release(receipts);
    }
}

struct Settler {
    broker: Arc<dyn Broker>,
    contact: Arc<Contact>,
}

impl Settler {
    /// What cannot be settled at all holds up none of its neighbours.
    async fn settle_one_by_one(&self, batch: &[Settling]) {
        for settling in batch {
            if !self.is_settled(std::slice::from_ref(settling), 1).await {
                tracing::error!(
                    id = %settling.receipt.id,
                    "settling was given up: the lease will end, and the envelope runs again"
                );
            }
        }
    }

    /// Whether the broker took the batch, after so many failures that time does not mend.
    async fn is_settled(&self, batch: &[Settling], hopeless_tries: u32) -> bool {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut hopeless = 0;
        while hopeless < hopeless_tries {
            match self.contact.ask("settle", self.broker.settle(batch)).await {
                Ok(settled) => {
                    tell_lost(batch, &settled);
                    return true;
                }
                Err(error) => hopeless += u32::from(!may_pass(&error)),
            }
            if hopeless < hopeless_tries {
                backoff.pause().await;
            }
        }
        false
    }
}

fn tell_lost(batch: &[Settling], settled: &[Settled]) {
    for (settling, settled) in batch.iter().zip(settled) {
        if *settled == Settled::Lost {
            tracing::warn!(id = %settling.receipt.id, "the lease was lost: what this attempt did does not count");
        }
    }
}
