//! What a running guest can ask of the host: progress and checkpoints, fenced by its delivery (R1).

use std::sync::Arc;

use async_trait::async_trait;
use stem_core::clock::Clock;
use stem_core::executor::{AttemptContext, CheckpointError};
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::Progress;
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::store_error::StoreError;
use stem_core::units::ByteSize;

use crate::attempt::Desk;
use crate::progress::ProgressBoard;

pub(crate) struct Context {
    fence: Fence,
    clock: Arc<dyn Clock>,
    results: Arc<dyn ResultStore>,
    progress: Arc<ProgressBoard>,
    limit: ByteSize,
}

impl Context {
    pub(crate) fn new(fence: Fence, desk: &Desk) -> Self {
        Self {
            fence,
            clock: Arc::clone(&desk.clock),
            results: Arc::clone(&desk.results),
            progress: Arc::clone(&desk.progress),
            limit: desk.payload_limit,
        }
    }
}

#[async_trait]
impl AttemptContext for Context {
    fn progress(&self, fraction: f64, note: String) {
        let fraction = if fraction.is_finite() {
            fraction.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self.progress.post(
            self.fence,
            Progress {
                fraction,
                note,
                at: self.clock.now(),
            },
        );
    }

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        let stored = self
            .results
            .load_checkpoint(self.fence.id)
            .await
            .map_err(unavailable)?;
        let unpack = |stored: StoredPayload| {
            stored
                .unpack(self.limit)
                .map_err(|_| CheckpointError::TooLarge(self.limit.0))
        };
        stored.map(unpack).transpose()
    }

    async fn save_checkpoint(&self, checkpoint: Payload) -> Result<(), CheckpointError> {
        if checkpoint.body.len() > self.limit.as_usize() {
            return Err(CheckpointError::TooLarge(self.limit.0));
        }
        let stored = StoredPayload::pack(checkpoint);
        let saved = self.results.save_checkpoint(&self.fence, &stored).await;
        match saved.map_err(unavailable)? {
            Reported::Written => Ok(()),
            Reported::Stale => Err(CheckpointError::LeaseLost),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn unavailable(error: StoreError) -> CheckpointError {
    CheckpointError::Unavailable(error.to_string())
}
