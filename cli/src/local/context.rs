//! What a guest that runs here can ask of the host: its progress is shown, its checkpoint is kept as it was told, what it
//! would enqueue is written down, and its buckets end with it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use indicatif::ProgressBar;
use stem_core::children::{Child, Refusal};
use stem_core::clock::Clock;
use stem_core::executor::{AttemptContext, CheckpointError};
use stem_core::ids::EnvelopeId;
use stem_core::key_value::Buckets;
use stem_core::names::Namespace;
use stem_core::payload::Payload;
use stem_core::record::Progress;
use stem_core::result_store::Fence;
use stem_core::units::ByteSize;

use super::checkpoint::Checkpoint;
use super::plans::{Plan, Plans};
use crate::progress;

/// The context of the one attempt that runs in this process.
pub(super) struct Context {
    clock: Arc<dyn Clock>,
    spinner: ProgressBar,
    last: Mutex<Option<Progress>>,
    checkpoint: Mutex<Checkpoint>,
    limit: ByteSize,
    plans: Plans,
    buckets: Buckets,
}

impl Context {
    /// Nothing published yet, and nothing in any bucket.
    pub(super) fn new(
        (checkpoint, limit): (Checkpoint, ByteSize),
        plans: Plans,
        fence: Fence,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let namespace = Namespace::new("local").expect("made of allowed characters");
        Self {
            buckets: Buckets {
                store: stem_memory::Store::new(namespace, Arc::clone(&clock)),
                fence,
            },
            clock,
            spinner: progress::spinner("running"),
            last: Mutex::default(),
            checkpoint: Mutex::new(checkpoint),
            limit,
            plans,
        }
    }

    /// Shows nothing more; gives what was published last, and what would have been enqueued.
    pub(super) fn close(&self) -> (Option<Progress>, Vec<Plan>) {
        self.spinner.finish_and_clear();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.take(), self.plans.take())
    }
}

#[async_trait]
impl AttemptContext for Context {
    fn progress(&self, fraction: f64, note: String) {
        let at = self.clock.now();
        let progress = Progress { fraction, note, at };
        self.spinner.set_message(progress::said(&progress));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn buckets(&self) -> Option<Buckets> {
        Some(self.buckets.clone())
    }

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        let kept = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(kept.load())
    }

    async fn save_checkpoint(&self, checkpoint: Payload) -> Result<(), CheckpointError> {
        CheckpointError::check(&checkpoint, self.limit)?;
        let mut kept = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.save(checkpoint)
            .map_err(|error| CheckpointError::Other(format!("the file cannot be written: {error}")))
    }
    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        self.plans.add(children).await
    }
}
