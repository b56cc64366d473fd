//! What the result store keeps of an envelope: its attempts, its progress and its end (R5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::envelope::Envelope;
use crate::ids::{Digest, EnvelopeId};
use crate::names::{QueueName, TaskName, WorkerName};
use crate::outcome::{DeadReason, Failure};
use crate::payload::StoredPayload;
use crate::policy::TaskPolicy;
use crate::queues::EnvelopeStatus;
use crate::state::EndState;
use crate::usage::Usage;

/// How long the record of an end is kept where its task keeps no value: it says what ended, where, when and how (R4).
pub const TOMBSTONE_RETENTION: Duration = Duration::from_secs(3_600);
/// How long a dead letter and its record are kept (B10, R4).
pub const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long the record of an envelope that has not ended is kept after its last change, or after the time until which
/// it is held.
pub const LIVE_RECORD_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What the result store keeps of an envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The envelope.
    pub id: EnvelopeId,
    /// Its task; nothing where the stored bytes could not be read.
    pub task: Option<TaskName>,
    /// The queue that it was claimed from; nothing until an attempt has ended.
    pub queue: Option<QueueName>,
    /// 1, and one more for each replay; an end counts only for its generation.
    pub generation: u32,
    /// When its producer made it.
    pub enqueued_at: Option<Timestamp>,
    /// Its attempts so far, oldest first, over all generations.
    pub attempts: Vec<AttemptRecord>,
    /// How far the running attempt has come.
    pub progress: Option<Progress>,
    /// Its end in this generation.
    pub end: Option<End>,
}

/// How an envelope ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// As what.
    pub state: EndState,
    /// When.
    pub at: Timestamp,
    /// What the task returned, where the task keeps results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<StoredPayload>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Why it lies in the dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
}

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0.0 to 1.0.
    pub fraction: f64,
    /// A line for people.
    pub note: String,
    /// When it was published.
    pub at: Timestamp,
}

/// One attempt that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// 1 for the first; an attempt that was not charged leaves its number to the next.
    pub number: u32,
    /// Which delivery it was: never the same twice.
    pub delivery: u32,
    /// In which generation.
    pub generation: u32,
    /// Who ran it.
    pub worker: WorkerName,
    /// On which module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Digest>,
    /// When it began, by the store's clock.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub outcome: OutcomeWord,
    /// Why it failed, or was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// What it used.
    pub usage: Usage,
    /// What it wrote, as far as it was kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// Lines that were not kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_dropped: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why an attempt did not succeed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttemptError {
    /// The task, or a limit.
    Failure(Failure),
    /// Us: no failure of the task, and nothing is charged.
    HostFault {
        /// What happened.
        host_fault: String,
    },
}

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeWord {
    /// With a result.
    Succeeded,
    /// Without one.
    Failed,
    /// To be run again later, by its own wish.
    Snoozed,
    /// By request.
    Cancelled,
    /// Not started in time.
    Expired,
    /// Given up uncharged.
    Interrupted,
}

/// A line that an attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Where it was written to, or how important it is.
    pub level: LogLevel,
    /// The text, control characters escaped (S7).
    pub message: String,
    /// Named values that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// Where a line was written to, or how important it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// By the task's log, for the task's author.
    Trace,
    /// By the task's log, for the task's author.
    Debug,
    /// By the task's log.
    Info,
    /// By the task's log: something is odd.
    Warn,
    /// By the task's log: something is wrong.
    Error,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogLevel {
    /// The word that commands print.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a worker reports when an attempt, or the envelope, has ended: the result store adds it to the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The envelope.
    pub id: EnvelopeId,
    /// Its task; nothing where the stored bytes could not be read.
    pub task: Option<TaskName>,
    /// The queue that it was claimed from.
    pub queue: QueueName,
    /// Whose usage the attempt's is, where its envelope says so.
    pub tenant: Option<String>,
    /// The generation that this belongs to.
    pub generation: u32,
    /// The delivery that this belongs to: the fence.
    pub delivery: u32,
    /// When the envelope's producer made it.
    pub enqueued_at: Option<Timestamp>,
    /// The attempt that ended; nothing where none ran.
    pub attempt: Option<AttemptRecord>,
    /// The end of the envelope, if this is it.
    pub end: Option<End>,
    /// How long the record is kept from now on, as far as that is the task's to say: see [`kept_for`].
    pub retention: Duration,
}

impl Report {
    /// The end of an envelope that was cancelled or purged before a worker had it.
    pub fn cancelled(status: &EnvelopeStatus, at: Timestamp) -> Self {
        let envelope = Envelope::decode(&status.bytes).ok();
        let own = envelope
            .as_ref()
            .and_then(|envelope| envelope.result_retention);
        let default = || TaskPolicy::default().result_retention;
        Self {
            enqueued_at: envelope.map(|envelope| envelope.enqueued_at),
            end: Some(End {
                state: EndState::Cancelled,
                at,
                result: None,
                error: None,
                reason: None,
            }),
            retention: own.unwrap_or_else(default),
            ..Self::going_on(status)
        }
    }

    /// A dead letter that was replayed: its record lives on in a new generation.
    pub fn replayed(dead: &EnvelopeStatus) -> Self {
        Self {
            generation: dead.generation + 1,
            ..Self::going_on(dead)
        }
    }

    fn going_on(status: &EnvelopeStatus) -> Self {
        Self {
            id: status.id,
            task: Some(status.task.clone()),
            queue: status.queue.clone(),
            tenant: None,
            generation: status.generation,
            delivery: status.deliveries,
            enqueued_at: None,
            attempt: None,
            end: None,
            retention: LIVE_RECORD_RETENTION,
        }
    }

    /// Adds this report to what was kept before; an attempt that is known already is not added again.
    ///
    /// A retention of zero keeps no values, that is no attempts and no result; but a failed record keeps what its dead
    /// letter shows (R4).
    pub fn merge_into(self, kept: Option<Record>) -> Record {
        let mut record = Record::continued(kept, self.id, self.generation);
        record.task = self.task.or(record.task);
        record.queue = Some(self.queue);
        record.enqueued_at = self.enqueued_at.or(record.enqueued_at);
        let attempt = self.attempt.filter(|attempt| !record.knows(attempt));
        record.attempts.extend(attempt);
        let excess = record.attempts.len().saturating_sub(MAX_KEPT_ATTEMPTS);
        record.attempts.drain(..excess);
        record.drop_older_logs();
        record.end = self.end;
        if record.end.is_some() {
            record.progress = None;
        }
        let keeps_none = |end: &End| self.retention.is_zero() && end.state != EndState::Failed;
        if record.end.as_ref().is_some_and(keeps_none) {
            record.forget_values();
        }
        record
    }
}

/// An envelope may snooze or be replayed often: its record keeps the newest of its attempts (R4).
pub const MAX_KEPT_ATTEMPTS: usize = 100;
/// A record is written whole with each attempt: only so many of the newest attempts keep their log lines, and the others
/// say how many they had.
pub const MAX_KEPT_LOGS: usize = 5;

impl Record {
    /// What was kept of an envelope, gone on with in this generation: what an earlier one came to counts no longer.
    pub fn continued(kept: Option<Self>, id: EnvelopeId, generation: u32) -> Self {
        let fresh = Self {
            id,
            task: None,
            queue: None,
            generation,
            enqueued_at: None,
            attempts: Vec::new(),
            progress: None,
            end: None,
        };
        match kept {
            None => fresh,
            Some(kept) if kept.generation == generation => kept,
            Some(kept) => Self {
                generation,
                progress: None,
                end: None,
                ..kept
            },
        }
    }

    /// Whether this attempt was added before.
    pub fn knows(&self, attempt: &AttemptRecord) -> bool {
        let is_it = |known: &AttemptRecord| known.delivery == attempt.delivery;
        self.attempts.iter().any(is_it)
    }

    fn forget_values(&mut self) {
        self.attempts.clear();
        self.progress = None;
        if let Some(end) = &mut self.end {
            end.result = None;
            end.error = None;
        }
    }

    fn drop_older_logs(&mut self) {
        let older = self.attempts.len().saturating_sub(MAX_KEPT_LOGS);
        for attempt in &mut self.attempts[..older] {
            attempt.log_dropped += attempt.log.len() as u64;
            attempt.log = Vec::new();
        }
    }
}

/// How long a record is kept, counted from now: what the report says, but a failed one as long as its dead letter, and
/// none less than there is need for (R4).
pub fn kept_for(end: Option<EndState>, retention: Duration) -> Duration {
    match end {
        None => retention.max(LIVE_RECORD_RETENTION),
        Some(EndState::Failed) => DEAD_LETTER_RETENTION,
        Some(EndState::Succeeded | EndState::Cancelled | EndState::Expired) => {
            match retention.is_zero() {
                true => TOMBSTONE_RETENTION,
                false => retention,
            }
        }
    }
}
