//! How an attempt can end other than at a limit, and what is said about it (S4).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::hostile::{Hostile, running};
use crate::common::{
    Attempt, Kept, PATIENCE, block_on, failure, guest, misbehave, program, result, sandbox,
};
use stem_core::executor::{Execution, Stop, StopReason};
use stem_core::names::HeaderName;
use stem_core::outcome::{Disposition, Disruption, FailureKind, Limit, Outcome};
use stem_core::payload::Payload;
use stem_core::record::LogLevel;
use tokio::sync::watch;

fn meet(attempt: Attempt) -> Execution {
    block_on(async { attempt.run(&misbehave(&[]).await).await })
}

#[track_caller]
fn returned(execution: &Execution) -> (&str, &str, Disposition) {
    let failure = failure(execution);
    let FailureKind::Returned { code, .. } = &failure.kind else {
        panic!("not returned: {failure:?}");
    };
    (code, &failure.message, failure.disposition)
}

// === what the task returns ===

/// S4
#[test]
fn a_failure_that_the_task_returns_keeps_its_own_words() {
    let failed = meet(Attempt::fate("fail"));
    assert_eq!(
        returned(&failed),
        ("unlucky", "asked to fail", Disposition::Retry)
    );
    let FailureKind::Returned { details, .. } = &failure(&failed).kind else {
        unreachable!("it was returned");
    };
    assert_eq!(details, &[("attempt".to_owned(), "1".to_owned())]);
}

/// S4
#[test]
fn a_task_says_whether_and_when_it_is_tried_again() {
    let rejected = meet(Attempt::fate("reject"));
    assert_eq!(
        returned(&rejected),
        ("unwanted", "asked to be rejected", Disposition::Reject)
    );
    let later = meet(Attempt::json(r#"{"fate":"retry-after","ms":1500}"#));
    let delay = Duration::from_millis(1500);
    assert_eq!(
        returned(&later),
        (
            "busy",
            "asked to come again",
            Disposition::RetryAfter(delay)
        )
    );
    let snoozed = meet(Attempt::json(r#"{"fate":"snooze","ms":70}"#));
    assert_eq!(snoozed.outcome, Outcome::Snoozed(Duration::from_millis(70)));
}

/// S4
#[test]
fn a_payload_that_the_task_cannot_read_is_never_tried_again() {
    let execution = meet(Attempt::json(r#"{"fate":"marry"}"#));
    let failure = failure(&execution);
    assert_eq!(
        (&failure.kind, failure.disposition),
        (&FailureKind::InvalidPayload, Disposition::Reject)
    );
    assert!(
        failure.message.contains("unknown variant `marry`"),
        "{}",
        failure.message
    );
}

/// S4
#[test]
fn a_result_that_is_not_its_media_type_is_recorded_as_that() {
    let execution = meet(Attempt::fate("garbage"));
    assert_eq!(failure(&execution).kind, FailureKind::InvalidOutput);
    let message = &failure(&execution).message;
    assert_eq!(
        message,
        "the result is not `application/json`, as the task says"
    );
}

/// S4: strange words from a hostile guest end up short and harmless.
#[test]
fn what_a_failure_says_is_bounded_and_escaped() {
    // A rejection whose kind and message are the same 60,000 bytes of escape characters.
    let reject = r#"
        (memory.fill (i32.const 5000) (i32.const 27) (i32.const 60000))
        (i32.store8 (i32.const 4096) (i32.const 1)) (i32.store8 (i32.const 4104) (i32.const 2))
        (i32.store (i32.const 4112) (i32.const 5000)) (i32.store (i32.const 4116) (i32.const 60000))
        (i32.store (i32.const 4120) (i32.const 5000)) (i32.store (i32.const 4124) (i32.const 60000))
        (global.get $ok)"#;
    let execution = block_on(async {
        let program = program(&sandbox(2), &running(reject).component(), &[]).await;
        Attempt::json("{}").run(&program).await
    });
    let (code, message, _) = returned(&execution);
    assert!(
        code.len() < 256 && message.len() < 5_000,
        "{} {}",
        code.len(),
        message.len()
    );
    assert!(message.starts_with("\\u{1b}\\u{1b}") && message.ends_with("… (cut)"));
}

// === traps ===

/// S4
#[test]
fn a_panic_is_a_trap_with_a_backtrace_and_its_message_in_the_log() {
    let execution = meet(Attempt::fate("trap"));
    let FailureKind::Trapped { trap, backtrace } = &failure(&execution).kind else {
        panic!("not trapped: {execution:?}");
    };
    assert_eq!(trap, "wasm `unreachable` instruction executed");
    assert!((2..=20).contains(&backtrace.len()), "{backtrace:?}");
    assert!(backtrace[0].starts_with("0x"), "{backtrace:?}");
    let said = |line: &&stem_core::record::LogLine| line.message.contains("asked to panic");
    let line = execution
        .log
        .iter()
        .find(said)
        .expect("the panic's message");
    assert_eq!(line.level, LogLevel::Stderr);
}

/// S4
#[test]
fn a_task_that_ends_its_process_has_not_returned() {
    for (code, trap) in [(0, "exit with status 0"), (7, "exit with status 1")] {
        let execution = meet(Attempt::json(&format!(
            r#"{{"fate":"exit","code":{code}}}"#
        )));
        let FailureKind::Trapped { trap: found, .. } = &failure(&execution).kind else {
            panic!("not trapped: {execution:?}");
        };
        assert_eq!(found, trap);
        assert_eq!(
            failure(&execution).message,
            "the task ended its process instead of returning"
        );
    }
}

/// S4
#[test]
fn a_guest_that_breaks_the_calling_convention_is_recorded_as_trapped() {
    for broken in [
        "(i32.const -8)",
        "(i32.const 4097)",
        "(i32.store8 (i32.const 4096) (i32.const 9)) (global.get $ok)",
    ] {
        let execution = block_on(async {
            let program = program(&sandbox(2), &running(broken).component(), &[]).await;
            Attempt::json("{}").run(&program).await
        });
        assert!(
            matches!(failure(&execution).kind, FailureKind::Trapped { .. }),
            "{broken}: {execution:?}"
        );
    }
}

// === stopping ===

fn stopping(stop: Stop) -> (watch::Sender<Stop>, Attempt) {
    let (sender, signal) = watch::channel(stop);
    (sender, Attempt::fate("stop-when-asked").stopping(signal))
}

/// W5, W7
#[test]
fn a_task_that_stops_when_it_is_asked_ends_as_the_reason_says() {
    for (reason, outcome) in [
        (StopReason::Cancelled, Outcome::Cancelled),
        (
            StopReason::Shutdown,
            Outcome::Interrupted(Disruption::Shutdown),
        ),
        (
            StopReason::LeaseLost,
            Outcome::Interrupted(Disruption::LeaseLost),
        ),
    ] {
        let (_sender, attempt) = stopping(Stop::Asked(reason));
        let context = Arc::clone(&attempt.context);
        assert_eq!(meet(attempt).outcome, outcome);
        let saved = context.checkpoint.lock().expect("not poisoned").clone();
        assert!(saved.is_some(), "it saves a checkpoint before it stops");
    }
}

/// S3
#[test]
fn a_task_is_asked_to_stop_at_its_soft_limit_and_may_try_again() {
    let soft = [("soft-time-limit", "50ms")];
    let (_sender, attempt) = stopping(Stop::No);
    let execution = block_on(async { attempt.run(&misbehave(&soft).await).await });
    let (limit, allowed, used) = crate::common::crossed(&execution);
    assert_eq!((limit, allowed), (Limit::SoftTime, 50));
    assert!(
        used >= 50 && Duration::from_millis(used) < PATIENCE,
        "{used}"
    );
    assert_eq!(failure(&execution).disposition, Disposition::Retry);
}

/// S3, W7: whether its own soft limit or somebody outside asks.
#[test]
fn a_task_that_does_not_stop_when_it_is_asked_is_ended_at_its_hard_limit() {
    let limits = [("soft-time-limit", "50ms"), ("hard-time-limit", "200ms")];
    let misbehave = block_on(misbehave(&limits));
    for stop in [Stop::No, Stop::Asked(StopReason::Cancelled)] {
        let (_sender, signal) = watch::channel(stop);
        let spinning = Attempt::fate("spin").stopping(signal);
        let execution = block_on(spinning.run(&misbehave));
        let (limit, allowed, used) = crate::common::crossed(&execution);
        assert_eq!((limit, allowed), (Limit::HardTime, 200), "{stop:?}");
        assert!(used >= 200 && execution.usage.wall < PATIENCE, "{used}");
    }
}

const LOAD: &str =
    r#"(import "stem:task/context@0.1.0" "load-checkpoint" (func $load (param i32)))"#;

/// A guest that asks for its checkpoint and then loops for ever.
fn endless() -> Hostile {
    running("(call $load (i32.const 8192)) (loop (br 0)) (unreachable)").importing("", "", LOAD)
}

/// W7: also when the guest waits inside the host for what never comes.
#[test]
fn a_task_that_is_told_to_end_now_is_ended_whatever_it_does() {
    for is_stuck in [false, true] {
        let (sender, signal) = watch::channel(Stop::No);
        let attempt = Attempt::json("{}").stopping(signal);
        let context = Arc::clone(&attempt.context);
        context.is_stuck.store(is_stuck, Ordering::SeqCst);
        let execution = block_on(async {
            let program = program(&sandbox(1), &endless().component(), &[]).await;
            let ender = async {
                context.asked.notified().await;
                sender.send_replace(Stop::Now(StopReason::Cancelled));
            };
            futures::join!(attempt.run(&program), ender).0
        });
        assert_eq!(execution.outcome, Outcome::Cancelled);
        assert!(execution.usage.wall < PATIENCE, "{:?}", execution.usage);
    }
}

/// S3: what has ended while it waited is not run again.
#[test]
fn a_task_that_was_ended_while_it_waited_does_not_go_on() {
    let module = running("(call $load (i32.const 8192)) (global.get $ok)").importing("", "", LOAD);
    let (sender, signal) = watch::channel(Stop::No);
    let attempt = Attempt::json("{}").stopping(signal);
    let context = Arc::clone(&attempt.context);
    context.is_stuck.store(true, Ordering::SeqCst);
    let execution = block_on(async {
        let program = program(&sandbox(1), &module.component(), &[]).await;
        let ender = async {
            context.asked.notified().await;
            sender.send_replace(Stop::Now(StopReason::Cancelled));
            context.answer.notify_one();
        };
        futures::join!(attempt.run(&program), ender).0
    });
    assert_eq!(execution.outcome, Outcome::Cancelled);
}

/// W7
#[test]
fn a_task_that_stops_unasked_has_failed() {
    let stopped = "(i32.store8 (i32.const 4096) (i32.const 1)) (i32.store8 (i32.const 4104) (i32.const 4)) (global.get $ok)";
    let execution = block_on(async {
        let program = program(&sandbox(2), &running(stopped).component(), &[]).await;
        Attempt::json("{}").run(&program).await
    });
    let message = "the task stopped without being asked to";
    assert_eq!(
        returned(&execution),
        ("stopped", message, Disposition::Retry)
    );
}

// === what goes in and comes out ===

/// S1: the attempt after a failure finds what it saved, and nothing else.
#[test]
fn a_checkpoint_goes_from_one_attempt_to_the_next() {
    let context = Arc::new(Kept::default());
    let attempt = || Attempt {
        context: Arc::clone(&context),
        ..Attempt::fate("checkpoint")
    };
    assert_eq!(returned(&meet(attempt())).0, "unlucky");
    assert_eq!(result(&meet(attempt())), r#"{"saved_by_attempt":1}"#);
}

/// S8
#[test]
fn an_attempt_is_given_its_payload_and_says_what_it_used() {
    let execution = block_on(async {
        let program = crate::common::noop(&sandbox(2)).await;
        let mut attempt = Attempt::json("{}");
        attempt.payload = Payload::new("image/png", vec![0x89; 100_000]);
        attempt.headers.insert(
            HeaderName::new("tenant").expect("a good name"),
            "a".to_owned(),
        );
        attempt.run(&program).await
    });
    assert_eq!(
        execution.outcome,
        Outcome::Succeeded(Payload::new("image/png", vec![0x89; 100_000]))
    );
    let usage = execution.usage;
    assert!(
        usage.cpu > Duration::ZERO && usage.wall < PATIENCE,
        "{usage:?}"
    );
    assert!(
        (100_000..2 << 20).contains(&usage.peak_memory_bytes),
        "{usage:?}"
    );
    assert_eq!(usage.fuel, None);
}

/// S7
#[test]
fn progress_reaches_the_host() {
    let execution = block_on(async {
        let program = program(&sandbox(2), &guest("word_count"), &[]).await;
        let attempt = Attempt::json(r#"{"text":"a b a"}"#);
        let context = Arc::clone(&attempt.context);
        let execution = attempt.run(&program).await;
        let progress = context.progress.lock().expect("not poisoned").clone();
        assert_eq!(progress, [(1.0, "2 different words".to_owned())]);
        execution
    });
    assert_eq!(result(&execution), r#"{"a":2,"b":1}"#);
}
