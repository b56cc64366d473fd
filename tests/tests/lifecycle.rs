//! The life of an envelope as its producer sees it: enqueued, run, tried again, set aside, replayed.

use std::time::Duration;

use serde_json::{Value, json};
use stem_tests::host::{TestHost, renamed_guest, text};

/// The values of one field over all attempts.
fn of_attempts(outcome: &Value, field: &str) -> Vec<Value> {
    let attempts = outcome["attempts"].as_array().into_iter().flatten();
    attempts.map(|attempt| attempt[field].clone()).collect()
}

fn misbehaving() -> TestHost {
    TestHost::new().with_deployed(&["misbehave"])
}

/// M1, R5
#[test]
fn a_deployed_task_runs_and_its_result_comes_back() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let _worker = host.worker(&[]);
    let payload = r#"{"text":"a b a"}"#;
    let result = host.ok(&["enqueue", "word-count", "--payload", payload, "--wait"]);
    assert_eq!(result, r#"{"a":2,"b":1}"#);
}

/// R3: the end came before the wait.
#[test]
fn a_wait_sees_an_end_that_came_before_it() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let worker = host.worker(&[]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    host.until_state(&id, "succeeded");
    worker.kill();
    assert_eq!(host.outcome(&id)["result"], json!({"a": 1}));
}

/// R5
#[test]
fn a_record_shows_what_an_attempt_used_and_where_it_ran() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let _worker = host.worker(&["--name", "first-worker"]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    let outcome = host.outcome(&id);
    let attempt = &outcome["attempts"][0];
    assert_eq!(attempt["worker"], "first-worker");
    let numbers = (&attempt["number"], &attempt["delivery"]);
    assert_eq!(numbers, (&json!(1), &json!(1)));
    assert_eq!(text(&attempt["module"]).len(), 64);
    assert!(attempt["peak_memory_bytes"].as_u64() > Some(0), "{attempt}");
    let (enqueued, ended) = (&outcome["enqueued_at"], &outcome["ended_at"]);
    assert!(enqueued.as_str() <= ended.as_str(), "{outcome}");
}

/// W3, W4
#[test]
fn a_task_that_fails_twice_succeeds_on_its_third_attempt() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = host.enqueue("misbehave", &json!({"fate": "fail-times", "times": 2}), &[]);
    let outcome = host.outcome(&id);
    assert_eq!(outcome["state"], "succeeded");
    assert_eq!(of_attempts(&outcome, "number"), [1, 2, 3]);
    assert_eq!(
        of_attempts(&outcome, "outcome"),
        ["failed", "failed", "succeeded"]
    );
}

/// B5: a snooze charges no attempt.
#[test]
fn a_task_that_snoozes_keeps_its_attempt() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = host.enqueue(
        "misbehave",
        &json!({"fate": "snooze", "ms": 50, "times": 2}),
        &[],
    );
    let outcome = host.outcome(&id);
    assert_eq!(of_attempts(&outcome, "number"), [1, 1, 1]);
    assert_eq!(
        of_attempts(&outcome, "outcome"),
        ["snoozed", "snoozed", "succeeded"]
    );
}

/// B10: a replay begins a new generation, and attempts start again.
#[test]
fn a_dead_letter_lives_again_when_it_is_replayed() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let fate = json!({"fate": "fail"});
    let id = host.enqueue("misbehave", &fate, &["--max-attempts", "2"]);
    assert_eq!(host.outcome(&id)["state"], "failed");
    let dead = host.json(&["dlq", "list"])[0].clone();
    let why = (&dead["id"], &dead["reason"]);
    assert_eq!(why, (&json!(id), &json!("attempts-exhausted")));
    host.ok(&["dlq", "replay", &id]);
    host.until("it is dead again", |host| {
        host.json(&["dlq", "list"])[0]["generation"] == 2
    });
    assert_eq!(of_attempts(&host.outcome(&id), "number"), [1, 2, 1, 2]);
}

/// W3
#[test]
fn a_rejected_envelope_is_dead_at_once() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = host.enqueue("misbehave", &json!({"fate": "reject"}), &[]);
    let outcome = host.outcome(&id);
    assert_eq!(outcome["error"]["kind"], "returned");
    assert_eq!(of_attempts(&outcome, "number"), [1]);
    assert_eq!(host.json(&["dlq", "list"])[0]["reason"], "rejected");
}

/// B10: a dry run counts, a purge removes.
#[test]
fn purged_dead_letters_are_gone() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = host.enqueue("misbehave", &json!({"fate": "reject"}), &[]);
    host.outcome(&id);
    let counted = host.json(&["dlq", "purge", "--task", "misbehave", "--dry-run"]);
    assert_eq!(
        (&counted["matched"], &counted["purged"]),
        (&json!(1), &json!(0))
    );
    host.ok(&["dlq", "purge", "--task", "misbehave", "--yes"]);
    assert_eq!(host.json(&["dlq", "list"]), json!([]));
}

/// E6
#[test]
fn an_unknown_task_that_was_enqueued_unchecked_becomes_a_dead_letter() {
    let host = TestHost::new();
    let _worker = host.worker(&[]);
    let id = host.enqueue("nobody", &json!({}), &["--unchecked"]);
    let outcome = host.outcome(&id);
    assert_eq!(
        (&outcome["state"], &outcome["error"]["kind"]),
        (&json!("failed"), &json!("unknown-task"))
    );
    assert_eq!(host.json(&["dlq", "list"])[0]["reason"], "unknown-task");
}

/// E6: any text is one string to the schema, as it is to the task.
#[test]
fn text_goes_to_a_task_that_takes_a_string_and_nothing_else_does() {
    let host = TestHost::new().with_deployed(&["csv-report"]);
    let _worker = host.worker(&[]);
    let file = format!("@{}", host.write("people.csv", "name,age\nAda,36\n"));
    let report = host.json(&["enqueue", "csv-report", "--payload", &file, "--wait"]);
    assert_eq!(report["result"]["rows"], 1);
    let refused = host.run(&["enqueue", "csv-report", "--payload", r#"{"rows": 1}"#]);
    assert_eq!(refused.code, 5, "{refused:?}");
}

/// A checkpoint outlives the attempt that saved it.
#[test]
fn the_second_attempt_finds_what_the_first_one_saved() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = host.enqueue("misbehave", &json!({"fate": "checkpoint"}), &[]);
    assert_eq!(host.outcome(&id)["result"], json!({"saved_by_attempt": 1}));
}

/// B6: at or after its time.
#[test]
fn a_delayed_envelope_waits_for_its_time() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let _worker = host.worker(&[]);
    let began = stem_tests::host::now();
    let id = host.enqueue("word-count", &json!({"text": "a"}), &["--delay", "1s"]);
    assert_eq!(host.state(&id), "scheduled");
    assert_eq!(host.outcome(&id)["state"], "succeeded");
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

/// B7
#[test]
fn a_higher_priority_goes_first() {
    let host = misbehaving();
    let nap = json!({"fate": "sleep", "ms": 30});
    let low = host.enqueue("misbehave", &nap, &[]);
    let high = host.enqueue("misbehave", &nap, &["--priority", "9"]);
    let _worker = host.worker(&["--concurrency", "1"]);
    let time = |id: &str, field: &str| text(&of_attempts(&host.outcome(id), field)[0]);
    assert!(time(&high, "ended_at") <= time(&low, "started_at"));
}

/// B14
#[test]
fn namespaces_on_one_file_never_see_each_other() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    assert_eq!(
        host.json(&["task", "list", "--namespace", "other"]),
        json!([])
    );
    assert_eq!(
        host.json(&["queue", "list", "--namespace", "other"]),
        json!([])
    );
    assert_eq!(host.run(&["result", &id, "--namespace", "other"]).code, 1);
    assert_eq!(host.state(&id), "queued");
}

/// M3: what runs finishes on the old version, what comes later runs on the new one.
#[test]
fn a_new_version_is_picked_up_while_attempts_of_the_old_one_run() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let old = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 2_500}), &[]);
    host.until_state(&old, "running");
    let module = host.write("misbehave.wasm", renamed_guest("misbehave"));
    let digest = host.json(&["deploy", &module])["digest"].clone();
    let new_digest = |host: &TestHost| {
        let id = host.enqueue("misbehave", &json!({"fate": "succeed"}), &[]);
        of_attempts(&host.outcome(&id), "module") == [digest.clone()]
    };
    host.until("the new version runs", new_digest);
    assert_eq!(host.outcome(&old)["state"], "succeeded");
    assert_ne!(of_attempts(&host.outcome(&old), "module"), [digest]);
}

/// A host whose records lie on a second file.
fn with_a_second_store() -> TestHost {
    let host = TestHost::new();
    let results = format!("sqlite:{}", host.path("results.db").display());
    host.with("STEM_RESULT_BACKEND_URL", results)
        .with_deployed(&["misbehave"])
}

/// R2: broker on one file, records on another.
#[test]
fn the_results_may_lie_in_a_second_store() {
    let host = with_a_second_store();
    let _worker = host.worker(&[]);
    let good = host.enqueue("misbehave", &json!({"fate": "fail-times", "times": 1}), &[]);
    let bad = host.enqueue("misbehave", &json!({"fate": "reject"}), &[]);
    assert_eq!(host.outcome(&good)["state"], "succeeded");
    assert_eq!(host.outcome(&bad)["state"], "failed");
    let alone = host.with("STEM_RESULT_BACKEND_URL", "");
    let code = alone.run(&["result", &good]).code;
    assert_eq!(code, 1, "the broker keeps no records");
    assert_eq!(alone.json(&["dlq", "list"])[0]["id"], json!(bad));
}
