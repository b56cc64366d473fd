//! What becomes of a delivery, outcome by outcome: the memory store, a scripted executor, a clock that stands still.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::broker::Receipt;
use stem_core::clock::Timestamp;
use stem_core::executor::{Stop, StopReason};
use stem_core::ids::EnvelopeId;
use stem_core::names::{Namespace, QueueName, TaskName};
use stem_core::outcome::{DeadReason, Limit, Settlement};
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::{LIVE_RECORD_RETENTION, OutcomeWord, Report};
use stem_core::state::EndState;
use stem_core::stores::Stores;
use stem_testkit::clock::ManualClock;
use stem_testkit::executor::{ScriptedExecutor, Step};
use tokio::sync::watch;

use super::*;

fn desk(executor: ScriptedExecutor) -> Desk {
    let clock = ManualClock::shared();
    let namespace = Namespace::new("test").expect("a name");
    let store = stem_memory::Store::new(namespace, Arc::clone(&clock) as _);
    let stores = Stores::on_one(store, Arc::clone(&clock) as _);
    Desk {
        worker: WorkerName::new("w1").expect("a name"),
        clock,
        executor: Arc::new(executor),
        results: Arc::clone(&stores.results),
        key_value: Arc::clone(&stores.key_value),
        client: Arc::new(Client::new(
            stores,
            QueueName::new("default").expect("a name"),
        )),
        lease: Duration::from_secs(15),
        progress: Arc::default(),
        waits: Arc::default(),
        max_deliveries: 5,
        payload_limit: ByteSize::mib(1),
    }
}

fn envelope() -> Envelope {
    let (task, queue) = (TaskName::new("t"), QueueName::new("q"));
    let payload = StoredPayload::pack(Payload::new("application/json", "{}"));
    Envelope::new(
        task.expect("a name"),
        queue.expect("a name"),
        payload,
        ManualClock::START,
    )
}

fn delivery_of(bytes: Bytes) -> Delivery {
    Delivery {
        receipt: Receipt {
            id: EnvelopeId::new(),
            delivery: 1,
            position: 0,
        },
        queue: QueueName::new("q").expect("a name"),
        task: TaskName::new("t").expect("a name"),
        bytes,
        generation: 1,
        attempts: 0,
        losses: 0,
        snoozes: 0,
        faults: 0,
        is_cancelled: false,
        claimed_at: ManualClock::START,
    }
}

fn delivery(envelope: &Envelope) -> Delivery {
    delivery_of(envelope.encode(ByteSize::mib(1)).expect("fits"))
}

async fn settled(executor: ScriptedExecutor, delivery: &Delivery) -> (Settlement, Report) {
    settled_when_told(Stop::No, executor, delivery).await
}

async fn settled_when_told(
    stop: Stop,
    executor: ScriptedExecutor,
    delivery: &Delivery,
) -> (Settlement, Report) {
    let (_stop, signal) = watch::channel(stop);
    let settling = run(&desk(executor), delivery, Duration::ZERO, signal).await;
    assert_eq!(settling.receipt, delivery.receipt);
    (
        settling.settlement,
        settling.report.expect("every attempt is reported"),
    )
}

fn ended(report: &Report) -> Option<EndState> {
    report.end.as_ref().map(|end| end.state)
}

fn failing() -> ScriptedExecutor {
    let kind = FailureKind::Returned {
        code: "busy".to_owned(),
        details: Vec::new(),
    };
    ScriptedExecutor::new().on(
        "t",
        [Step::end(Outcome::Failed(Failure::retryable(kind, "busy")))],
    )
}

/// W1, R5
#[tokio::test]
async fn a_success_is_acknowledged_with_its_result() {
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let (settlement, report) = settled(executor, &delivery(&envelope())).await;
    assert_eq!(
        (settlement, ended(&report)),
        (Settlement::Ack, Some(EndState::Succeeded))
    );
    let attempt = report.attempt.expect("it ran");
    assert_eq!(
        (attempt.number, attempt.delivery, attempt.outcome),
        (1, 1, OutcomeWord::Succeeded)
    );
    assert_eq!(attempt.module, Some(Digest::of(b"t")));
    let result = report.end.and_then(|end| end.result).expect("a result");
    assert_eq!(result.unpack(ByteSize::mib(1)).expect("unpacks").body, "{}");
}

/// E1
#[tokio::test]
async fn bytes_that_are_no_envelope_are_dead_lettered_without_an_attempt() {
    let garbage = delivery_of(Bytes::from_static(b"garbage"));
    let (settlement, report) = settled(ScriptedExecutor::new(), &garbage).await;
    assert_eq!(settlement, Settlement::DeadLetter(DeadReason::Undecodable));
    assert_eq!(
        (ended(&report), report.attempt),
        (Some(EndState::Failed), None)
    );
}

/// B5
#[tokio::test]
async fn an_envelope_whose_worker_was_lost_too_often_is_poison_and_never_runs() {
    let lost = Delivery {
        losses: 5,
        ..delivery(&envelope())
    };
    let (settlement, report) =
        settled(ScriptedExecutor::new().on("t", [Step::echo()]), &lost).await;
    assert_eq!(settlement, Settlement::DeadLetter(DeadReason::Poison));
    assert_eq!(report.attempt, None);
    assert_eq!(report.enqueued_at, Some(ManualClock::START));
}

/// W7, B16: cancelled and expired envelopes end without running, by the store's clock.
#[tokio::test]
async fn what_is_no_longer_wanted_never_runs() {
    let expired = Envelope {
        expires_at: Some(ManualClock::START),
        ..envelope()
    };
    let cancelled = Delivery {
        is_cancelled: true,
        ..delivery(&envelope())
    };
    for (delivery, end) in [
        (delivery(&expired), EndState::Expired),
        (cancelled, EndState::Cancelled),
    ] {
        let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
        let (settlement, report) = settled(executor, &delivery).await;
        assert_eq!((settlement, ended(&report)), (Settlement::Ack, Some(end)));
        assert_eq!(report.attempt, None);
    }
}

/// W7: being cancelled goes before everything else that would end an envelope without running it.
#[tokio::test]
async fn a_cancelled_envelope_is_no_dead_letter() {
    let lost = Delivery {
        losses: 5,
        ..delivery(&envelope())
    };
    for delivery in [lost, delivery_of(Bytes::from_static(b"garbage"))] {
        let cancelled = Delivery {
            is_cancelled: true,
            ..delivery
        };
        let (settlement, report) = settled(ScriptedExecutor::new(), &cancelled).await;
        let end = Some(EndState::Cancelled);
        assert_eq!((settlement, ended(&report)), (Settlement::Ack, end));
    }
}

fn over_time() -> Outcome {
    let kind = FailureKind::Limit {
        limit: Limit::HardTime,
        allowed: 1,
        used: 2,
    };
    Outcome::Failed(Failure::retryable(kind, "too long"))
}

/// W7: a guest that does not listen cannot keep its envelope from being cancelled.
#[tokio::test]
async fn what_was_cancelled_while_it_ran_is_cancelled_however_its_attempt_ended() {
    let snoozing = Step::end(Outcome::Snoozed(Duration::from_secs(1)));
    let rejecting = Failure::permanent(FailureKind::InvalidOutput, "none");
    let rejecting = Step::end(Outcome::Failed(rejecting));
    for step in [
        Step::end(over_time()),
        rejecting,
        snoozing,
        Step::fault("x"),
    ] {
        for stop in [Stop::Asked, Stop::Now] {
            let executor = ScriptedExecutor::new().on("t", [step.clone()]);
            let told = stop(StopReason::Cancelled);
            let (settlement, report) =
                settled_when_told(told, executor, &delivery(&envelope())).await;
            let end = Some(EndState::Cancelled);
            assert_eq!((settlement, ended(&report)), (Settlement::Ack, end));
        }
    }
}

/// W7
#[tokio::test]
async fn what_succeeds_although_it_was_cancelled_has_succeeded() {
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let told = Stop::Asked(StopReason::Cancelled);
    let (_, report) = settled_when_told(told, executor, &delivery(&envelope())).await;
    assert_eq!(ended(&report), Some(EndState::Succeeded));
}

/// S4
#[tokio::test]
async fn an_unknown_task_is_dead_lettered_and_a_store_that_cannot_be_asked_is_a_host_fault() {
    let (settlement, _) = settled(ScriptedExecutor::new(), &delivery(&envelope())).await;
    assert_eq!(settlement, Settlement::DeadLetter(DeadReason::UnknownTask));
    let away = ScriptedExecutor::new().failing_to_resolve("t", "read the deployments");
    let (settlement, report) = settled(away, &delivery(&envelope())).await;
    assert_eq!(
        settlement,
        Settlement::ReleaseAfterFault(Duration::from_secs(1))
    );
    assert_eq!(ended(&report), None);
}

/// E4
#[tokio::test]
async fn what_an_envelope_says_wins_over_its_deployment() {
    let last = Envelope {
        max_attempts: Some(1),
        ..envelope()
    };
    let (settlement, _) = settled(failing(), &delivery(&last)).await;
    assert_eq!(
        settlement,
        Settlement::DeadLetter(DeadReason::AttemptsExhausted)
    );
    let (settlement, _) = settled(failing(), &delivery(&envelope())).await;
    assert!(matches!(settlement, Settlement::Retry(_)));
}

/// W3: a host fault and a panic of ours charge nothing.
#[tokio::test]
async fn our_own_failures_are_released_uncharged() {
    for step in [Step::fault("allocate a slot"), Step::panic("boom")] {
        let executor = ScriptedExecutor::new().on("t", [step]);
        let (settlement, report) = settled(executor, &delivery(&envelope())).await;
        assert_eq!(
            settlement,
            Settlement::ReleaseAfterFault(Duration::from_secs(1))
        );
        let attempt = report.attempt.expect("it ran");
        assert_eq!(attempt.outcome, OutcomeWord::Interrupted);
        assert!(matches!(
            attempt.error,
            Some(stem_core::record::AttemptError::HostFault { .. })
        ));
    }
}

/// A clock that breaks when it is read again.
#[derive(Debug, Default)]
struct Broken(AtomicBool);

#[async_trait]
impl Clock for Broken {
    fn now(&self) -> Timestamp {
        ManualClock::START
    }

    fn monotonic(&self) -> Duration {
        assert!(!self.0.swap(true, Ordering::SeqCst), "the clock is broken");
        Duration::ZERO
    }

    async fn sleep_until(&self, _: Timestamp) {}

    async fn sleep(&self, _: Duration) {}
}

/// W3: also where what is to be said of the attempt cannot be made up.
#[tokio::test]
async fn a_panic_after_the_attempt_gives_its_envelope_back() {
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let desk = Desk {
        clock: Arc::new(Broken::default()),
        ..desk(executor)
    };
    let (_stop, signal) = watch::channel(Stop::No);
    let delivery = delivery(&envelope());
    let settling = run(&desk, &delivery, Duration::ZERO, signal).await;
    let fault = Settlement::ReleaseAfterFault(Duration::from_secs(1));
    assert_eq!((settling.settlement, settling.report), (fault, None));
}

/// B5: whoever finds it among the dead letters is told why.
#[tokio::test]
async fn an_envelope_that_snoozes_too_often_says_so() {
    let tired = Delivery {
        snoozes: MAX_SNOOZES,
        ..delivery(&envelope())
    };
    let step = Step::end(Outcome::Snoozed(Duration::from_secs(1)));
    let (settlement, report) = settled(ScriptedExecutor::new().on("t", [step]), &tired).await;
    let reason = DeadReason::SnoozesExhausted;
    assert_eq!(settlement, Settlement::DeadLetter(reason));
    let error = report.end.and_then(|end| end.error).expect("an error");
    assert_eq!(
        error.message,
        "the task put itself off more than 1000 times"
    );
}

/// E3, B5: what a payload unpacks to is bounded, and what never ran is charged nothing.
#[tokio::test]
async fn a_payload_that_unpacks_to_too_much_is_rejected() {
    let large = StoredPayload::pack(Payload::new("text/plain", vec![b'a'; 2 << 20]));
    let envelope = Envelope {
        payload: large,
        headers: BTreeMap::new(),
        ..envelope()
    };
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let (settlement, report) = settled(executor, &delivery(&envelope)).await;
    let reason = DeadReason::Undecodable;
    assert_eq!(settlement, Settlement::DeadLetter(reason));
    assert!(!reason.charges_an_attempt());
    assert_eq!(report.attempt, None);
}

/// R4: what is known of an attempt is kept until the next one, however long that waits.
#[tokio::test]
async fn the_record_of_what_is_put_off_is_kept_until_then_and_beyond() {
    let year = Duration::from_secs(366 * 24 * 3_600);
    let executor = ScriptedExecutor::new().on("t", [Step::end(Outcome::Snoozed(year))]);
    let (settlement, report) = settled(executor, &delivery(&envelope())).await;
    assert_eq!(settlement, Settlement::Snooze(year));
    assert_eq!(report.retention, year + LIVE_RECORD_RETENTION);
}

/// R5: times are the store's, whatever this machine's clock shows.
#[tokio::test]
async fn an_attempt_is_timed_from_its_claim() {
    let hour = Duration::from_secs(3_600);
    let skewed = Delivery {
        claimed_at: ManualClock::START + hour,
        ..delivery(&envelope())
    };
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let (_, report) = settled(executor, &skewed).await;
    assert_eq!(
        report.attempt.expect("it ran").started_at,
        ManualClock::START + hour
    );
}
