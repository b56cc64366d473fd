//! Names, envelopes and what goes with them, made in one line each, so that a test shows only what it is about.

mod buckets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::broker::{Delivery, Due, Publication, Settling};
use stem_core::children::{Child, Refusal};
use stem_core::clock::Clock;
use stem_core::control::Heartbeat;
use stem_core::envelope::Envelope;
use stem_core::executor::{AttemptContext, AttemptFacts, CheckpointError, Run, Stop};
use stem_core::grants::Grants;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::manifest::Manifest;
use stem_core::module_store::{Activation, DeployedTask};
use stem_core::names::{DeploymentName, Namespace, QueueName, TaskName, WorkerName};
use stem_core::outcome::{DeadReason, Failure, FailureKind, Settlement};
use stem_core::payload::{DEFAULT_PAYLOAD_LIMIT, Payload, StoredPayload};
use stem_core::policy::{Limits, TaskPolicy};
use stem_core::record::{
    AttemptError, AttemptRecord, End, LogLevel, LogLine, OutcomeWord, Progress, Report,
};
use stem_core::result_store::Fence;
use stem_core::state::EndState;
use stem_core::usage::Usage;
use tokio::sync::watch;

use crate::clock::ManualClock;

pub use buckets::{DEFAULT_BUCKET, bucket_name, key, put, removal, writing};

/// The task that envelopes are for where nothing else is said.
pub const DEFAULT_TASK: &str = "word-count";
/// The queue that they go to.
pub const DEFAULT_QUEUE: &str = "default";
/// How long their records are kept.
pub const DAY: Duration = Duration::from_secs(24 * 3_600);

const KEEPS_THE_RULE: &str = "a test's names keep the rule";

/// A task's name.
pub fn task_name(name: &str) -> TaskName {
    TaskName::new(name).expect(KEEPS_THE_RULE)
}

/// A queue's name.
pub fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect(KEEPS_THE_RULE)
}

/// A worker's name.
pub fn worker_name(name: &str) -> WorkerName {
    WorkerName::new(name).expect(KEEPS_THE_RULE)
}

/// A namespace that no other test has.
pub fn fresh_namespace() -> Namespace {
    Namespace::new(format!("test-{}", EnvelopeId::new())).expect(KEEPS_THE_RULE)
}

/// An envelope for the default task.
pub fn envelope() -> Envelope {
    let payload = StoredPayload::pack(json(r#"{"text":"a b a"}"#));
    let (task, queue) = (task_name(DEFAULT_TASK), queue_name(DEFAULT_QUEUE));
    Envelope::new(task, queue, payload, ManualClock::START)
}

/// A JSON payload of this text.
pub fn json(text: &str) -> Payload {
    Payload::new(stem_core::payload::JSON, text.to_owned())
}

/// An envelope to be published as it is.
pub fn publication_of(envelope: &Envelope) -> Publication {
    let bytes = envelope.encode(DEFAULT_PAYLOAD_LIMIT);
    Publication {
        id: envelope.id,
        task: envelope.task.clone(),
        queue: envelope.queue.clone(),
        priority: envelope.priority,
        due: envelope.not_before.map_or(Due::Now, Due::At),
        module: envelope.module,
        bytes: bytes.expect("a test's envelope keeps the limits"),
    }
}

/// A new envelope for the default task, to be published now.
pub fn publication() -> Publication {
    publication_of(&envelope())
}

/// So many of them.
pub fn publications(number: usize) -> Vec<Publication> {
    (0..number).map(|_| publication()).collect()
}

/// One with a priority.
pub fn urgent(priority: u8) -> Publication {
    Publication {
        priority,
        ..publication()
    }
}

/// One that waits for this time first.
pub fn delayed(delay: Duration) -> Publication {
    Publication {
        due: Due::After(delay),
        ..publication()
    }
}

/// One for another queue.
pub fn queued_in(queue: &str) -> Publication {
    Publication {
        queue: queue_name(queue),
        ..publication()
    }
}

/// One whose id is derived.
pub fn derived() -> Publication {
    Publication {
        id: EnvelopeId::derived(EnvelopeId::new(), "key"),
        ..publication()
    }
}

/// The same envelope with a field that this build does not know.
pub fn with_unknown_field(bytes: &Bytes) -> Bytes {
    let (fields, rest) = bytes.split_first().expect("an envelope is not empty");
    assert!(
        (0x80..0x8f).contains(fields),
        "a short MessagePack map has room for a field"
    );
    let hint = b"\xa4hint\xa3new";
    [&[fields + 1], rest, hint].concat().into()
}

/// The delivery as a fence.
pub fn fence(delivery: &Delivery) -> Fence {
    Fence {
        id: delivery.receipt.id,
        generation: delivery.generation,
        delivery: delivery.receipt.delivery,
    }
}

/// The first delivery of an envelope that no broker knows.
pub fn first_fence() -> Fence {
    Fence {
        id: EnvelopeId::new(),
        generation: 1,
        delivery: 1,
    }
}

/// A settlement without a report.
pub fn settling(delivery: &Delivery, settlement: Settlement) -> Settling {
    Settling {
        receipt: delivery.receipt,
        settlement,
        error: None,
        report: None,
    }
}

/// A settlement that ends the envelope, with its report.
pub fn ending(delivery: &Delivery, state: EndState) -> Settling {
    let report = ended(&fence(delivery), state);
    let (settlement, error) = match state {
        EndState::Failed => (
            Settlement::DeadLetter(DeadReason::AttemptsExhausted),
            Some(failure()),
        ),
        EndState::Succeeded | EndState::Cancelled | EndState::Expired => (Settlement::Ack, None),
    };
    Settling {
        receipt: delivery.receipt,
        settlement,
        error,
        report: Some(report),
    }
}

/// A report of an attempt that failed and was not the last one.
pub fn report(fence: &Fence) -> Report {
    Report {
        id: fence.id,
        task: Some(task_name(DEFAULT_TASK)),
        queue: queue_name(DEFAULT_QUEUE),
        tenant: None,
        generation: fence.generation,
        delivery: fence.delivery,
        enqueued_at: Some(ManualClock::START),
        attempt: Some(attempt(fence, OutcomeWord::Failed)),
        end: None,
        retention: DAY,
    }
}

/// A report of an attempt that ended the envelope.
pub fn ended(fence: &Fence, state: EndState) -> Report {
    let word = match state {
        EndState::Succeeded => OutcomeWord::Succeeded,
        EndState::Failed => OutcomeWord::Failed,
        EndState::Cancelled => OutcomeWord::Cancelled,
        EndState::Expired => OutcomeWord::Expired,
    };
    Report {
        attempt: Some(attempt(fence, word)),
        end: Some(end(state)),
        ..report(fence)
    }
}

/// An end with everything that such an end has.
pub fn end(state: EndState) -> End {
    let has_failed = state == EndState::Failed;
    let result = StoredPayload::pack(json(r#"{"a":2,"b":1}"#));
    End {
        state,
        at: ManualClock::START,
        result: (state == EndState::Succeeded).then_some(result),
        error: has_failed.then(failure),
        reason: has_failed.then_some(DeadReason::AttemptsExhausted),
    }
}

/// An attempt with every field filled.
pub fn attempt(fence: &Fence, outcome: OutcomeWord) -> AttemptRecord {
    let error = (outcome == OutcomeWord::Failed).then(|| AttemptError::Failure(failure()));
    AttemptRecord {
        number: fence.delivery,
        delivery: fence.delivery,
        generation: fence.generation,
        worker: worker_name("here"),
        module: Some(Digest::of(b"module")),
        started_at: ManualClock::START,
        ended_at: ManualClock::START + Duration::from_millis(7),
        outcome,
        error,
        usage: usage(),
        log: vec![log_line("two words"), log_line("one more")],
        log_dropped: 3,
    }
}

/// A failure as a task returns it.
pub fn failure() -> Failure {
    let returned = FailureKind::Returned {
        code: "no-text".to_owned(),
        details: vec![("field".to_owned(), "text".to_owned())],
    };
    Failure::retryable(returned, "the text is missing")
}

/// Usage with every field filled.
pub fn usage() -> Usage {
    Usage {
        cpu: Duration::from_micros(5_500),
        wall: Duration::from_micros(7_250),
        peak_memory_bytes: 1 << 20,
        fuel: Some(12_345),
        host_calls: 17,
        bytes_out: 2_048,
    }
}

fn log_line(message: &str) -> LogLine {
    LogLine {
        level: LogLevel::Info,
        message: message.to_owned(),
        fields: vec![("words".to_owned(), "2".to_owned())],
    }
}

/// Half of the way.
pub fn half_way(clock: &dyn Clock) -> Progress {
    Progress {
        fraction: 0.5,
        note: "half of the words".to_owned(),
        at: clock.now(),
    }
}

/// A heartbeat of this worker.
pub fn heartbeat(worker: &str) -> Heartbeat {
    Heartbeat {
        worker: worker_name(worker),
        host: "host-1".to_owned(),
        process: 4_711,
        version: "0.1.0".to_owned(),
        started_at: ManualClock::START,
        queues: vec![queue_name(DEFAULT_QUEUE), queue_name("reports")],
        slots: 64,
        running: 3,
        memory_bytes: 50 << 20,
        succeeded: 41,
        failed: 1,
    }
}

/// A module of these bytes, to be made active for these tasks.
pub fn activation(name: &str, module: &'static [u8], tasks: &[&str]) -> Activation {
    let deployed = |task: &&str| deployed_task(task, TaskPolicy::default());
    let tasks = tasks.iter().map(deployed).collect();
    let digest = Digest::of(module);
    let manifest = Manifest::new(deployment_name(name), digest, tasks, Grants::default());
    Activation::new(Bytes::from_static(module), manifest, None)
}

/// A deployment's name.
pub fn deployment_name(name: &str) -> DeploymentName {
    DeploymentName::new(name).expect(KEEPS_THE_RULE)
}

/// A task as a deployment has it.
pub fn deployed_task(name: &str, policy: TaskPolicy) -> DeployedTask {
    DeployedTask {
        name: task_name(name),
        description: String::new(),
        payload_schema: None,
        result_schema: None,
        command: None,
        policy,
    }
}

/// One attempt to be run, with what tells it to stop; its context keeps nothing.
pub fn run(task: &str) -> (Run, watch::Sender<Stop>) {
    let (stop, signal) = watch::channel(Stop::No);
    let run = Run {
        facts: attempt_facts(task),
        payload: json("{}"),
        limits: Limits::default(),
        stop: signal,
        context: Arc::new(NoContext),
    };
    (run, stop)
}

fn attempt_facts(task: &str) -> AttemptFacts {
    AttemptFacts {
        id: EnvelopeId::new(),
        task: task_name(task),
        queue: queue_name(DEFAULT_QUEUE),
        number: 1,
        max_attempts: 5,
        delivery: 1,
        enqueued_at: ManualClock::START,
        headers: BTreeMap::new(),
        attributes: Vec::new(),
    }
}

struct NoContext;

#[async_trait]
impl AttemptContext for NoContext {
    fn progress(&self, _fraction: f64, _note: String) {}

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(None)
    }

    async fn save_checkpoint(&self, _checkpoint: Payload) -> Result<(), CheckpointError> {
        Ok(())
    }

    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        vec![Err(Refusal::NotGranted); children.len()]
    }
}
