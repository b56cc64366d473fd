//! The seam that looks after dead letters: list, show, replay, remove (B10).

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Timestamp;
use crate::ids::EnvelopeId;
use crate::names::{QueueName, TaskName};
use crate::outcome::{DeadReason, Failure};
use crate::store_error::StoreError;

/// Looks after dead letters (B10).
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// One page of the dead letters that the filter lets through.
    async fn list(&self, filter: &DeadFilter, page: &Page) -> Result<Vec<DeadLetter>, StoreError>;

    /// The same for who does not read the envelopes: a store may leave their bytes out.
    async fn list_heads(
        &self,
        filter: &DeadFilter,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.list(filter, page).await
    }

    /// How many dead letters the filter lets through.
    async fn count(&self, filter: &DeadFilter) -> Result<u64, StoreError>;

    /// Dead letters by id, in the same order.
    async fn show(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<DeadLetter>>, StoreError>;

    /// Puts dead letters back at the end of their queue as a new generation, in the order given; attempts start
    /// again. Gives for each whether it was there.
    async fn replay(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError>;

    /// Removes dead letters for ever. Gives for each whether it was there.
    async fn remove(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError>;
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Those of this queue.
    pub queue: Option<QueueName>,
    /// Those of this task.
    pub task: Option<TaskName>,
    /// Those with this reason.
    pub reason: Option<DeadReason>,
    /// Those that died at this time or later.
    pub since: Option<Timestamp>,
}

/// Which part of a list is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only what comes after this entry, in the order of the list.
    pub after: Option<EnvelopeId>,
    /// No more than this.
    pub limit: usize,
    /// Oldest first; newest first where this is false.
    pub is_oldest_first: bool,
}

/// An envelope set aside, with the reason and the error.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The envelope.
    pub id: EnvelopeId,
    /// Its task, as it was published.
    pub task: TaskName,
    /// The queue that it was claimed from.
    pub queue: QueueName,
    /// Why it was set aside.
    pub reason: DeadReason,
    /// What went wrong.
    pub error: Option<Failure>,
    /// When.
    pub dead_at: Timestamp,
    /// Its generation.
    pub generation: u32,
    /// Attempts charged in that generation.
    pub attempts: u32,
    /// The encoded envelope, as it was published.
    pub bytes: Bytes,
}
