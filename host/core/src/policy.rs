//! What a task may use and how it is retried: built-in defaults, then the module's, then the operator's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::millis;
use crate::names::{QueueName, nearest};
use crate::retry::RetryPolicy;
use crate::units::{ByteSize, format_duration, parse_duration};

/// What one attempt may use (S3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// When the host asks the task to stop, counted from the attempt's start.
    #[serde(rename = "soft_time_ms", with = "millis::option")]
    pub soft_time: Option<Duration>,
    /// When the host ends the attempt by force.
    #[serde(rename = "hard_time_ms", with = "millis")]
    pub hard_time: Duration,
    /// Processor time at which the host ends the attempt by force.
    #[serde(
        rename = "cpu_time_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub cpu_time: Option<Duration>,
    /// Bytes of all linear memories and tables together.
    #[serde(rename = "memory_bytes")]
    pub memory: ByteSize,
    /// Units of fuel: about one for each WebAssembly instruction. Without it none is counted.
    pub fuel: Option<u64>,
    /// Bytes of the result.
    #[serde(rename = "output_bytes")]
    pub output: ByteSize,
    /// Bytes of log lines and captured output that are kept.
    #[serde(rename = "log_bytes")]
    pub log: ByteSize,
    /// How often the task may ask for an envelope to be enqueued, whatever it is answered.
    #[serde(default = "enqueue")]
    pub enqueue: u32,
    /// Bytes of all that it asks to be enqueued.
    #[serde(rename = "enqueue_bytes", default = "enqueue_size")]
    pub enqueue_size: ByteSize,
}

fn enqueue() -> u32 {
    1_000
}

fn enqueue_size() -> ByteSize {
    ByteSize::mib(8)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            soft_time: None,
            hard_time: Duration::from_secs(60),
            cpu_time: None,
            memory: ByteSize::mib(64),
            fuel: None,
            output: ByteSize::mib(1),
            log: ByteSize::kib(64),
            enqueue: enqueue(),
            enqueue_size: enqueue_size(),
        }
    }
}

/// Limits that one envelope asks for: tighter than the deployment's, never looser.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TighterLimits {
    /// See [`Limits::soft_time`].
    #[serde(
        rename = "soft_time_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub soft_time: Option<Duration>,
    /// See [`Limits::hard_time`].
    #[serde(
        rename = "hard_time_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub hard_time: Option<Duration>,
    /// See [`Limits::cpu_time`].
    #[serde(
        rename = "cpu_time_ms",
        with = "millis::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub cpu_time: Option<Duration>,
    /// See [`Limits::memory`].
    #[serde(
        rename = "memory_bytes",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub memory: Option<ByteSize>,
    /// See [`Limits::fuel`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl Limits {
    /// The tighter of both, limit by limit.
    ///
    /// Fuel is counted only where the deployment counts it: an envelope cannot turn it on.
    pub fn tightened_by(&self, asked: &TighterLimits) -> Self {
        let tighter =
            |own: Option<Duration>, asked: Option<Duration>| own.into_iter().chain(asked).min();
        Self {
            soft_time: tighter(self.soft_time, asked.soft_time),
            hard_time: asked
                .hard_time
                .map_or(self.hard_time, |asked| asked.min(self.hard_time)),
            cpu_time: tighter(self.cpu_time, asked.cpu_time),
            memory: asked
                .memory
                .map_or(self.memory, |asked| asked.min(self.memory)),
            fuel: self
                .fuel
                .map(|own| asked.fuel.map_or(own, |asked| asked.min(own))),
            ..self.clone()
        }
    }
}

/// How a task is run: what its envelopes take where they say nothing themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskPolicy {
    /// Where its envelopes go; the producer's default queue where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// 0 to 9; 9 goes first.
    pub priority: u8,
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// When a failed attempt is followed by another.
    pub retry: RetryPolicy,
    /// What one attempt may use.
    pub limits: Limits,
    /// How long a record is kept after its end; zero keeps no value (R4).
    #[serde(rename = "result_retention_ms", with = "millis")]
    pub result_retention: Duration,
}

impl Default for TaskPolicy {
    fn default() -> Self {
        Self {
            queue: None,
            priority: 0,
            max_attempts: 5,
            retry: RetryPolicy::default(),
            limits: Limits::default(),
            result_retention: Duration::from_secs(24 * 3600),
        }
    }
}

/// A setting that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No setting has this name.
    #[error("unknown setting `{key}`{}", hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        /// The name that was given.
        key: String,
        /// The setting that was probably meant.
        hint: Option<&'static str>,
    },
    /// The value does not fit the setting.
    #[error("bad value for `{key}`: {problem}")]
    BadValue {
        /// The setting.
        key: &'static str,
        /// What is wrong with the value.
        problem: String,
    },
}

/// Addresses of a task have 32 bits.
const MOST_MEMORY: ByteSize = ByteSize::mib(4 << 10);

type Apply = fn(&mut TaskPolicy, &str) -> Result<(), String>;
type Show = fn(&TaskPolicy) -> String;

/// Every setting of a task's section in `stem.toml`, of a module's `defaults` and of the deploy flags.
const SETTINGS: [(&str, Apply, Show); 18] = [
    (
        "queue",
        |p, v| set(&mut p.queue, QueueName::new(v).map(Some)),
        |p| shown(p.queue.as_ref()),
    ),
    (
        "priority",
        |p, v| set(&mut p.priority, between(v, 0, 9)),
        |p| p.priority.to_string(),
    ),
    (
        "max-attempts",
        |p, v| set(&mut p.max_attempts, between(v, 1, 1_000)),
        |p| p.max_attempts.to_string(),
    ),
    (
        "retry",
        |p, v| set(&mut p.retry.backoff, v.parse()),
        |p| p.retry.backoff.to_string(),
    ),
    (
        "retry-base",
        |p, v| set(&mut p.retry.base, parse_duration(v)),
        |p| format_duration(p.retry.base),
    ),
    (
        "retry-factor",
        |p, v| set(&mut p.retry.factor, factor(v)),
        |p| p.retry.factor.to_string(),
    ),
    (
        "retry-cap",
        |p, v| set(&mut p.retry.cap, parse_duration(v)),
        |p| format_duration(p.retry.cap),
    ),
    (
        "retry-jitter",
        |p, v| set(&mut p.retry.has_jitter, v.parse()),
        |p| p.retry.has_jitter.to_string(),
    ),
    (
        "soft-time-limit",
        |p, v| set(&mut p.limits.soft_time, positive(v).map(Some)),
        |p| shown(p.limits.soft_time.map(format_duration)),
    ),
    (
        "hard-time-limit",
        |p, v| set(&mut p.limits.hard_time, positive(v)),
        |p| format_duration(p.limits.hard_time),
    ),
    (
        "cpu-time-limit",
        |p, v| set(&mut p.limits.cpu_time, positive(v).map(Some)),
        |p| shown(p.limits.cpu_time.map(format_duration)),
    ),
    (
        "memory-limit",
        |p, v| set(&mut p.limits.memory, memory(v)),
        |p| p.limits.memory.to_string(),
    ),
    (
        "fuel-limit",
        |p, v| set(&mut p.limits.fuel, between(v, 1, u64::MAX).map(Some)),
        |p| shown(p.limits.fuel),
    ),
    (
        "output-limit",
        |p, v| set(&mut p.limits.output, v.parse()),
        |p| p.limits.output.to_string(),
    ),
    (
        "log-limit",
        |p, v| set(&mut p.limits.log, v.parse()),
        |p| p.limits.log.to_string(),
    ),
    (
        "enqueue-limit",
        |p, v| set(&mut p.limits.enqueue, between(v, 0, 1_000_000)),
        |p| p.limits.enqueue.to_string(),
    ),
    (
        "enqueue-size-limit",
        |p, v| set(&mut p.limits.enqueue_size, v.parse()),
        |p| p.limits.enqueue_size.to_string(),
    ),
    (
        "result-retention",
        |p, v| set(&mut p.result_retention, parse_duration(v)),
        |p| format_duration(p.result_retention),
    ),
];

impl TaskPolicy {
    /// Takes one setting, as `stem.toml`, a module's `defaults` and the deploy flags name them.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), PolicyError> {
        let Some((name, apply, _)) = SETTINGS.iter().find(|(name, ..)| *name == key) else {
            let hint = nearest(key, SETTINGS.iter().map(|(name, ..)| *name)).and_then(|near| {
                SETTINGS
                    .iter()
                    .map(|(name, ..)| *name)
                    .find(|name| *name == near)
            });
            return Err(PolicyError::UnknownKey {
                key: key.to_owned(),
                hint,
            });
        };
        apply(self, value).map_err(|problem| PolicyError::BadValue { key: name, problem })
    }

    /// Every setting with its value in force; empty where none is set.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        SETTINGS.iter().map(|(name, _, show)| (*name, show(self)))
    }
}

fn set<T, E: std::fmt::Display>(field: &mut T, value: Result<T, E>) -> Result<(), String> {
    *field = value.map_err(|error| error.to_string())?;
    Ok(())
}

fn shown(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Reads a number of this range.
pub(crate) fn between<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    low: T,
    high: T,
) -> Result<T, String> {
    let range = || format!("`{text}` is no number from {low} to {high}");
    let number = text.parse().map_err(|_| range())?;
    if number < low || number > high {
        Err(range())
    } else {
        Ok(number)
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if (1.0..=1_000.0).contains(&factor) => Ok(factor),
        _ => Err(format!("`{text}` is no number from 1 to 1000")),
    }
}

fn memory(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size > MOST_MEMORY => {
            Err(format!("no task can address more than {MOST_MEMORY}"))
        }
        other => other.map_err(|error| error.to_string()),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("a time limit is longer than zero".to_owned()),
        other => other.map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
