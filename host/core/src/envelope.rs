//! One request to run a task: immutable once published, stored as MessagePack (E1–E5).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::{Timestamp, millis};
use crate::ids::{Digest, EnvelopeId};
use crate::names::{HeaderName, QueueName, TaskName};
use crate::payload::{ENVELOPE_OVERHEAD, StoredPayload};
use crate::policy::{Limits, TighterLimits};
use crate::retry::RetryPolicy;
use crate::units::ByteSize;

/// The version that this build writes, and the only one that it runs.
pub const FORMAT_VERSION: u16 = 1;

/// The header that says whose work it is.
pub(crate) const TENANT: &str = "tenant";
/// Headers that an envelope may have (E5).
pub(crate) const MAX_HEADERS: usize = 64;
const MAX_HEADER_VALUE: ByteSize = ByteSize::kib(8);

/// One request to run a task. What changes during its life (attempts, lease, due time) is the broker's (E2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of this format.
    pub v: u16,
    /// Its name for ever.
    pub id: EnvelopeId,
    /// What is to be run.
    pub task: TaskName,
    /// With what.
    pub payload: StoredPayload,
    /// Where it was published to.
    pub queue: QueueName,
    /// 0 to 9; 9 goes first.
    #[serde(default)]
    pub priority: u8,
    /// When its producer made it, by the producer's clock.
    pub enqueued_at: Timestamp,
    /// Not to be run before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Not to be started after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Attempts in all; the deployment's number where none is given (E4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The deployment's policy where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Tighter than the deployment's, never looser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<TighterLimits>,
    /// How long its record is kept; the deployment's time where none is given.
    #[serde(
        rename = "result_retention_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub result_retention: Option<std::time::Duration>,
    /// What the producer attached: `traceparent`, `tenant`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<HeaderName, String>,
    /// The envelope that enqueued this one, and the first of that line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// The module to run it on; the active one where none is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<Digest>,
}

/// Where an envelope comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The envelope whose attempt enqueued this one.
    pub parent: EnvelopeId,
    /// The first envelope of the line.
    pub root: EnvelopeId,
}

/// An envelope that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload is over the limit.
    #[error("the payload has {actual}, over the limit of {limit}")]
    PayloadTooLarge {
        /// Its size.
        actual: ByteSize,
        /// What is allowed.
        limit: ByteSize,
    },
    /// The envelope is over the payload's limit and what it may weigh beyond.
    #[error("the envelope has {actual}, over the limit of {limit}: attach less in headers")]
    TooLarge {
        /// Its size.
        actual: ByteSize,
        /// What is allowed.
        limit: ByteSize,
    },
    /// Too many headers.
    #[error("{0} headers, over the limit of {MAX_HEADERS}")]
    TooManyHeaders(usize),
    /// A header's value is over the limit.
    #[error("the value of header `{name}` has {actual}, over the limit of {MAX_HEADER_VALUE}")]
    HeaderTooLarge {
        /// The header.
        name: HeaderName,
        /// The size of its value.
        actual: ByteSize,
    },
    /// A priority beyond 9.
    #[error("priority {0} is not between 0 and 9")]
    Priority(u8),
    /// An envelope that must never run.
    #[error("an envelope needs at least 1 attempt")]
    NoAttempts,
    /// An envelope that waits for longer than anybody means.
    #[error(
        "an envelope waits for a hundred years at the most: give a shorter delay or an earlier time"
    )]
    TooLate,
}

/// Bytes that are no envelope that this build can run.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No envelope at all, or one whose fields this build cannot read.
    #[error("cannot decode the envelope")]
    Undecodable(#[from] rmp_serde::decode::Error),
    /// A version that changes what must be done.
    #[error(
        "envelope format {0} is unknown: this build reads format {FORMAT_VERSION}, so upgrade the worker"
    )]
    UnknownVersion(u16),
}

impl Envelope {
    /// An envelope made now, with nothing but what every envelope has.
    pub fn new(task: TaskName, queue: QueueName, payload: StoredPayload, now: Timestamp) -> Self {
        Self {
            v: FORMAT_VERSION,
            id: EnvelopeId::new(),
            task,
            payload,
            queue,
            priority: 0,
            enqueued_at: now,
            not_before: None,
            expires_at: None,
            max_attempts: None,
            retry: None,
            limits: None,
            result_retention: None,
            headers: BTreeMap::new(),
            lineage: None,
            module: None,
        }
    }

    /// Whose work it is, where its producer says so.
    pub fn tenant(&self) -> Option<&str> {
        let is_it = |(name, _): &(&HeaderName, _)| name.as_str() == TENANT;
        self.headers
            .iter()
            .find(is_it)
            .map(|(_, value)| value.as_str())
    }

    /// What its attempts may use: the deployment's limits, or tighter ones of its own.
    pub fn limits_within(&self, deployed: &Limits) -> Limits {
        match &self.limits {
            Some(asked) => deployed.tightened_by(asked),
            None => deployed.clone(),
        }
    }

    /// Checks what the types cannot hold, and gives the bytes to be stored (E3, E5).
    pub fn encode(&self, payload_limit: ByteSize) -> Result<Bytes, EnvelopeError> {
        self.check_headers()?;
        if self.priority > 9 {
            return Err(EnvelopeError::Priority(self.priority));
        }
        if self.max_attempts == Some(0) {
            return Err(EnvelopeError::NoAttempts);
        }
        let bytes = rmp_serde::to_vec_named(self)
            .expect("an envelope has no map keys or values that MessagePack lacks");
        let limit = ByteSize(payload_limit.0.saturating_add(ENVELOPE_OVERHEAD.0));
        let actual = ByteSize(bytes.len() as u64);
        if actual > limit {
            return Err(EnvelopeError::TooLarge { actual, limit });
        }
        Ok(bytes.into())
    }

    fn check_headers(&self) -> Result<(), EnvelopeError> {
        if self.headers.len() > MAX_HEADERS {
            return Err(EnvelopeError::TooManyHeaders(self.headers.len()));
        }
        for (name, value) in &self.headers {
            let actual = ByteSize(value.len() as u64);
            if actual > MAX_HEADER_VALUE {
                return Err(EnvelopeError::HeaderTooLarge {
                    name: name.clone(),
                    actual,
                });
            }
        }
        Ok(())
    }

    /// Reads stored bytes; an unknown field is a hint and is ignored (E1).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match rmp_serde::from_slice::<Self>(bytes) {
            Ok(envelope) if envelope.v == FORMAT_VERSION => Ok(envelope),
            Ok(envelope) => Err(DecodeError::UnknownVersion(envelope.v)),
            Err(error) => match rmp_serde::from_slice::<Version>(bytes) {
                Ok(Version { v }) if v != FORMAT_VERSION => Err(DecodeError::UnknownVersion(v)),
                _ => Err(DecodeError::Undecodable(error)),
            },
        }
    }
}

/// What every version of the format has.
#[derive(Deserialize)]
struct Version {
    v: u16,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::Payload;

    fn envelope() -> Envelope {
        let payload = StoredPayload::pack(Payload::new("application/json", r#"{"text":"a"}"#));
        let (task, queue) = (TaskName::new("word-count"), QueueName::new("default"));
        Envelope::new(
            task.expect("a name"),
            queue.expect("a name"),
            payload,
            Timestamp::from_millis(1),
        )
    }

    #[derive(Serialize)]
    struct WithMore {
        #[serde(flatten)]
        envelope: Envelope,
        hint: &'static str,
    }

    /// E1
    #[test]
    fn an_envelope_reads_what_it_writes_and_ignores_hints() {
        let envelope = envelope();
        let bytes = envelope.encode(ByteSize::mib(1)).expect("fits");
        assert_eq!(Envelope::decode(&bytes).expect("decodes"), envelope);
        let more = WithMore {
            envelope: envelope.clone(),
            hint: "new",
        };
        let bytes = rmp_serde::to_vec_named(&more).expect("encodes");
        assert_eq!(Envelope::decode(&bytes).expect("decodes"), envelope);
    }

    /// E1
    #[test]
    fn an_unknown_version_is_told_from_garbage() {
        let newer = Envelope { v: 2, ..envelope() }
            .encode(ByteSize::mib(1))
            .expect("fits");
        assert!(matches!(
            Envelope::decode(&newer),
            Err(DecodeError::UnknownVersion(2))
        ));
        assert!(matches!(
            Envelope::decode(b"garbage"),
            Err(DecodeError::Undecodable(_))
        ));
    }

    #[test]
    fn the_largest_limit_lets_everything_through() {
        let encoded = envelope().encode(ByteSize(u64::MAX));
        encoded.expect("it is no larger than that");
    }

    /// E3, E5
    #[test]
    fn an_envelope_over_its_limits_is_refused_with_both_sizes() {
        let mut large = envelope();
        for index in 0..20 {
            let name = HeaderName::new(format!("h{index}")).expect("a name");
            large.headers.insert(name, "x".repeat(8 << 10));
        }
        let error = large
            .encode(ByteSize::kib(1))
            .expect_err("too large")
            .to_string();
        assert!(
            error.contains("has 16") && error.contains("65 KiB"),
            "{error}"
        );
        large.headers.insert(
            HeaderName::new("long").expect("a name"),
            "x".repeat((8 << 10) + 1),
        );
        assert!(matches!(
            large.encode(ByteSize::mib(1)),
            Err(EnvelopeError::HeaderTooLarge { .. })
        ));
        for index in 20..80 {
            large.headers.insert(
                HeaderName::new(format!("h{index}")).expect("a name"),
                String::new(),
            );
        }
        assert!(matches!(
            large.encode(ByteSize::mib(1)),
            Err(EnvelopeError::TooManyHeaders(81))
        ));
    }

    proptest! {
        /// E1: no bytes make decoding panic.
        #[test]
        fn decoding_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Envelope::decode(&bytes);
        }

        #[test]
        fn decoding_survives_any_flipped_byte(index in 0_usize..1_000, byte in any::<u8>()) {
            let mut bytes = envelope().encode(ByteSize::mib(1)).expect("fits").to_vec();
            let index = index % bytes.len();
            bytes[index] = byte;
            let _ = Envelope::decode(&bytes);
        }
    }
}
