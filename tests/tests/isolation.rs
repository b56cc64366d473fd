//! A guest that does its worst is recorded as what it is, while a hundred neighbours succeed.

use serde_json::{Value, json};
use stem_tests::host::TestHost;

const NEIGHBOURS: usize = 100;

/// Runs guests of one fate among a hundred neighbours on one worker, and gives how the first of them ended.
fn amid_neighbours(fate: &Value) -> Value {
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
    host.outcome(&bad[0])
}

/// S3: hard time.
#[test]
fn a_guest_that_loops_for_ever_is_ended_at_its_limit() {
    let outcome = amid_neighbours(&json!({"fate": "spin"}));
    assert_eq!(outcome["error"]["kind"], "limit", "{outcome}");
    assert_eq!(outcome["error"]["limit"], "hard-time");
    assert_eq!(outcome["error"]["allowed"], 1_000);
}

/// S3: memory.
#[test]
fn a_guest_that_takes_memory_without_end_is_ended_at_its_limit() {
    let outcome = amid_neighbours(&json!({"fate": "hog"}));
    assert_eq!(outcome["error"]["kind"], "limit", "{outcome}");
    assert_eq!(outcome["error"]["limit"], "memory");
    assert_eq!(outcome["error"]["allowed"], 16 << 20);
}

/// S4
#[test]
fn a_guest_that_panics_is_recorded_as_trapped() {
    let outcome = amid_neighbours(&json!({"fate": "trap"}));
    assert_eq!(outcome["error"]["kind"], "trapped", "{outcome}");
    assert!(
        outcome["attempts"][0]["log"]
            .to_string()
            .contains("asked to panic"),
        "{outcome}"
    );
}

/// S3: stack.
#[test]
fn a_guest_that_calls_itself_without_end_is_recorded_as_that() {
    let outcome = amid_neighbours(&json!({"fate": "recursion"}));
    assert_eq!(outcome["state"], "failed");
    assert!(
        ["limit", "trapped"].contains(&outcome["error"]["kind"].as_str().unwrap_or_default()),
        "{outcome}"
    );
}

/// S7: what is not kept is counted.
#[test]
fn a_guest_that_floods_its_output_succeeds_and_its_log_is_cut() {
    let outcome = amid_neighbours(&json!({"fate": "flood", "bytes": 1 << 20}));
    assert_eq!(outcome["state"], "succeeded", "{outcome}");
    let log = outcome["attempts"][0]["log"].to_string();
    assert!(
        log.len() > 1_000 && log.len() < 1 << 20,
        "{} bytes",
        log.len()
    );
}

/// S3: output.
#[test]
fn a_guest_that_returns_too_much_is_recorded_as_that() {
    let outcome = amid_neighbours(&json!({"fate": "big-output", "bytes": 2 << 20}));
    assert_eq!(outcome["error"]["kind"], "limit", "{outcome}");
    assert_eq!(outcome["error"]["limit"], "output");
}

/// S4
#[test]
fn a_guest_that_returns_garbage_is_recorded_as_that() {
    let outcome = amid_neighbours(&json!({"fate": "garbage"}));
    assert_eq!(outcome["error"]["kind"], "invalid-output", "{outcome}");
}

/// S1: what an attempt leaves behind is not there for the next one.
#[test]
fn a_guest_that_ends_its_own_process_ends_nobody_elses() {
    let outcome = amid_neighbours(&json!({"fate": "exit", "code": 3}));
    assert_eq!(outcome["state"], "failed", "{outcome}");
    assert_eq!(outcome["error"]["kind"], "trapped", "{outcome}");
}
