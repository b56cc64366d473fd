//! The leases that this worker holds: renewed from outside while guests run, whatever the guests do (B3).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stem_core::broker::{Broker, Receipt, Renewal};
use stem_core::executor::{Stop, StopReason, StopSignal};
use stem_core::ids::EnvelopeId;
use stem_core::queues::CancelMode;
use stem_core::store_error::StoreError;
use tokio::sync::watch;

/// Every delivery in hand, from its claim until it is settled.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<HashMap<Receipt, watch::Sender<Stop>>>,
}

impl Leases {
    /// Holds a new lease; the signal tells its attempt to stop.
    pub(crate) fn hold(&self, receipt: Receipt) -> StopSignal {
        let (sender, signal) = watch::channel(Stop::No);
        self.lock().insert(receipt, sender);
        signal
    }

    /// Lets go of leases that are settled, or lost.
    pub(crate) fn release(&self, receipts: impl IntoIterator<Item = Receipt>) {
        let mut held = self.lock();
        for receipt in receipts {
            held.remove(&receipt);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells every attempt to stop.
    pub(crate) fn stop_all(&self, stop: Stop) {
        self.lock().values().for_each(|sender| tell(sender, stop));
    }

    /// Cancels an envelope if it is in hand.
    pub(crate) fn cancel(&self, id: EnvelopeId, mode: CancelMode) {
        let held = self.lock();
        let wanted = held.iter().filter(|(receipt, _)| receipt.id == id);
        wanted.for_each(|(_, sender)| tell(sender, cancelled(mode)));
    }

    /// Renews every lease once, and stops the attempts whose lease was lost or whose envelope was cancelled.
    pub(crate) async fn renew(
        &self,
        broker: &dyn Broker,
        lease: Duration,
    ) -> Result<(), StoreError> {
        let receipts: Vec<Receipt> = self.lock().keys().copied().collect();
        if receipts.is_empty() {
            return Ok(());
        }
        let renewals = broker.renew(&receipts, lease).await?;
        let pairs = receipts.iter().zip(renewals);
        pairs.for_each(|(receipt, renewal)| self.heed(receipt, renewal));
        Ok(())
    }

    fn heed(&self, receipt: &Receipt, renewal: Renewal) {
        let stop = match renewal {
            Renewal::Held => return,
            Renewal::Cancelled(mode) => cancelled(mode),
            Renewal::Lost => Stop::Now(StopReason::LeaseLost),
        };
        if let Some(sender) = self.lock().get(receipt) {
            tell(sender, stop);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Receipt, watch::Sender<Stop>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cancelled(mode: CancelMode) -> Stop {
    match mode {
        CancelMode::Ask => Stop::Asked(StopReason::Cancelled),
        CancelMode::Now => Stop::Now(StopReason::Cancelled),
    }
}

/// A stop is never taken back, and only made more urgent.
fn tell(sender: &watch::Sender<Stop>, stop: Stop) {
    sender.send_if_modified(|current| {
        let is_more_urgent = urgency(stop) > urgency(*current);
        if is_more_urgent {
            *current = stop;
        }
        is_more_urgent
    });
}

fn urgency(stop: Stop) -> u8 {
    match stop {
        Stop::No => 0,
        Stop::Asked(_) => 1,
        Stop::Now(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            id: EnvelopeId::new(),
            delivery: 1,
            position: 0,
        }
    }

    /// W7
    #[test]
    fn a_stop_is_never_taken_back() {
        let leases = Leases::default();
        let receipt = receipt();
        let signal = leases.hold(receipt);
        leases.cancel(receipt.id, CancelMode::Now);
        leases.stop_all(Stop::Asked(StopReason::Shutdown));
        assert_eq!(*signal.borrow(), Stop::Now(StopReason::Cancelled));
    }

    #[test]
    fn a_released_lease_hears_nothing_more() {
        let leases = Leases::default();
        let receipt = receipt();
        let signal = leases.hold(receipt);
        leases.release([receipt]);
        leases.stop_all(Stop::Now(StopReason::Shutdown));
        assert_eq!((*signal.borrow(), leases.count()), (Stop::No, 0));
    }
}
