//! The JSON shapes, literally: a change here is a change for programs.

use bytes::Bytes;
use stem_core::broker::Published;
use stem_core::clock::Timestamp;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::{QueueName, WorkerName};
use stem_core::outcome::{FailureKind, Limit};
use stem_core::payload::JSON;
use stem_core::queues::{EnvelopeStatus, Place};
use stem_core::record::{End, Progress, Record};
use stem_core::state::EndState;
use stem_core::usage::Usage;

use super::*;

fn id() -> EnvelopeId {
    EnvelopeId::from_bytes([7; 16])
}

fn task() -> TaskName {
    TaskName::new("word-count").expect("a name")
}

fn queue() -> QueueName {
    QueueName::new("default").expect("a name")
}

fn attempt(outcome: OutcomeWord, error: Option<AttemptError>) -> AttemptRecord {
    AttemptRecord {
        number: 1,
        delivery: 2,
        generation: 1,
        worker: WorkerName::new("w-1").expect("a name"),
        module: Some(Digest::from_bytes([1; 32])),
        started_at: Timestamp::from_millis(1_000),
        ended_at: Timestamp::from_millis(2_000),
        outcome,
        error,
        usage: Usage {
            cpu: Duration::from_micros(2_201),
            wall: Duration::from_secs(1),
            peak_memory_bytes: 65_536,
            fuel: None,
            host_calls: 12,
            bytes_out: 345,
        },
        log: Vec::new(),
        log_dropped: 0,
    }
}

fn record(attempts: Vec<AttemptRecord>, end: Option<End>) -> Record {
    Record {
        id: id(),
        task: Some(task()),
        queue: Some(queue()),
        generation: 1,
        enqueued_at: Some(Timestamp::from_millis(500)),
        attempts,
        progress: None,
        end,
    }
}

fn end(state: EndState) -> End {
    End {
        state,
        at: Timestamp::from_millis(2_000),
        result: None,
        error: None,
        reason: None,
    }
}

fn view(state: State, record: Record) -> Value {
    let lookup = Lookup {
        state,
        record: Some(record),
        status: None,
    };
    serde_json::to_value(EnvelopeView::new(id(), &lookup)).expect("JSON")
}

fn expected_result() -> Value {
    json!({
        "id": "07070707-0707-0707-0707-070707070707",
        "task": "word-count",
        "queue": "default",
        "state": "succeeded",
        "attempts": [{
            "number": 1,
            "delivery": 2,
            "worker": "w-1",
            "module": "01".repeat(32),
            "started_at": "1970-01-01T00:00:01.000Z",
            "ended_at": "1970-01-01T00:00:02.000Z",
            "outcome": "succeeded",
            "error": null,
            "cpu_ms": 2.201,
            "wall_ms": 1_000.0,
            "peak_memory_bytes": 65_536,
            "fuel": null,
            "host_calls": 12,
            "bytes_out": 345,
            "log": [],
            "log_dropped": 0,
        }],
        "result": {"a": 2},
        "error": null,
        "place": null, "progress": null,
        "enqueued_at": "1970-01-01T00:00:00.500Z",
        "ended_at": "1970-01-01T00:00:02.000Z",
    })
}

/// R5
#[test]
fn a_result_has_the_shape_that_programs_rely_on() {
    let result = StoredPayload::pack(Payload::new(JSON, r#"{"a":2}"#));
    let end = End {
        result: Some(result),
        ..end(EndState::Succeeded)
    };
    let record = record(vec![attempt(OutcomeWord::Succeeded, None)], Some(end));
    assert_eq!(view(State::Succeeded, record), expected_result());
}

/// R3
#[test]
fn a_place_says_when_it_is_due_or_who_has_it() {
    let until = Timestamp::from_millis(1_000);
    let worker = WorkerName::new("w-1").expect("a name");
    let leased = place_value(&Place::Leased { worker, until });
    let expected = json!({"worker": "w-1", "leased_until": "1970-01-01T00:00:01.000Z"});
    assert_eq!(leased, Some(expected));
    assert_eq!(place_value(&Place::Ready), None);
}

fn out_of_memory() -> Failure {
    let limit = FailureKind::Limit {
        limit: Limit::Memory,
        allowed: 10,
        used: 11,
    };
    Failure::retryable(limit, "too much memory")
}

/// R5, S4
#[test]
fn an_error_has_a_kind_a_message_and_what_belongs_to_its_kind() {
    let error = AttemptError::Failure(out_of_memory());
    let end = End {
        error: Some(out_of_memory()),
        ..end(EndState::Failed)
    };
    let attempts = vec![attempt(OutcomeWord::Failed, Some(error))];
    let shown = view(State::Failed, record(attempts, Some(end)));
    let expected = json!({
        "kind": "limit", "limit": "memory", "allowed": 10, "used": 11, "message": "too much memory",
    });
    assert_eq!(shown["error"], expected);
    assert_eq!(shown["attempts"][0]["error"], expected);
}

/// S4
#[test]
fn a_host_fault_is_an_error_of_the_attempt_and_not_of_the_envelope() {
    let fault = AttemptError::HostFault {
        host_fault: "no memory".to_owned(),
    };
    let interrupted = attempt(OutcomeWord::Interrupted, Some(fault));
    let shown = view(State::Queued, record(vec![interrupted], None));
    assert_eq!(
        shown["attempts"][0]["error"],
        json!({"kind": "host-fault", "message": "no memory"})
    );
    assert_eq!(shown["error"], Value::Null);
}

fn queued() -> EnvelopeStatus {
    EnvelopeStatus {
        id: id(),
        task: task(),
        queue: queue(),
        priority: 0,
        generation: 1,
        attempts: 0,
        deliveries: 0,
        place: Place::Ready,
        bytes: Bytes::new(),
    }
}

#[test]
fn an_envelope_that_lives_is_shown_from_the_broker() {
    let lookup = Lookup {
        state: State::Queued,
        record: None,
        status: Some(queued()),
    };
    let shown = serde_json::to_value(EnvelopeView::new(id(), &lookup)).expect("JSON");
    assert_eq!(shown["state"], "queued");
    assert_eq!(shown["queue"], "default");
    assert_eq!(shown["attempts"], json!([]));
    assert_eq!(shown["ended_at"], Value::Null);
}

/// R3
#[test]
fn progress_has_a_fraction_a_note_and_a_time() {
    let progress = Progress {
        fraction: 0.5,
        note: "half".to_owned(),
        at: Timestamp::from_millis(0),
    };
    let record = Record {
        progress: Some(progress),
        ..record(Vec::new(), None)
    };
    let expected = json!({"fraction": 0.5, "note": "half", "at": "1970-01-01T00:00:00.000Z"});
    assert_eq!(view(State::Running, record)["progress"], expected);
}

#[test]
fn what_is_no_json_is_text_or_base64_beside_its_type() {
    let text = Payload::new("text/html", "<p>");
    assert_eq!(
        payload_value(&text),
        json!({"content_type": "text/html", "text": "<p>"})
    );
    let picture = Payload::new("image/png", vec![0x89, b'P']);
    assert_eq!(
        payload_value(&picture),
        json!({"content_type": "image/png", "base64": "iVA="})
    );
}

#[test]
fn what_was_enqueued_is_queued_or_scheduled() {
    let enqueued = Enqueued {
        id: id(),
        queue: queue(),
        is_scheduled: true,
        published: Published::Stored,
    };
    let shown = serde_json::to_value(EnqueuedView::new(&enqueued, &task())).expect("JSON");
    assert_eq!(
        shown,
        json!({
            "id": "07070707-0707-0707-0707-070707070707",
            "task": "word-count", "queue": "default", "state": "scheduled",
        })
    );
}

fn letter() -> DeadLetter {
    DeadLetter {
        id: id(),
        task: task(),
        queue: queue(),
        reason: DeadReason::AttemptsExhausted,
        error: None,
        dead_at: Timestamp::from_millis(0),
        generation: 1,
        attempts: 3,
        bytes: Bytes::new(),
    }
}

/// B10
#[test]
fn a_dead_letter_has_the_fields_that_programs_rely_on() {
    let expected = json!({
        "id": "07070707-0707-0707-0707-070707070707",
        "task": "word-count", "queue": "default", "reason": "attempts-exhausted", "error": null,
        "dead_at": "1970-01-01T00:00:00.000Z", "generation": 1, "attempt_count": 3,
    });
    let shown = serde_json::to_value(DeadLetterView::new(&letter())).expect("JSON");
    assert_eq!(shown, expected);
}

/// M4
#[test]
fn a_policy_has_numbers_for_numbers_and_null_for_what_is_not_set() {
    let shown = serde_json::to_value(PolicyView::new(&TaskPolicy::default())).expect("JSON");
    let expected = json!({
        "queue": null, "priority": 0, "max_attempts": 5,
        "retry": "exponential", "retry_base_ms": 2_000, "retry_factor": 2.0,
        "retry_cap_ms": 300_000, "retry_jitter": true,
        "soft_time_limit_ms": null, "hard_time_limit_ms": 60_000, "cpu_time_limit_ms": null,
        "memory_limit_bytes": 64 << 20, "fuel_limit": null,
        "output_limit_bytes": 1 << 20, "log_limit_bytes": 64 << 10,
        "enqueue_limit": 1_000, "enqueue_size_limit_bytes": 8 << 20,
        "result_retention_ms": 86_400_000,
    });
    assert_eq!(shown, expected);
}
