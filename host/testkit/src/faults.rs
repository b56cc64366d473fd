//! Stores that fail when a test says so: fault injection wraps a seam and never lives inside a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::ids::EnvelopeId;
use stem_core::names::QueueName;
use stem_core::payload::StoredPayload;
use stem_core::record::{Progress, Record, Report};
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::state::EndState;
use stem_core::store_error::{StoreError, StoreErrorKind};

fn failure(kind: StoreErrorKind, operation: &'static str) -> StoreError {
    StoreError::new(kind, operation, "").because("the test says so")
}

/// A result store that can be away.
pub struct Outage {
    results: Arc<dyn ResultStore>,
    is_away: AtomicBool,
}

impl Outage {
    /// One that is still there.
    pub fn of(results: Arc<dyn ResultStore>) -> Arc<Self> {
        Arc::new(Self {
            results,
            is_away: AtomicBool::new(false),
        })
    }

    /// From now on it is away, or back.
    pub fn set(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn reached(&self, operation: &'static str) -> Result<&dyn ResultStore, StoreError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(failure(StoreErrorKind::Unavailable, operation)),
            false => Ok(&*self.results),
        }
    }
}

#[async_trait]
impl ResultStore for Outage {
    async fn report(&self, reports: &[Report]) -> Result<Vec<Reported>, StoreError> {
        self.reached("report")?.report(reports).await
    }

    async fn open(&self, fences: &[Fence]) -> Result<Vec<Option<EndState>>, StoreError> {
        self.reached("open")?.open(fences).await
    }

    async fn records(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.reached("read records")?.records(ids).await
    }

    async fn save_progress(
        &self,
        fence: &Fence,
        progress: &Progress,
    ) -> Result<Reported, StoreError> {
        let results = self.reached("save progress")?;
        results.save_progress(fence, progress).await
    }

    async fn save_checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &StoredPayload,
    ) -> Result<Reported, StoreError> {
        let results = self.reached("save a checkpoint")?;
        results.save_checkpoint(fence, checkpoint).await
    }

    async fn load_checkpoint(&self, id: EnvelopeId) -> Result<Option<StoredPayload>, StoreError> {
        self.reached("load a checkpoint")?.load_checkpoint(id).await
    }

    async fn changes(&self) -> Result<Box<dyn Wakeups>, StoreError> {
        self.reached("wait for records")?.changes().await
    }

    async fn changes_of(&self, id: EnvelopeId) -> Result<Box<dyn Wakeups>, StoreError> {
        self.reached("wait for records")?.changes_of(id).await
    }
}

/// A broker whose next claims and settlements fail; to wait for work is the first part of a claim where that may pass by
/// itself.
pub struct FailsFor {
    broker: Arc<dyn Broker>,
    kind: StoreErrorKind,
    claims: AtomicU32,
    settlements: AtomicU32,
}

impl FailsFor {
    /// So many of each fail in this way.
    pub fn next(
        broker: Arc<dyn Broker>,
        kind: StoreErrorKind,
        claims: u32,
        settlements: u32,
    ) -> Self {
        Self {
            broker,
            kind,
            claims: claims.into(),
            settlements: settlements.into(),
        }
    }

    fn fail_one_of(&self, left: &AtomicU32, operation: &'static str) -> Result<(), StoreError> {
        let one_less = |left: u32| left.checked_sub(1);
        match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(failure(self.kind, operation)),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Broker for FailsFor {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        self.broker.publish(publications).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        self.fail_one_of(&self.claims, "claim")?;
        self.broker.claim(claim).await
    }

    async fn renew(&self, held: &[Receipt], lease: Duration) -> Result<Vec<Renewal>, StoreError> {
        self.broker.renew(held, lease).await
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        self.fail_one_of(&self.settlements, "settle")?;
        self.broker.settle(settlings).await
    }

    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        if self.kind != StoreErrorKind::NotPermitted {
            self.fail_one_of(&self.claims, "wait for work")?;
        }
        self.broker.work(queues).await
    }

    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }
}
