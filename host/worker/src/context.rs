//! What a running guest can ask of the host: progress, checkpoints, buckets and children, fenced by its delivery (R1).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{Receipt, Renewal};
use stem_core::children::{Child, Parent, Refusal};
use stem_core::client::{Client, Enqueued};
use stem_core::clock::Clock;
use stem_core::executor::{AttemptContext, CheckpointError};
use stem_core::ids::EnvelopeId;
use stem_core::key_value::{Buckets, KeyValue};
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::Progress;
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::store_error::StoreError;
use stem_core::units::ByteSize;

use crate::attempt::Attempt;
use crate::congestion::Waits;
use crate::progress::ProgressBoard;

pub(crate) struct Context {
    fence: Fence,
    clock: Arc<dyn Clock>,
    results: Arc<dyn ResultStore>,
    key_value: Arc<dyn KeyValue>,
    progress: Arc<ProgressBoard>,
    waits: Arc<Waits>,
    limit: ByteSize,
    receipt: Receipt,
    lease: Duration,
    parent: Parent,
    client: Arc<Client>,
}

impl Context {
    pub(crate) fn new(attempt: &Attempt<'_>) -> Self {
        let desk = attempt.desk;
        Self {
            fence: attempt.fence(),
            clock: Arc::clone(&desk.clock),
            results: Arc::clone(&desk.results),
            key_value: Arc::clone(&desk.key_value),
            progress: Arc::clone(&desk.progress),
            waits: Arc::clone(&desk.waits),
            limit: desk.payload_limit,
            receipt: attempt.delivery.receipt,
            lease: desk.lease,
            parent: Parent::of(attempt.envelope()),
            client: Arc::clone(&desk.client),
        }
    }

    /// Whoever renews its lease now is alone with its envelope for as long as that lasts: publishing is not fenced in
    /// the store, and this leaves it a whole lease to be done in (R1).
    async fn hold_lease(&self) -> Result<(), Refusal> {
        let broker = &self.client.stores().broker;
        let renewed = broker.renew(&[self.receipt], self.lease).await;
        let renewed = renewed.map_err(|error| Refusal::of_store(&error))?;
        match renewed.contains(&Renewal::Lost) {
            true => Err(Refusal::Other(
                "the attempt no longer holds its lease".to_owned(),
            )),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl AttemptContext for Context {
    fn progress(&self, fraction: f64, note: String) {
        self.progress.post(
            self.fence,
            Progress {
                fraction,
                note,
                at: self.clock.now(),
            },
        );
    }

    fn waited(&self, wait: Duration) {
        self.waits.note(wait);
    }

    fn buckets(&self) -> Option<Buckets> {
        Some(Buckets {
            store: Arc::clone(&self.key_value),
            fence: self.fence,
        })
    }

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        let stored = self
            .results
            .load_checkpoint(self.fence.id)
            .await
            .map_err(refused)?;
        let unpack = |stored: StoredPayload| {
            stored
                .unpack(self.limit)
                .map_err(|_| CheckpointError::TooLarge(self.limit.0))
        };
        stored.map(unpack).transpose()
    }

    async fn save_checkpoint(&self, checkpoint: Payload) -> Result<(), CheckpointError> {
        CheckpointError::check(&checkpoint, self.limit)?;
        let stored = StoredPayload::pack(checkpoint);
        let saved = self.results.save_checkpoint(&self.fence, &stored).await;
        match saved.map_err(refused)? {
            Reported::Written => Ok(()),
            Reported::Stale => Err(CheckpointError::LeaseLost),
        }
    }

    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        if let Err(refusal) = self.hold_lease().await {
            return vec![Err(refusal); children.len()];
        }
        let answers = self.client.enqueue_children(&self.parent, children).await;
        let id = |answer: Result<Enqueued, Refusal>| answer.map(|enqueued| enqueued.id);
        answers.into_iter().map(id).collect()
    }
}

/// What the guest is told: where the store lies, and what it says, is the operator's business.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn refused(error: StoreError) -> CheckpointError {
    tracing::warn!(%error, "a checkpoint was not kept, or not found");
    match error.is_transient() {
        true => CheckpointError::Unavailable("try again later".to_owned()),
        false => CheckpointError::Other("the store refused it".to_owned()),
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
