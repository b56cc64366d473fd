//! The broker's seam: publishing, leasing and settling. A broker moves bytes and never reads them.
//!
//! Every end is decided by a worker and told by `settle`: also poison, undecodable and expired envelopes are handed
//! out, so that record-then-settle is one path on every store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Timestamp;
use crate::ids::{Digest, EnvelopeId};
use crate::names::{QueueName, TaskName, WorkerName};
use crate::outcome::{Failure, Settlement};
use crate::queues::CancelMode;
use crate::record::Report;
use crate::store_error::StoreError;

/// How long derived ids are remembered after their envelope has gone (B15).
pub const DERIVED_ID_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The lease that a worker takes where nothing else is said (B3).
pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);
/// Workers lost in a row before an envelope is poison (B5).
pub const MAX_DELIVERIES: u32 = 5;
/// An envelope gains one level of priority for each such time that it has waited (B7).
pub const AGEING: Duration = Duration::from_secs(60);

/// Publishes, leases and settles envelopes.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Stores envelopes, all or none; durable when it returns (B1). One that lives, whose record is kept, or whose
    /// derived id is remembered changes nothing and says so (B15).
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError>;

    /// Leases at most `limit` envelopes: what is due and what was lost goes back into its lane first, then the heads of
    /// the lanes are taken (B2, B3, B7).
    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError>;

    /// Prolongs leases from now on; never makes a second copy (B3).
    async fn renew(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Renewal>, StoreError>;

    /// Ends deliveries: each one whole or, where its lease was lost, not at all (B4, B8). A broker that is also the
    /// result store adds the reports to their records in the same step, as [`ResultStore::report`] does (R2).
    ///
    /// [`ResultStore::report`]: crate::result_store::ResultStore::report
    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError>;

    /// Wakes whoever waits for work in these queues.
    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError>;

    /// What this store can do that others cannot, and the other way round.
    fn capabilities(&self) -> Capabilities;
}

/// Something to wait on. Nothing that happens between two waits is missed.
#[async_trait]
pub trait Wakeups: Send {
    /// Returns when something may have happened since the last return; at the latest after about a second.
    async fn next(&mut self) -> Result<(), StoreError>;
}

/// An envelope to be published: routing facts beside bytes that the broker never reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The envelope's id.
    pub id: EnvelopeId,
    /// Its task, for look-ups and filters.
    pub task: TaskName,
    /// Where it goes.
    pub queue: QueueName,
    /// 0 to 9; 9 goes first.
    pub priority: u8,
    /// When it may run.
    pub due: Due,
    /// The module that it is pinned to, which is kept for it.
    pub module: Option<Digest>,
    /// The encoded envelope.
    pub bytes: Bytes,
}

/// When a published envelope may run. A delay is turned into a time by the store (B16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// As soon as a worker is free.
    Now,
    /// After this time.
    After(Duration),
    /// At this time or later.
    At(Timestamp),
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is stored.
    Stored,
    /// The id was known: nothing has changed.
    AlreadyKnown,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who asks.
    pub worker: WorkerName,
    /// Queues to take from, the first one first.
    pub queues: Vec<QueueName>,
    /// No more than this (B2).
    pub limit: usize,
    /// How long each lease lasts if nobody renews it.
    pub lease: Duration,
}

/// The proof of a lease: the envelope, and the delivery number as its fence (B4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The envelope.
    pub id: EnvelopeId,
    /// Counts every delivery of the envelope: never the same twice.
    pub delivery: u32,
    /// Where the store finds the envelope quickest; only the store that gave it knows what it means.
    pub position: u64,
}

/// An envelope leased to one worker.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The proof of the lease.
    pub receipt: Receipt,
    /// The queue that it was taken from.
    pub queue: QueueName,
    /// Its task, as it was published.
    pub task: TaskName,
    /// The encoded envelope.
    pub bytes: Bytes,
    /// 1, and one more for each replay.
    pub generation: u32,
    /// Attempts charged so far in this generation.
    pub attempts: u32,
    /// Workers lost in a row while they had it (B5).
    pub losses: u32,
    /// Snoozes so far.
    pub snoozes: u32,
    /// Host faults in a row.
    pub faults: u32,
    /// Whether somebody has cancelled it.
    pub is_cancelled: bool,
    /// When it was leased, by the store's clock.
    pub claimed_at: Timestamp,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lasts on.
    Held,
    /// The lease lasts on, and somebody has cancelled the envelope.
    Cancelled(CancelMode),
    /// The lease was lost.
    Lost,
}

/// A delivery and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settling {
    /// The proof of the lease.
    pub receipt: Receipt,
    /// What becomes of the envelope.
    pub settlement: Settlement,
    /// Why, where it is dead-lettered.
    pub error: Option<Failure>,
    /// What is added to the record in the same step, where the broker is the result store too.
    pub report: Option<Report>,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// The lease was lost: nothing has changed (B4).
    Lost,
}

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether other processes can open the same store.
    pub is_shared: bool,
    /// Whether it outlives our processes.
    pub is_durable: bool,
    /// Whether it writes records in the step that settles (R2).
    pub keeps_records: bool,
}
