//! How an attempt ended, and what the broker is told about it: one pure function (W3).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::payload::Payload;
use crate::retry::RetryPolicy;
use crate::state::EndState;

/// How an attempt ended: a value, never an `Err`.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With a result.
    Succeeded(Payload),
    /// Without one.
    Failed(Failure),
    /// The task asked to run again after this time: not a failure.
    Snoozed(Duration),
    /// The envelope was cancelled.
    Cancelled,
    /// The envelope's time to start had passed.
    Expired,
    /// The attempt was given up and nobody is charged for it.
    Interrupted(Disruption),
}

/// Why an attempt was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disruption {
    /// The worker shuts down.
    Shutdown,
    /// The lease was lost: another worker may be running the envelope.
    LeaseLost,
    /// The host failed: the store, the executor, a bug of ours. The message says what.
    HostFault(String),
}

/// Why a task did not do its work, as it is recorded and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Which kind of failure, from a closed set (S4).
    #[serde(flatten)]
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// Whether another attempt may follow.
    #[serde(skip, default)]
    pub disposition: Disposition,
}

/// The closed set of failures (S4). Host faults are no failures: see [`Disruption::HostFault`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FailureKind {
    /// The task returned it.
    Returned {
        /// The task's own short word for it.
        code: String,
        /// What else the task said.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        details: Vec<(String, String)>,
    },
    /// The guest trapped; a panic does too.
    Trapped {
        /// What the engine calls the trap.
        trap: String,
        /// The guest's frames, innermost first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        backtrace: Vec<String>,
    },
    /// The guest crossed a limit.
    Limit {
        /// Which one.
        limit: Limit,
        /// How much was allowed: bytes, milliseconds, fuel, or how many.
        allowed: u64,
        /// How much was used or asked for, in the same unit.
        used: u64,
    },
    /// The payload is not what the task takes; the task says so.
    InvalidPayload,
    /// The result is not what its media type says.
    InvalidOutput,
    /// No deployment has this task.
    UnknownTask,
    /// The task's module cannot be loaded.
    ModuleUnavailable,
    /// The attempt needs what its deployment does not grant.
    NotPermitted,
    /// The envelope's signature does not verify.
    BadSignature,
    /// The envelope cannot be decrypted.
    Undecryptable,
    /// The workers that ran it were lost too many times in a row.
    Poison,
    /// The stored bytes are no envelope that this build reads, or its payload cannot be unpacked: the task never ran.
    Undecodable,
}

/// A limit that a guest can cross (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Wall time at which the task is asked to stop.
    SoftTime,
    /// Wall time at which it is ended.
    HardTime,
    /// Processor time at which it is ended.
    CpuTime,
    /// Bytes of memories and tables.
    Memory,
    /// Fuel.
    Fuel,
    /// Bytes of the result.
    Output,
    /// Bytes of the guest's call stack.
    Stack,
    /// Handles, buffers and other things that the host holds for the guest.
    HostResources,
    /// Calls that the host works on for the guest at one time.
    HostCalls,
}

/// Whether another attempt may follow a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Disposition {
    /// When the retry policy says so.
    #[default]
    Retry,
    /// After this time.
    RetryAfter(Duration),
    /// Never.
    Reject,
}

impl Failure {
    /// A failure after which another attempt may follow.
    pub fn retryable(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            disposition: Disposition::Retry,
        }
    }

    /// A failure that no other attempt can mend.
    pub fn permanent(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            disposition: Disposition::Reject,
        }
    }
}

impl FailureKind {
    /// The word that records, dead letters and metrics use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Returned { .. } => "returned",
            Self::Trapped { .. } => "trapped",
            Self::Limit { .. } => "limit",
            Self::InvalidPayload => "invalid-payload",
            Self::InvalidOutput => "invalid-output",
            Self::UnknownTask => "unknown-task",
            Self::ModuleUnavailable => "module-unavailable",
            Self::NotPermitted => "not-permitted",
            Self::BadSignature => "bad-signature",
            Self::Undecryptable => "undecryptable",
            Self::Poison => "poison",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Why an envelope lies in the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// Its last attempt failed.
    AttemptsExhausted,
    /// The failure says that no other attempt can mend it.
    Rejected,
    /// It snoozed more often than is allowed.
    SnoozesExhausted,
    /// See [`FailureKind::UnknownTask`].
    UnknownTask,
    /// See [`FailureKind::ModuleUnavailable`].
    ModuleUnavailable,
    /// See [`FailureKind::InvalidPayload`].
    InvalidPayload,
    /// See [`FailureKind::NotPermitted`].
    NotPermitted,
    /// See [`FailureKind::BadSignature`].
    BadSignature,
    /// See [`FailureKind::Undecryptable`].
    Undecryptable,
    /// See [`FailureKind::Poison`].
    Poison,
    /// See [`FailureKind::Undecodable`].
    Undecodable,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::AttemptsExhausted,
        Self::Rejected,
        Self::SnoozesExhausted,
        Self::UnknownTask,
        Self::ModuleUnavailable,
        Self::InvalidPayload,
        Self::NotPermitted,
        Self::BadSignature,
        Self::Undecryptable,
        Self::Poison,
        Self::Undecodable,
    ];

    /// The word that stores and commands use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts-exhausted",
            Self::Rejected => "rejected",
            Self::SnoozesExhausted => "snoozes-exhausted",
            Self::UnknownTask => "unknown-task",
            Self::ModuleUnavailable => "module-unavailable",
            Self::InvalidPayload => "invalid-payload",
            Self::NotPermitted => "not-permitted",
            Self::BadSignature => "bad-signature",
            Self::Undecryptable => "undecryptable",
            Self::Poison => "poison",
            Self::Undecodable => "undecodable",
        }
    }

    /// The reason with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether the attempt before it is charged: it is where the task has run and failed.
    pub fn charges_an_attempt(self) -> bool {
        match self {
            Self::AttemptsExhausted | Self::Rejected | Self::InvalidPayload => true,
            Self::SnoozesExhausted
            | Self::UnknownTask
            | Self::ModuleUnavailable
            | Self::NotPermitted
            | Self::BadSignature
            | Self::Undecryptable
            | Self::Poison
            | Self::Undecodable => false,
        }
    }

    /// Why a failure that no other attempt can mend is dead-lettered.
    fn of(kind: &FailureKind) -> Self {
        match kind {
            FailureKind::UnknownTask => Self::UnknownTask,
            FailureKind::ModuleUnavailable => Self::ModuleUnavailable,
            FailureKind::InvalidPayload => Self::InvalidPayload,
            FailureKind::NotPermitted => Self::NotPermitted,
            FailureKind::BadSignature => Self::BadSignature,
            FailureKind::Undecryptable => Self::Undecryptable,
            FailureKind::Poison => Self::Poison,
            FailureKind::Undecodable => Self::Undecodable,
            FailureKind::Returned { .. }
            | FailureKind::Trapped { .. }
            | FailureKind::Limit { .. }
            | FailureKind::InvalidOutput => Self::Rejected,
        }
    }
}

/// What the broker is told about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The envelope has ended and leaves the broker.
    Ack,
    /// It failed and comes back after this delay; an attempt is charged.
    Retry(Duration),
    /// It comes back after this delay; no attempt is charged, a snooze is counted.
    Snooze(Duration),
    /// It has failed for good; the reason says whether an attempt is charged.
    DeadLetter(DeadReason),
    /// It goes back to its place; nothing is charged.
    Release,
    /// The host failed: it comes back after this delay; a fault is counted, nothing is charged.
    ReleaseAfterFault(Duration),
}

impl Settlement {
    /// How long it holds the envelope back.
    pub fn delay(self) -> Duration {
        match self {
            Self::Retry(delay) | Self::Snooze(delay) | Self::ReleaseAfterFault(delay) => delay,
            Self::Ack | Self::DeadLetter(_) | Self::Release => Duration::ZERO,
        }
    }
}

/// What `settle` needs to know beside the outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Attempts charged before this one.
    pub attempts: u32,
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// Snoozes so far.
    pub snoozes: u32,
    /// Snoozes that are allowed.
    pub max_snoozes: u32,
    /// Host faults in a row before this one.
    pub faults: u32,
}

/// Snoozes that are allowed where nothing else is said (B5).
pub const MAX_SNOOZES: u32 = 1_000;

const FIRST_FAULT_DELAY: Duration = Duration::from_secs(1);
const LONGEST_FAULT_DELAY: Duration = Duration::from_secs(60);

/// What the broker is told, and the end if it is one; `random` is drawn evenly from [0, 1) (W3).
pub fn settle(
    outcome: &Outcome,
    standing: &Standing,
    retry: &RetryPolicy,
    random: f64,
) -> (Settlement, Option<EndState>) {
    match outcome {
        Outcome::Succeeded(_) => (Settlement::Ack, Some(EndState::Succeeded)),
        Outcome::Cancelled => (Settlement::Ack, Some(EndState::Cancelled)),
        Outcome::Expired => (Settlement::Ack, Some(EndState::Expired)),
        Outcome::Failed(failure) => settle_failure(failure, standing, retry, random),
        Outcome::Snoozed(_) if standing.snoozes >= standing.max_snoozes => (
            Settlement::DeadLetter(DeadReason::SnoozesExhausted),
            Some(EndState::Failed),
        ),
        Outcome::Snoozed(delay) => (Settlement::Snooze(*delay), None),
        Outcome::Interrupted(Disruption::HostFault(_)) => (
            Settlement::ReleaseAfterFault(fault_delay(standing.faults)),
            None,
        ),
        Outcome::Interrupted(Disruption::Shutdown | Disruption::LeaseLost) => {
            (Settlement::Release, None)
        }
    }
}

fn settle_failure(
    failure: &Failure,
    standing: &Standing,
    retry: &RetryPolicy,
    random: f64,
) -> (Settlement, Option<EndState>) {
    let failed = standing.attempts.saturating_add(1);
    let is_last = failed >= standing.max_attempts;
    match failure.disposition {
        Disposition::Reject => (
            Settlement::DeadLetter(DeadReason::of(&failure.kind)),
            Some(EndState::Failed),
        ),
        Disposition::Retry | Disposition::RetryAfter(_) if is_last => (
            Settlement::DeadLetter(DeadReason::AttemptsExhausted),
            Some(EndState::Failed),
        ),
        Disposition::Retry => (Settlement::Retry(retry.delay(failed, random)), None),
        Disposition::RetryAfter(delay) => (Settlement::Retry(delay), None),
    }
}

/// 1 s after the first fault in a row, doubling to 1 min (B5).
fn fault_delay(faults: u32) -> Duration {
    FIRST_FAULT_DELAY
        .saturating_mul(1 << faults.min(6))
        .min(LONGEST_FAULT_DELAY)
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
