//! The seam that looks after queues and single envelopes: counts, pauses, look-ups, cancellations (B11, W7).

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::EnvelopeId;
use crate::names::{QueueName, TaskName, WorkerName};
use crate::state::State;
use crate::store_error::StoreError;

/// Looks after queues and single envelopes.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Every queue that holds something or is paused, by name (B11).
    async fn queues(&self) -> Result<Vec<QueueStatus>, StoreError>;

    /// Pauses or resumes a queue: durable, and seen by every worker within 2 s (B11).
    async fn set_paused(&self, queue: &QueueName, is_paused: bool) -> Result<(), StoreError>;

    /// What the broker holds of these envelopes, in the same order.
    async fn find(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<EnvelopeStatus>>, StoreError>;

    /// The same for who does not read the envelopes: a store may leave their bytes out.
    async fn find_heads(
        &self,
        ids: &[EnvelopeId],
    ) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        self.find(ids).await
    }

    /// Ids of envelopes that wait in a queue (queued, scheduled, retrying): purging cancels them in chunks.
    async fn waiting(&self, queue: &QueueName, limit: usize)
    -> Result<Vec<EnvelopeId>, StoreError>;

    /// How many envelopes wait for each of these tasks, whatever queue they are in; tasks that none waits for are left
    /// out. No envelope's body is looked at.
    async fn count_waiting(
        &self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, u64>, StoreError>;

    /// Cancels: what waits is removed, and its record says so where this is the result store too; what runs is
    /// marked, durably, for its worker (W7).
    async fn cancel(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Cancelling>, StoreError>;
}

/// How an envelope that runs is ended (W7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelMode {
    /// The task is asked to stop, and ended at its hard limit.
    Ask,
    /// The task is ended at once.
    Now,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// It waited, and is cancelled.
    Cancelled,
    /// It runs: its worker will end it.
    Asked,
    /// It is a dead letter: it has ended.
    Dead,
    /// The broker does not have it.
    Unknown,
}

/// What the broker holds of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeStatus {
    /// The envelope.
    pub id: EnvelopeId,
    /// Its task, as it was published.
    pub task: TaskName,
    /// Where it lies.
    pub queue: QueueName,
    /// 0 to 9.
    pub priority: u8,
    /// 1, and one more for each replay.
    pub generation: u32,
    /// Attempts charged in this generation.
    pub attempts: u32,
    /// Deliveries so far, over all generations.
    pub deliveries: u32,
    /// Where it stands.
    pub place: Place,
    /// The encoded envelope.
    pub bytes: Bytes,
}

/// Where an envelope stands in the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In its lane.
    Ready,
    /// Waits for its time; `is_retry` after a failed attempt.
    Held {
        /// When it is due.
        until: Timestamp,
        /// Whether a failed attempt put it there.
        is_retry: bool,
    },
    /// With a worker.
    Leased {
        /// Which one.
        worker: WorkerName,
        /// When the lease ends unless it is renewed.
        until: Timestamp,
    },
    /// In the dead letters.
    Dead,
}

impl EnvelopeStatus {
    /// As it stands at this time: what has fallen due, or was lost by its worker, is ready, whether a claim has put it
    /// back into its lane yet or not.
    pub fn at(self, now: Timestamp) -> Self {
        match self.place {
            Place::Held { until, .. } | Place::Leased { until, .. } if until <= now => Self {
                place: Place::Ready,
                ..self
            },
            Place::Held { .. } | Place::Leased { .. } | Place::Ready | Place::Dead => self,
        }
    }

    /// The state that this shows.
    pub fn state(&self) -> State {
        match self.place {
            Place::Ready => State::Queued,
            Place::Held { is_retry: true, .. } => State::Retrying,
            Place::Held {
                is_retry: false, ..
            } => State::Scheduled,
            Place::Leased { .. } => State::Running,
            Place::Dead => State::Failed,
        }
    }
}

/// A queue and what it holds (B11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// The queue.
    #[serde(rename = "queue")]
    pub name: QueueName,
    /// Whether it is paused.
    #[serde(rename = "paused")]
    pub is_paused: bool,
    /// Envelopes that wait for a worker.
    pub queued: u64,
    /// Envelopes that wait for their time, retries included.
    pub scheduled: u64,
    /// Envelopes with a worker.
    pub running: u64,
    /// Dead letters.
    pub dead: u64,
}
