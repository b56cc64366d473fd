//! How far running attempts have come: the newest of each, written a few times a second (R3).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stem_core::ids::EnvelopeId;
use stem_core::record::Progress;
use stem_core::result_store::{Fence, ResultStore};

/// Progress is seen within a second: a quarter of that is ours.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// Guests may report progress in a tight loop: only the newest of each attempt waits here to be written.
#[derive(Default)]
pub(crate) struct ProgressBoard {
    pending: Mutex<HashMap<EnvelopeId, (Fence, Progress)>>,
}

impl ProgressBoard {
    pub(crate) fn post(&self, fence: Fence, progress: Progress) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.insert(fence.id, (fence, progress));
    }

    /// Writes what waits.
    pub(crate) async fn flush(&self, results: &dyn ResultStore) {
        let pending =
            std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        for (fence, progress) in pending.into_values() {
            write(results, &fence, &progress).await;
        }
    }

    /// Forgets what waits of an attempt that has ended: an ended record shows no progress (R5).
    pub(crate) fn forget(&self, id: EnvelopeId) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(&id);
    }
}

async fn write(results: &dyn ResultStore, fence: &Fence, progress: &Progress) {
    // Progress informs: where it cannot be written, the attempt goes on without it.
    if let Err(error) = results.save_progress(fence, progress).await {
        tracing::debug!(id = %fence.id, %error, "progress was not written");
    }
}
