//! The executor's seam: from a task's name to something that runs one attempt in isolation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::children::{Child, Refusal};
use crate::clock::Timestamp;
use crate::envelope::Envelope;
use crate::ids::{Digest, EnvelopeId};
use crate::key_value::Buckets;
use crate::module_store::DeployedTask;
use crate::names::{HeaderName, QueueName, TaskName};
use crate::outcome::{Disruption, Failure, Outcome};
use crate::payload::Payload;
use crate::policy::{Limits, TaskPolicy};
use crate::record::{AttemptError, LogLine, OutcomeWord};
use crate::units::ByteSize;
use crate::usage::Usage;

/// Knows how to run tasks.
#[async_trait]
pub trait Executor: Send + Sync {
    /// What runs this task for this envelope: the active deployment's module, its canary where that takes the envelope,
    /// or the pinned one. A task that no deployment has is a value, said only after the store was asked and answered
    /// (S4).
    async fn resolve(
        &self,
        task: &TaskName,
        id: EnvelopeId,
        pinned: Option<Digest>,
    ) -> Result<Resolution, ExecutorError>;

    /// Looks for changed deployments now; otherwise that is done by itself within 2 s (M3). It returns when what is new
    /// is loaded, or cannot be; whoever does not wait for that may drop it, and the loads go on.
    async fn refresh(&self) -> Result<(), ExecutorError>;
}

/// What became of looking a task up.
#[derive(Clone)]
pub enum Resolution {
    /// It can be run.
    Ready(Arc<dyn Program>),
    /// It cannot: `unknown-task`, `module-unavailable` or `bad-signature`.
    Refused(Failure),
}

/// A task's compiled module, ready to be run any number of times.
#[async_trait]
pub trait Program: Send + Sync {
    /// The task with its policy in force.
    fn task(&self) -> &DeployedTask;

    /// The module that it runs on.
    fn digest(&self) -> Digest;

    /// Runs one attempt in a fresh sandbox. An `Err` is a host fault and charges nothing.
    async fn run(&self, run: Run) -> Result<Execution, ExecutorError>;
}

/// Our machinery failed, not the task.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct ExecutorError {
    operation: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ExecutorError {
    /// What was attempted and failed.
    pub fn new(operation: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            source: None,
        }
    }

    /// The same with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// One attempt to be run.
pub struct Run {
    /// What the guest is told of it.
    pub facts: AttemptFacts,
    /// What the guest is given.
    pub payload: Payload,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is to stop.
    pub stop: StopSignal,
    /// What it can ask of the host.
    pub context: Arc<dyn AttemptContext>,
}

/// What a guest is told of its attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFacts {
    /// The envelope: the same on every attempt.
    pub id: EnvelopeId,
    /// The task.
    pub task: TaskName,
    /// The queue that the envelope was claimed from.
    pub queue: QueueName,
    /// 1 for the first attempt.
    pub number: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// Counts every delivery.
    pub delivery: u32,
    /// When the producer made the envelope.
    pub enqueued_at: Timestamp,
    /// What the producer attached.
    pub headers: BTreeMap<HeaderName, String>,
    /// What the host knows, under documented names.
    pub attributes: Vec<(&'static str, String)>,
}

impl AttemptFacts {
    /// What an envelope says of its attempts; whoever runs one says which it is, where it is not the first.
    pub fn of(envelope: &Envelope, policy: &TaskPolicy) -> Self {
        let lineage = envelope.lineage.iter();
        let ids = lineage.flat_map(|line| [("root", line.root), ("parent", line.parent)]);
        Self {
            id: envelope.id,
            task: envelope.task.clone(),
            queue: envelope.queue.clone(),
            number: 1,
            max_attempts: envelope.max_attempts.unwrap_or(policy.max_attempts),
            delivery: 1,
            enqueued_at: envelope.enqueued_at,
            attributes: ids.map(|(name, id)| (name, id.to_string())).collect(),
            headers: envelope.headers.clone(),
        }
    }
}

/// What a guest can ask of the host while it runs.
#[async_trait]
pub trait AttemptContext: Send + Sync {
    /// Publishes how far the attempt has come; only the newest is kept.
    fn progress(&self, fraction: f64, note: String);

    /// Takes note that the guest could have run on, and waited so long for a core.
    fn waited(&self, _time: Duration) {}

    /// Where its buckets lie, if it can have any; which of them it may use, the caller has to check.
    fn buckets(&self) -> Option<Buckets> {
        None
    }

    /// What an earlier attempt saved.
    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError>;

    /// Keeps this for the next attempt: durable when it returns.
    async fn save_checkpoint(&self, checkpoint: Payload) -> Result<(), CheckpointError>;

    /// Enqueues further envelopes: those that can be in one step, durable when it returns; one answer for each, in
    /// order. What the deployment grants, and how much, the caller has checked.
    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>>;
}

/// Why a checkpoint was not loaded or saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Over the limit of so many bytes.
    #[error("the checkpoint is over the limit of {0} bytes")]
    TooLarge(u64),
    /// The attempt no longer holds its lease.
    #[error("the lease was lost")]
    LeaseLost,
    /// The store cannot be reached.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Something else; the message says what.
    #[error("{0}")]
    Other(String),
}

impl CheckpointError {
    /// Refuses a checkpoint that is too large, or says of itself what nothing can be.
    pub fn check(checkpoint: &Payload, limit: ByteSize) -> Result<(), Self> {
        if checkpoint.body.len() > limit.as_usize() {
            return Err(Self::TooLarge(limit.0));
        }
        match checkpoint.has_media_type() {
            true => Ok(()),
            false => Err(Self::Other(
                "the checkpoint's content type is no media type".to_owned(),
            )),
        }
    }
}

/// Tells a running attempt to stop.
pub type StopSignal = watch::Receiver<Stop>;

/// Whether an attempt is to stop, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It may go on.
    No,
    /// The task is asked to wind up.
    Asked(StopReason),
    /// The attempt is ended at once.
    Now(StopReason),
}

/// Why an attempt is to stop. The soft time limit is the executor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled the envelope.
    Cancelled,
    /// The worker shuts down.
    Shutdown,
    /// The lease was lost.
    LeaseLost,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What it wrote, as far as it was kept.
    pub log: Vec<LogLine>,
    /// Lines that were not kept.
    pub log_dropped: u64,
}

impl Execution {
    /// An attempt that ended so and used nothing worth counting.
    pub fn ended(outcome: Outcome) -> Self {
        Self {
            outcome,
            usage: Usage::default(),
            log: Vec::new(),
            log_dropped: 0,
        }
    }

    /// A cancelled envelope is cancelled however its attempt ended, unless it has succeeded (W7).
    pub fn heeding(mut self, told: &StopSignal) -> Self {
        let is_cancelled = matches!(
            *told.borrow(),
            Stop::Asked(StopReason::Cancelled) | Stop::Now(StopReason::Cancelled)
        );
        if is_cancelled && !matches!(self.outcome, Outcome::Succeeded(_)) {
            self.outcome = Outcome::Cancelled;
        }
        self
    }

    /// How it ended, in one word.
    pub fn word(&self) -> OutcomeWord {
        match self.outcome {
            Outcome::Succeeded(_) => OutcomeWord::Succeeded,
            Outcome::Failed(_) => OutcomeWord::Failed,
            Outcome::Snoozed(_) => OutcomeWord::Snoozed,
            Outcome::Cancelled => OutcomeWord::Cancelled,
            Outcome::Expired => OutcomeWord::Expired,
            Outcome::Interrupted(_) => OutcomeWord::Interrupted,
        }
    }

    /// Why the task failed, if it did.
    pub fn failure(&self) -> Option<Failure> {
        if let Outcome::Failed(failure) = &self.outcome {
            Some(failure.clone())
        } else {
            None
        }
    }

    /// Why it did not succeed, be that the task's failure or ours.
    pub fn error(&self) -> Option<AttemptError> {
        if let Outcome::Interrupted(Disruption::HostFault(problem)) = &self.outcome {
            return Some(AttemptError::HostFault {
                host_fault: problem.clone(),
            });
        }
        self.failure().map(AttemptError::Failure)
    }
}

impl StopReason {
    /// How an attempt that stopped for this reason has ended.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Cancelled => Outcome::Cancelled,
            Self::Shutdown => Outcome::Interrupted(Disruption::Shutdown),
            Self::LeaseLost => Outcome::Interrupted(Disruption::LeaseLost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::StoredPayload;

    /// E4
    #[test]
    fn a_guest_is_told_what_its_envelope_says() {
        let task = TaskName::new("t").expect("a name");
        let queue = QueueName::new("q").expect("a name");
        let payload = StoredPayload::pack(Payload::new("a/b", ""));
        let mut envelope = Envelope::new(task, queue, payload, Timestamp::default());
        let policy = TaskPolicy::default();
        let facts = AttemptFacts::of(&envelope, &policy);
        assert_eq!(facts.max_attempts, policy.max_attempts);
        let tenant = HeaderName::new("tenant").expect("a name");
        envelope.headers.insert(tenant, "a".to_owned());
        envelope.max_attempts = Some(7);
        let facts = AttemptFacts::of(&envelope, &policy);
        assert_eq!((facts.id, facts.max_attempts), (envelope.id, 7));
        assert_eq!(facts.headers, envelope.headers);
    }
}
