//! The JSON shapes that programs may rely on (README, "Platforms and stability"), made from what the seams give.
//!
//! They are types of their own, so that a change of the stored form cannot change them by accident.

use std::time::Duration;

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::{Value, json};
use stem_core::client::Enqueued;
use stem_core::control::WorkerStatus;
use stem_core::dead_letters::DeadLetter;
use stem_core::lookup::Lookup;
use stem_core::names::{QueueName, TaskName};
use stem_core::outcome::{DeadReason, Failure};
use stem_core::payload::{Payload, StoredPayload};
use stem_core::policy::TaskPolicy;
use stem_core::queues::Place;
use stem_core::record::{AttemptError, AttemptRecord, LogLine, OutcomeWord};
use stem_core::retry::Backoff;
use stem_core::state::State;
use stem_core::units::ByteSize;

/// What a stored result or payload may unpack to when it is shown.
pub const SHOWN_LIMIT: ByteSize = ByteSize::mib(64);

/// `enqueue --json`.
#[derive(Debug, Serialize)]
pub struct EnqueuedView {
    id: String,
    task: TaskName,
    queue: String,
    state: State,
}

impl EnqueuedView {
    /// An envelope that was just enqueued.
    pub fn new(enqueued: &Enqueued, task: &TaskName) -> Self {
        let state = if enqueued.is_scheduled {
            State::Scheduled
        } else {
            State::Queued
        };
        Self {
            id: enqueued.id.to_string(),
            task: task.clone(),
            queue: enqueued.queue.to_string(),
            state,
        }
    }
}

/// `result --json`.
#[derive(Debug, Serialize)]
pub struct EnvelopeView {
    id: String,
    task: Option<TaskName>,
    queue: Option<QueueName>,
    state: State,
    attempts: Vec<AttemptView>,
    result: Option<Value>,
    error: Option<Value>,
    progress: Option<Value>,
    enqueued_at: Option<String>,
    ended_at: Option<String>,
    place: Option<Value>,
}

/// One attempt within `result --json`.
#[derive(Debug, Serialize)]
pub struct AttemptView {
    number: u32,
    delivery: u32,
    worker: String,
    module: Option<String>,
    started_at: String,
    ended_at: String,
    outcome: OutcomeWord,
    error: Option<Value>,
    cpu_ms: f64,
    wall_ms: f64,
    peak_memory_bytes: u64,
    fuel: Option<u64>,
    host_calls: u64,
    bytes_out: u64,
    log: Vec<LogLine>,
    log_dropped: u64,
}

impl EnvelopeView {
    /// What is known of an envelope.
    pub fn new(id: stem_core::ids::EnvelopeId, lookup: &Lookup) -> Self {
        let record = lookup.record.as_ref();
        let status = lookup.status.as_ref();
        let end = lookup.end();
        let progress = record.and_then(|record| record.progress.as_ref());
        Self {
            id: id.to_string(),
            task: status
                .map(|status| status.task.clone())
                .or_else(|| record?.task.clone()),
            queue: status
                .map(|status| status.queue.clone())
                .or_else(|| record?.queue.clone()),
            state: lookup.state,
            attempts: record
                .map(|record| record.attempts.iter().map(AttemptView::new).collect())
                .unwrap_or_default(),
            result: end.and_then(|end| end.result.as_ref()).map(stored_value),
            error: end.and_then(|end| end.error.as_ref()).map(failure_value),
            progress: progress.map(|progress| {
                json!({"fraction": progress.fraction, "note": progress.note, "at": progress.at.to_string()})
            }),
            enqueued_at: enqueued_at(lookup).map(|time| time.to_string()),
            ended_at: end.map(|end| end.at.to_string()),
            place: status.and_then(|status| place_value(&status.place)),
        }
    }
}

/// Where it waits for its time, or who has it.
fn place_value(place: &Place) -> Option<Value> {
    match place {
        Place::Held { until, .. } => Some(json!({"due_at": until.to_string()})),
        Place::Leased { worker, until } => {
            Some(json!({"worker": worker, "leased_until": until.to_string()}))
        }
        Place::Ready | Place::Dead => None,
    }
}

/// When an envelope's producer made it: kept in the record, and in the envelope itself while it lives.
pub fn enqueued_at(lookup: &Lookup) -> Option<stem_core::clock::Timestamp> {
    let recorded = lookup.record.as_ref().and_then(|record| record.enqueued_at);
    recorded.or_else(|| {
        let bytes = &lookup.status.as_ref()?.bytes;
        Some(
            stem_core::envelope::Envelope::decode(bytes)
                .ok()?
                .enqueued_at,
        )
    })
}

impl AttemptView {
    /// One attempt that has ended.
    pub fn new(attempt: &AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            delivery: attempt.delivery,
            worker: attempt.worker.to_string(),
            module: attempt.module.map(|digest| digest.to_string()),
            started_at: attempt.started_at.to_string(),
            ended_at: attempt.ended_at.to_string(),
            outcome: attempt.outcome,
            error: attempt.error.as_ref().map(attempt_error_value),
            cpu_ms: exact_millis(attempt.usage.cpu),
            wall_ms: exact_millis(attempt.usage.wall),
            peak_memory_bytes: attempt.usage.peak_memory_bytes,
            fuel: attempt.usage.fuel,
            host_calls: attempt.usage.host_calls,
            bytes_out: attempt.usage.bytes_out,
            log: attempt.log.clone(),
            log_dropped: attempt.log_dropped,
        }
    }
}

/// An error as `{"kind", "message", …}`.
pub fn failure_value(failure: &Failure) -> Value {
    // A failure is a flat map of names and plain values: there is nothing that JSON could not hold.
    serde_json::to_value(failure).unwrap_or(Value::Null)
}

fn attempt_error_value(error: &AttemptError) -> Value {
    match error {
        AttemptError::Failure(failure) => failure_value(failure),
        AttemptError::HostFault { host_fault } => {
            json!({"kind": "host-fault", "message": host_fault})
        }
    }
}

/// A payload as JSON: the value itself where its media type is JSON; text or base64 beside the type otherwise.
pub fn payload_value(payload: &Payload) -> Value {
    if payload.is_json()
        && let Ok(value) = serde_json::from_slice(&payload.body)
    {
        return value;
    }
    match std::str::from_utf8(&payload.body) {
        Ok(text) if payload.content_type.starts_with("text/") => {
            json!({"content_type": payload.content_type, "text": text})
        }
        _ => json!({"content_type": payload.content_type, "base64": BASE64.encode(&payload.body)}),
    }
}

/// A stored payload as JSON.
pub fn stored_value(stored: &StoredPayload) -> Value {
    match stored.unpack(SHOWN_LIMIT) {
        Ok(payload) => payload_value(&payload),
        Err(error) => json!({"content_type": stored.content_type, "unreadable": error.to_string()}),
    }
}

/// `dlq list --json`, one entry.
#[derive(Debug, Serialize)]
pub struct DeadLetterView {
    id: String,
    task: TaskName,
    queue: String,
    reason: DeadReason,
    error: Option<Value>,
    dead_at: String,
    generation: u32,
    attempt_count: u32,
}

impl DeadLetterView {
    /// A dead letter without its envelope.
    pub fn new(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id.to_string(),
            task: letter.task.clone(),
            queue: letter.queue.to_string(),
            reason: letter.reason,
            error: letter.error.as_ref().map(failure_value),
            dead_at: letter.dead_at.to_string(),
            generation: letter.generation,
            attempt_count: letter.attempts,
        }
    }
}

/// The policy of a task, as `task show --json` gives it: the settings of `stem.toml`, units in their names.
#[derive(Debug, Serialize)]
pub struct PolicyView {
    queue: Option<QueueName>,
    priority: u8,
    max_attempts: u32,
    retry: Backoff,
    retry_base_ms: u64,
    retry_factor: f64,
    retry_cap_ms: u64,
    retry_jitter: bool,
    soft_time_limit_ms: Option<u64>,
    hard_time_limit_ms: u64,
    cpu_time_limit_ms: Option<u64>,
    memory_limit_bytes: ByteSize,
    fuel_limit: Option<u64>,
    output_limit_bytes: ByteSize,
    log_limit_bytes: ByteSize,
    enqueue_limit: u32,
    enqueue_size_limit_bytes: ByteSize,
    result_retention_ms: u64,
}

impl PolicyView {
    /// A policy in force.
    pub fn new(policy: &TaskPolicy) -> Self {
        let (retry, limits) = (&policy.retry, &policy.limits);
        Self {
            queue: policy.queue.clone(),
            priority: policy.priority,
            max_attempts: policy.max_attempts,
            retry: retry.backoff,
            retry_base_ms: millis(retry.base),
            retry_factor: retry.factor,
            retry_cap_ms: millis(retry.cap),
            retry_jitter: retry.has_jitter,
            soft_time_limit_ms: limits.soft_time.map(millis),
            hard_time_limit_ms: millis(limits.hard_time),
            cpu_time_limit_ms: limits.cpu_time.map(millis),
            memory_limit_bytes: limits.memory,
            fuel_limit: limits.fuel,
            output_limit_bytes: limits.output,
            log_limit_bytes: limits.log,
            enqueue_limit: limits.enqueue,
            enqueue_size_limit_bytes: limits.enqueue_size,
            result_retention_ms: millis(policy.result_retention),
        }
    }
}

/// Milliseconds to the microsecond: a whole number of them divided once, so that no other digits appear.
pub fn exact_millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `worker list --json`, one entry.
#[derive(Debug, Serialize)]
pub struct WorkerView {
    worker: String,
    host: String,
    process: u32,
    version: String,
    queues: Vec<String>,
    slots: u32,
    running: u32,
    memory_bytes: u64,
    succeeded: u64,
    failed: u64,
    started_at: String,
    seen_at: String,
    dead: bool,
}

/// How many attempts it runs: a dead one runs none, whatever it said last.
pub fn running(status: &WorkerStatus) -> u32 {
    match status.is_dead {
        true => 0,
        false => status.heartbeat.running,
    }
}

impl WorkerView {
    /// A worker as its last heartbeat shows it.
    pub fn new(status: &WorkerStatus) -> Self {
        let beat = &status.heartbeat;
        Self {
            worker: beat.worker.to_string(),
            host: beat.host.clone(),
            process: beat.process,
            version: beat.version.clone(),
            queues: beat.queues.iter().map(ToString::to_string).collect(),
            slots: beat.slots,
            running: running(status),
            memory_bytes: beat.memory_bytes,
            succeeded: beat.succeeded,
            failed: beat.failed,
            started_at: beat.started_at.to_string(),
            seen_at: status.seen_at.to_string(),
            dead: status.is_dead,
        }
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
