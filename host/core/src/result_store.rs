//! The result store's seam: records, checkpoints and progress, all fenced by delivery (R1).

use async_trait::async_trait;

use crate::broker::Wakeups;
use crate::ids::EnvelopeId;
use crate::payload::StoredPayload;
use crate::record::{Progress, Record, Report};
use crate::state::EndState;
use crate::store_error::StoreError;

/// Keeps records, checkpoints and progress.
#[async_trait]
pub trait ResultStore: Send + Sync {
    /// Adds reports to their records, each whole or not at all: a report of a generation that has ended, or of a
    /// delivery before the newest known one, is stale and changes nothing (R1). An attempt that is added to a record is
    /// added to the sums of [`UsageStore`](crate::usage_store::UsageStore) in the same step.
    async fn report(&self, reports: &[Report]) -> Result<Vec<Reported>, StoreError>;

    /// Makes deliveries known, so that earlier ones of the same envelopes are stale from now on, and gives the end
    /// of those whose generation has ended (W8). Only needed where the broker is another store.
    async fn open(&self, fences: &[Fence]) -> Result<Vec<Option<EndState>>, StoreError>;

    /// The records of these envelopes, in the same order.
    async fn records(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Publishes how far an attempt has come.
    async fn save_progress(
        &self,
        fence: &Fence,
        progress: &Progress,
    ) -> Result<Reported, StoreError>;

    /// Keeps a checkpoint for the envelope's next attempts: durable when it returns.
    async fn save_checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &StoredPayload,
    ) -> Result<Reported, StoreError>;

    /// What an earlier attempt saved.
    async fn load_checkpoint(&self, id: EnvelopeId) -> Result<Option<StoredPayload>, StoreError>;

    /// Wakes whoever waits for records to change (R3).
    async fn changes(&self) -> Result<Box<dyn Wakeups>, StoreError>;

    /// The same for who waits for this envelope alone: a store that can tell wakes nobody for another one.
    async fn changes_of(&self, _id: EnvelopeId) -> Result<Box<dyn Wakeups>, StoreError> {
        self.changes().await
    }
}

/// Names one delivery: what it writes is refused once a later one is known, or its generation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The envelope.
    pub id: EnvelopeId,
    /// Its generation.
    pub generation: u32,
    /// Its delivery.
    pub delivery: u32,
}

/// What became of something written for a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is kept.
    Written,
    /// The delivery is no longer the newest, or its generation has ended: nothing has changed.
    Stale,
}
