//! What a guest may enqueue, and what becomes of one that asks for too much, or in an odd way (S2, S3).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::hostile::{Hostile, enqueueing};
use crate::common::{Attempt, Kept, PATIENCE, block_on, crossed, guest, result, sandbox};
use bytes::Bytes;
use stem_core::children::Child;
use stem_core::executor::{Execution, Program};
use stem_core::grants::{Capability, Grants};
use stem_core::outcome::Limit;
use stem_core::payload::Payload;
use stem_sandbox::Overrides;

fn granting(tasks: &[&str]) -> Grants {
    let globs = tasks.iter().map(|glob| glob.parse().expect("a pattern"));
    Grants {
        enqueue: globs.collect(),
        ..Grants::default()
    }
}

/// A module's first task with these grants and settings.
async fn granted(module: &Bytes, grants: Grants, settings: &[(&str, &str)]) -> Arc<dyn Program> {
    let sandbox = sandbox(2);
    let mut overrides = Overrides::default();
    overrides.grant(grants);
    for (key, value) in settings {
        overrides.set(key, value).expect("a good setting");
    }
    let inspected = sandbox.inspect(module, &overrides).await;
    let mut inspected = inspected.expect("a good module");
    let (task, grants) = (inspected.tasks.remove(0), inspected.grants);
    let program = sandbox.program(module, task, &grants).await;
    program.expect("a good module")
}

/// Runs a module written by hand; gives how it went, and what was asked to be enqueued, call by call.
fn run(
    module: &Hostile,
    grants: Grants,
    settings: &[(&str, &str)],
) -> (Execution, Vec<Vec<Child>>) {
    let attempt = Attempt::json("{}");
    let kept = Arc::clone(&attempt.context);
    let execution = block_on(async {
        let program = granted(&module.component(), grants, settings).await;
        attempt.run(&program).await
    });
    (execution, enqueued(&kept))
}

fn enqueued(kept: &Kept) -> Vec<Vec<Child>> {
    kept.enqueued.lock().expect("not poisoned").clone()
}

const ONCE: &str = "(call $ask (i32.const 1)) (call $answer)";

/// S2
#[test]
fn a_granted_task_is_enqueued_and_its_id_given() {
    let (execution, calls) = run(&enqueueing(ONCE), granting(&["word-*"]), &[]);
    assert_eq!(result(&execution).len(), 36);
    let child = &calls[0][0];
    assert_eq!(child.request.task.as_str(), "word-count");
    assert_eq!(child.key.as_deref(), Some("key"));
    let payload = Payload::new("application/json", r#"{"text":"a b"}"#);
    assert_eq!(child.request.payload, payload);
}

/// S2: also where calls are stubbed.
#[test]
fn what_is_not_granted_is_refused_and_nobody_asked() {
    let stubbed = Grants {
        stubs: [Capability::Enqueue].into(),
        ..granting(&["word-count"])
    };
    for grants in [granting(&["words.*", "other"]), stubbed] {
        let (execution, calls) = run(&enqueueing(ONCE), grants, &[]);
        assert_eq!((result(&execution), calls.len()), (String::new(), 0));
    }
}

/// S3: what is not granted costs the host no reading.
#[test]
fn of_what_is_not_granted_nothing_else_is_looked_at() {
    let headers = "(i32.const 131072) (i32.const 100000)";
    let (execution, calls) = run(&odd(NONE, headers, NONE), granting(&["other"]), &[]);
    assert_eq!((result(&execution), calls.len()), (String::new(), 0));
}

/// S3: a name that long is like no other.
#[test]
fn an_option_of_a_megabyte_is_refused_at_once() {
    let name = "(i32.store (i32.const 8272) (i32.const 131072)) (i32.store (i32.const 8276) (i32.const 7000000))";
    let module = odd(NONE, NONE, "(i32.const 8272) (i32.const 1)");
    let module = Hostile {
        run: format!("{name} {}", module.run),
        ..module
    };
    let (execution, _) = run(&module, granting(&["*"]), &[]);
    let refused = result(&execution);
    assert!(refused.starts_with("unknown option `\\u{0}"), "{refused}");
    assert!(execution.usage.cpu < PATIENCE, "{:?}", execution.usage.cpu);
}

/// S3
#[test]
fn requests_beyond_the_limit_are_refused_and_nobody_asked() {
    let five = "(call $ask (i32.const 0))".repeat(5) + "(call $answer)";
    let limit = [("enqueue-limit", "3")];
    let (execution, calls) = run(&enqueueing(&five), granting(&["*"]), &limit);
    let refused = "over the limit of 3 requests of an attempt";
    assert_eq!((result(&execution).as_str(), calls.len()), (refused, 3));
    let size = [("enqueue-size-limit", "100")];
    let (execution, calls) = run(&enqueueing(&five), granting(&["*"]), &size);
    let refused = "over the limit of 100 bytes in all requests of an attempt";
    assert_eq!((result(&execution).as_str(), calls.len()), (refused, 2));
}

/// S3: hard time, and no more work for the host than the limit allows.
#[test]
fn a_guest_that_enqueues_for_ever_is_ended_and_was_heard_a_thousand_times() {
    let bomb = "(loop (call $ask (i32.const 0)) (call $forget) (br 0)) (unreachable)";
    let hard = [("hard-time-limit", "500ms")];
    let (execution, calls) = run(&enqueueing(bomb), granting(&["*"]), &hard);
    assert_eq!(crossed(&execution).0, Limit::HardTime);
    assert_eq!(calls.len(), 1_000);
}

/// Room for a large call and its answer: 16 MiB from the third page on, all zeros.
const GROW: &str = "(drop (memory.grow (i32.const 256)))";

/// Asks for so many at once, all of them without a name, and answers with what is said of this one.
fn asking_for(many: u32, answered: u32) -> Hostile {
    let place = |field: u32| {
        let offset = answered * 16 + field;
        format!("(i32.load offset={offset} (i32.load (i32.const 8704)))")
    };
    enqueueing(&format!(
        "{GROW} (call $submit-all (i32.const 131072) (i32.const {many}) (i32.const 8704))
        (i32.store (i32.const 8712) {}) (i32.store (i32.const 8716) {})
        (i32.store8 (i32.const 8704) (i32.const 1)) (call $answer)",
        place(8),
        place(12)
    ))
}

/// S3, E5
#[test]
fn requests_of_one_call_are_answered_one_by_one() {
    let nameless = "`` is no task name: use 1 to 128 of A-Z a-z 0-9 . _ - : /";
    let refused = "over the limit of 1000 requests of an attempt";
    for (answered, said) in [
        (0, nameless),
        (999, nameless),
        (1_000, refused),
        (1_999, refused),
    ] {
        let (execution, calls) = run(&asking_for(2_000, answered), granting(&["*"]), &[]);
        assert_eq!((result(&execution).as_str(), calls.len()), (said, 0));
    }
}

/// S3
#[test]
fn a_hundred_thousand_requests_in_one_call_end_the_guest() {
    let (execution, calls) = run(&asking_for(100_000, 0), granting(&["*"]), &[]);
    assert_eq!(crossed(&execution), (Limit::HostResources, 10_000, 100_000));
    assert_eq!(calls.len(), 0);
}

/// One request whose parts lie and are as long as this says: payload, headers, options.
fn odd(body: &str, headers: &str, options: &str) -> Hostile {
    let submit = format!(
        "(call $submit (i32.const 8192) (i32.const 10) (i32.const 8208) (i32.const 16) {body}
          (i32.const 0) (i32.const 0) (i32.const 0) {headers} {options} (i32.const 8704)) (call $answer)"
    );
    enqueueing(&format!("{GROW} {submit}"))
}

const NONE: &str = "(i32.const 0) (i32.const 0)";

/// S3, E3
#[test]
fn a_huge_payload_is_refused() {
    let huge = odd("(i32.const 131072) (i32.const 9437184)", NONE, NONE);
    let (execution, calls) = run(&huge, granting(&["*"]), &[]);
    let refused = "over the limit of 8 MiB in all requests of an attempt";
    assert_eq!((result(&execution).as_str(), calls.len()), (refused, 0));
}

/// S3
#[test]
fn a_payload_that_the_host_will_not_copy_ends_the_guest() {
    let huge = odd("(i32.const 0) (i32.const 20000000)", NONE, NONE);
    let huge = Hostile {
        run: huge.run.replace("(i32.const 256)", "(i32.const 400)"),
        ..huge
    };
    let (execution, _) = run(&huge, granting(&["*"]), &[]);
    assert_eq!(crossed(&execution).0, Limit::HostResources);
}

/// E5
#[test]
fn a_long_list_of_headers_is_refused() {
    let headers = "(i32.const 131072) (i32.const 100000)";
    let (execution, calls) = run(&odd(NONE, headers, NONE), granting(&["*"]), &[]);
    let refused = "100000 headers, over the limit of 64";
    assert_eq!((result(&execution).as_str(), calls.len()), (refused, 0));
}

/// S7: what a refusal quotes can steer no terminal, however the guest passes it on.
#[test]
fn an_option_of_escape_sequences_is_refused_harmlessly_and_in_few_words() {
    let name = "(i32.store (i32.const 8272) (i32.const 8320)) (i32.store (i32.const 8276) (i32.const 10000))
        (i32.store (i32.const 8320) (i32.const 0x4a325b1b))";
    let module = odd(NONE, NONE, "(i32.const 8272) (i32.const 1)");
    let module = Hostile {
        run: format!("{name} {}", module.run),
        ..module
    };
    let (execution, calls) = run(&module, granting(&["*"]), &[]);
    let refused = result(&execution);
    assert!(
        refused.starts_with("unknown option `\\u{1b}[2J"),
        "{refused}"
    );
    assert!(refused.len() < 2_000 && !refused.contains(char::is_control));
    assert_eq!(calls.len(), 0);
}

/// S3: hard time, while the store does not answer.
#[test]
fn a_guest_whose_request_is_not_answered_is_ended_at_its_hard_limit() {
    let attempt = Attempt::json("{}");
    attempt.context.is_stuck.store(true, Ordering::SeqCst);
    let execution = block_on(async {
        let hard = [("hard-time-limit", "200ms")];
        let module = enqueueing(ONCE).component();
        let program = granted(&module, granting(&["*"]), &hard).await;
        attempt.run(&program).await
    });
    assert_eq!(crossed(&execution).0, Limit::HardTime);
    assert!(execution.usage.wall < Duration::from_millis(200) + PATIENCE);
}

/// S2
#[test]
fn a_guest_imports_what_it_uses_and_no_more() {
    let names = |guest: Bytes| String::from_utf8_lossy(&guest).contains("stem:task/enqueue");
    assert!(names(guest("fan_out")));
    assert!(!names(guest("word_count")) && !names(guest("misbehave")));
}

/// B15
#[test]
fn a_guest_of_the_sdk_enqueues_its_rows_in_batches_with_their_keys() {
    let rows: String = (1..=600).map(|row| format!("o{row},{row}\n")).collect();
    let mut attempt = Attempt::json("");
    attempt.payload = Payload::new("text/csv", format!("order,cents\n{rows}"));
    let kept = Arc::clone(&attempt.context);
    let execution = block_on(async {
        let program = granted(&guest("fan_out"), granting(&["fan-out.*"]), &[]).await;
        attempt.run(&program).await
    });
    assert_eq!(result(&execution), r#"{"rows":600}"#);
    let calls = enqueued(&kept);
    let sizes: Vec<usize> = calls.iter().map(Vec::len).collect();
    assert_eq!(sizes, [250, 250, 100]);
    assert_eq!(calls[2][99].key.as_deref(), Some("row-600"));
}
