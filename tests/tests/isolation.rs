//! A guest that does its worst is recorded as what it is, while a hundred neighbours succeed.

use serde_json::{Value, json};
use stem_tests::host::TestHost;

const NEIGHBOURS: usize = 100;

/// Runs guests of one fate among a hundred neighbours on one worker, and gives how they ended.
fn amid_neighbours(fate: &Value) -> Vec<Value> {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.deploy("misbehave", &["--hard", "1s", "--memory", "16MiB"]);
    let bad: Vec<String> = (0..4)
        .map(|_| host.enqueue("misbehave", fate, &["--max-attempts", "1"]))
        .collect();
    let texts = (0..NEIGHBOURS).map(|number| json!({"text": format!("n{number}")}));
    let neighbours = host.enqueue_each("word-count", texts);
    let _worker = host.worker(&["--concurrency", "8"]);
    let is_good = |id: &&String| host.outcome(id)["state"] == "succeeded";
    assert_eq!(neighbours.iter().filter(is_good).count(), NEIGHBOURS);
    bad.iter().map(|id| host.outcome(id)).collect()
}

/// Each of them failed with these fields in its error.
fn assert_all_failed(outcomes: &[Value], error: &Value) {
    let fields = error.as_object().expect("an object");
    for outcome in outcomes {
        assert_eq!(outcome["state"], "failed", "{outcome}");
        for (name, value) in fields {
            assert_eq!(&outcome["error"][name], value, "{outcome}");
        }
    }
}

/// S3: hard time.
#[test]
fn a_guest_that_loops_for_ever_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "spin"}));
    let error = json!({"kind": "limit", "limit": "hard-time", "allowed": 1_000});
    assert_all_failed(&outcomes, &error);
}

/// S3: memory.
#[test]
fn a_guest_that_takes_memory_without_end_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "hog"}));
    let error = json!({"kind": "limit", "limit": "memory", "allowed": 16 << 20});
    assert_all_failed(&outcomes, &error);
}

/// S4
#[test]
fn a_guest_that_panics_is_recorded_as_trapped() {
    let outcomes = amid_neighbours(&json!({"fate": "trap"}));
    assert_all_failed(&outcomes, &json!({"kind": "trapped"}));
    for outcome in outcomes {
        let log = outcome["attempts"][0]["log"].to_string();
        assert!(log.contains("asked to panic"), "{outcome}");
    }
}

/// S3: stack.
#[test]
fn a_guest_that_calls_itself_without_end_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "recursion"}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "stack"}));
}

/// S7: what is not kept is counted.
#[test]
fn a_guest_that_floods_its_output_succeeds_and_its_log_is_cut() {
    for outcome in amid_neighbours(&json!({"fate": "flood", "bytes": 1 << 20})) {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        let attempt = &outcome["attempts"][0];
        let kept = attempt["log"].to_string().len();
        assert!(kept > 1_000 && kept < 1 << 20, "{kept} bytes");
        assert!(attempt["log_dropped"].as_u64() > Some(0), "{attempt}");
    }
}

/// S3: output.
#[test]
fn a_guest_that_returns_too_much_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "big-output", "bytes": 2 << 20}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "output"}));
}

/// S4
#[test]
fn a_guest_that_returns_garbage_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "garbage"}));
    assert_all_failed(&outcomes, &json!({"kind": "invalid-output"}));
}

/// S1: what an attempt leaves behind is not there for the next one.
#[test]
fn a_guest_that_ends_its_own_process_ends_nobody_elses() {
    let outcomes = amid_neighbours(&json!({"fate": "exit", "code": 3}));
    assert_all_failed(&outcomes, &json!({"kind": "trapped"}));
}
