//! What attempts use: each of them, and summed by hour, task, queue and tenant (S8).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::names::{QueueName, TaskName};
use crate::record::{AttemptRecord, OutcomeWord, Report};

/// How long sums are kept (R4).
pub const USAGE_RETENTION: Duration = Duration::from_secs(31 * 24 * 3_600);
/// How many sums of one hour are kept apart; of tenants that come later in it, those of one task and queue are summed
/// as [`OTHER_TENANTS`], since producers name tenants as they like (R4).
pub const MAX_USAGE_KEYS: usize = 1_000;
/// The tenant of those that are not kept apart; one of this name is summed with them.
pub const OTHER_TENANTS: &str = "other";

/// Bytes of a tenant's name that is kept.
const LONGEST_TENANT: usize = 128;
const HOUR: Duration = Duration::from_secs(3_600);

/// What an attempt used (S8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor.
    #[serde(rename = "cpu_us", with = "micros")]
    pub cpu: Duration,
    /// Time from start to end.
    #[serde(rename = "wall_us", with = "micros")]
    pub wall: Duration,
    /// The most bytes that its memories and tables had together.
    pub peak_memory_bytes: u64,
    /// Units of fuel, where the deployment counts them.
    pub fuel: Option<u64>,
    /// Calls of functions that the module imports, and ends of handles to what the host holds for it.
    #[serde(default, skip_serializing_if = "crate::record::is_zero")]
    pub host_calls: u64,
    /// Bytes that the host carried out of the sandbox beside the result, the log and the progress: checkpoints that
    /// were saved, and what the task's grants sent, enqueued or stored.
    #[serde(default, skip_serializing_if = "crate::record::is_zero")]
    pub bytes_out: u64,
}

/// Durations of attempts: whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// Whose usage is summed together within an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The task.
    pub task: TaskName,
    /// The queue that its envelopes were claimed from.
    pub queue: QueueName,
    /// The tenant; nothing where the envelopes name none.
    pub tenant: Option<String>,
}

impl UsageKey {
    /// The usage of this tenant; of the others where its name is longer than what is kept.
    pub fn new(task: TaskName, queue: QueueName, tenant: Option<&str>) -> Self {
        let tenant = tenant.filter(|name| !name.is_empty());
        let kept = |name: &str| match name.len() > LONGEST_TENANT {
            true => OTHER_TENANTS.to_owned(),
            false => name.to_owned(),
        };
        Self {
            task,
            queue,
            tenant: tenant.map(kept),
        }
    }

    /// Where this is summed in an hour that holds so many other sums already.
    pub fn among(self, others: usize) -> Self {
        let is_apart = others < MAX_USAGE_KEYS || self.tenant.is_none();
        let tenant = match is_apart {
            true => self.tenant,
            false => Some(OTHER_TENANTS.to_owned()),
        };
        Self { tenant, ..self }
    }
}

/// What several attempts used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// How many of them succeeded.
    pub succeeded: u64,
    /// How many failed.
    pub failed: u64,
    /// How many put themselves off.
    pub snoozed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many came too late.
    pub expired: u64,
    /// How many were given up uncharged.
    pub interrupted: u64,
    /// Time on processors.
    pub cpu: Duration,
    /// Time from start to end.
    pub wall: Duration,
    /// Each one's peak of memory for as long as it ran: bytes times milliseconds. A month of one 4 GiB task is more than
    /// 63 bits hold.
    pub memory_byte_millis: u128,
    /// The largest of their peaks.
    pub peak_memory_bytes: u64,
    /// Units of fuel of those that counted them.
    pub fuel: u64,
    /// Calls of the host.
    pub host_calls: u64,
    /// Bytes that left the sandbox.
    pub bytes_out: u64,
}

impl UsageSums {
    /// What this one used.
    pub fn of(attempt: &AttemptRecord) -> Self {
        let usage = &attempt.usage;
        let byte_micros = u128::from(usage.peak_memory_bytes) * usage.wall.as_micros();
        let mut sums = Self {
            cpu: usage.cpu,
            wall: usage.wall,
            memory_byte_millis: byte_micros / 1_000,
            peak_memory_bytes: usage.peak_memory_bytes,
            fuel: usage.fuel.unwrap_or_default(),
            host_calls: usage.host_calls,
            bytes_out: usage.bytes_out,
            ..Self::default()
        };
        let counted = match attempt.outcome {
            OutcomeWord::Succeeded => &mut sums.succeeded,
            OutcomeWord::Failed => &mut sums.failed,
            OutcomeWord::Snoozed => &mut sums.snoozed,
            OutcomeWord::Cancelled => &mut sums.cancelled,
            OutcomeWord::Expired => &mut sums.expired,
            OutcomeWord::Interrupted => &mut sums.interrupted,
        };
        *counted = 1;
        sums
    }

    /// How many attempts there were.
    pub fn attempts(&self) -> u64 {
        let ends = [self.succeeded, self.failed, self.snoozed];
        let others = [self.cancelled, self.expired, self.interrupted];
        ends.iter().chain(&others).sum()
    }

    /// Adds what others used.
    pub fn add(&mut self, more: &Self) {
        self.succeeded += more.succeeded;
        self.failed += more.failed;
        self.snoozed += more.snoozed;
        self.cancelled += more.cancelled;
        self.expired += more.expired;
        self.interrupted += more.interrupted;
        self.cpu = self.cpu.saturating_add(more.cpu);
        self.wall = self.wall.saturating_add(more.wall);
        self.memory_byte_millis = self
            .memory_byte_millis
            .saturating_add(more.memory_byte_millis);
        self.peak_memory_bytes = self.peak_memory_bytes.max(more.peak_memory_bytes);
        self.fuel = self.fuel.saturating_add(more.fuel);
        self.host_calls = self.host_calls.saturating_add(more.host_calls);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
    }
}

impl Report {
    /// What is to be summed of it: nothing where no attempt ran.
    pub fn usage(&self) -> Option<(UsageKey, UsageSums)> {
        let (attempt, task) = (self.attempt.as_ref()?, self.task.clone()?);
        let key = UsageKey::new(task, self.queue.clone(), self.tenant.as_deref());
        Some((key, UsageSums::of(attempt)))
    }
}

/// The beginning of the hour of this time: sums are kept by the hour in which an attempt's end is recorded.
pub fn hour_of(time: Timestamp) -> Timestamp {
    let hour = crate::clock::in_millis(HOUR);
    Timestamp::from_millis(time.as_millis() / hour * hour)
}

/// The first hour whose sums are kept.
pub fn first_kept_hour(now: Timestamp) -> Timestamp {
    hour_of(now - USAGE_RETENTION)
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
