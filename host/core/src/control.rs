//! The control seam: commands that reach every live worker once, and the heartbeats that workers send (B12, W6).

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::EnvelopeId;
use crate::names::{QueueName, WorkerName};
use crate::queues::CancelMode;
use crate::store_error::StoreError;

/// How often a worker sends a heartbeat (W6).
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a worker may be unseen before it is shown as dead (W6).
pub const DEAD_AFTER: Duration = Duration::from_secs(20);
/// How long a dead worker is still listed.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);
/// How long a command waits for workers that are slow to read it.
pub const COMMAND_LIFETIME: Duration = Duration::from_secs(60);

/// Carries commands to workers, and heartbeats from them.
#[async_trait]
pub trait Control: Send + Sync {
    /// Sends a command to every worker that listens now (B12).
    async fn broadcast(&self, command: &Command) -> Result<(), StoreError>;

    /// Listens from now on.
    async fn listen(&self) -> Result<Box<dyn Commands>, StoreError>;

    /// Says that a worker lives, and how it is.
    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError>;

    /// Says that a worker has stopped in order.
    async fn leave(&self, worker: &WorkerName) -> Result<(), StoreError>;

    /// Every worker seen within the last hour that has not left, by name.
    async fn workers(&self) -> Result<Vec<WorkerStatus>, StoreError>;
}

/// The commands that reach one listener: each once, in order.
#[async_trait]
pub trait Commands: Send {
    /// The next commands; may be none after about a second.
    async fn next(&mut self) -> Result<Vec<Command>, StoreError>;
}

/// What a worker can be told. What must survive a restart is also in the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// End this envelope if you run it.
    Cancel {
        /// The envelope.
        id: EnvelopeId,
        /// How.
        mode: CancelMode,
    },
    /// Deployments have changed.
    DeploymentsChanged,
}

/// How a worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The worker: unique for each start.
    pub worker: WorkerName,
    /// The machine.
    pub host: String,
    /// Its process id.
    pub process: u32,
    /// The version of the worker.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The queues that it takes from.
    pub queues: Vec<QueueName>,
    /// How many attempts it can run at once.
    pub slots: u32,
    /// How many it runs now.
    pub running: u32,
    /// Resident memory of its process.
    pub memory_bytes: u64,
    /// Attempts that succeeded since its start.
    pub succeeded: u64,
    /// Attempts that failed since its start.
    pub failed: u64,
}

/// A worker as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerStatus {
    /// Its last heartbeat.
    #[serde(flatten)]
    pub heartbeat: Heartbeat,
    /// When that came, by the store's clock.
    pub seen_at: Timestamp,
    /// Whether it was unseen for longer than [`DEAD_AFTER`].
    #[serde(rename = "dead")]
    pub is_dead: bool,
}
