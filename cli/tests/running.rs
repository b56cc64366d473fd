//! Waiting, results, dead letters and cancellations, with a worker in another process.

mod support;

use serde_json::{Value, json};
use support::{Host, guest};

fn misbehave(host: &Host, fate: &Value, flags: &[&str]) -> String {
    let fate = fate.to_string();
    let arguments = ["enqueue", "misbehave", "--payload", fate.as_str()];
    host.ok(&[&arguments[..], flags].concat())
}

/// The keys of a JSON object, sorted.
fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// R5
#[test]
fn a_waiting_producer_gets_the_result() {
    let host = Host::with(&["word-count"]);
    let _worker = host.worker();
    let payload = r#"{"text":"a b a"}"#;
    let arguments = ["enqueue", "word-count", "--payload", payload, "--wait"];
    assert_eq!(host.ok(&arguments), r#"{"a":2,"b":1}"#);
    let shown = host.json(&arguments);
    assert_eq!(
        (&shown["state"], &shown["result"]),
        (&json!("succeeded"), &json!({"a": 2, "b": 1}))
    );
    assert_eq!(
        keys(&shown),
        [
            "attempts",
            "ended_at",
            "enqueued_at",
            "error",
            "id",
            "progress",
            "queue",
            "result",
            "state",
            "task",
        ]
    );
}

/// S4
#[test]
fn an_awaited_task_that_fails_ends_with_its_error_and_exit_code_1() {
    let host = Host::with(&["misbehave"]);
    let _worker = host.worker();
    let arguments = [
        "enqueue",
        "misbehave",
        "--payload",
        r#"{"fate":"reject"}"#,
        "--wait",
    ];
    let answer = host.run(&arguments);
    answer.assert(1, "it has failed: returned: ");
    assert_eq!(answer.stdout, "");
}

#[test]
fn a_wait_that_runs_out_ends_with_exit_code_4_and_shows_how_far_it_came() {
    let host = Host::with(&["word-count"]);
    let payload = r#"{"text":"a"}"#;
    let wait = ["--wait", "--timeout", "100ms", "--json"];
    let enqueue = ["enqueue", "word-count", "--payload", payload];
    let answer = host.run(&[&enqueue[..], &wait].concat());
    answer.assert(4, "it is queued after 100ms");
    let shown: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!(shown["state"], "queued");
    let id = shown["id"].as_str().expect("text");
    let again = host.run(&[&["result", id][..], &wait].concat());
    again.assert(4, "it is queued after 100ms");
    assert_eq!(again.stdout, answer.stdout);
}

#[test]
fn a_result_may_be_written_to_a_file() {
    let host = Host::with(&["noop"]);
    let _worker = host.worker();
    let bytes = [0x89, b'P', b'N', b'G', 0, 0xff];
    let picture = format!("@{}", host.write("in.png", bytes));
    let enqueue = ["enqueue", "noop", "--payload", &picture, "--wait"];
    let answer = host.ok(&[&enqueue[..], &["--output", "one.png"]].concat());
    assert_eq!(answer, "");
    let shown = host.json(&[&enqueue[..], &["--output", "two.png"]].concat());
    let id = shown["id"].as_str().expect("text");
    let looked_up = host.json(&["result", id, "--output", "three.png"]);
    assert_eq!(looked_up, shown);
    for file in ["one.png", "two.png", "three.png"] {
        assert_eq!(std::fs::read(host.path(file)).expect("written"), bytes);
    }
}

/// R4
#[test]
fn where_there_is_no_result_no_file_is_written_and_that_is_said() {
    let host = Host::new();
    let policy = host.write("p.toml", "[defaults]\nresult-retention = \"0s\"\n");
    let module = guest("noop").display().to_string();
    host.ok(&["deploy", &module, "--policy", &policy]);
    let id = host.ok(&["enqueue", "noop"]);
    host.run(&["result", &id, "--output", "out"]).assert(
        1,
        &format!("write to `out` the result of {id}: it is queued"),
    );
    let _worker = host.worker();
    host.run(&["enqueue", "noop", "--wait", "--output", "out"])
        .assert(1, "its task keeps no results");
    assert!(!host.path("out").exists());
}

/// R5
#[test]
fn a_person_sees_state_attempts_log_and_error() {
    let host = Host::with(&["misbehave"]);
    let _worker = host.worker();
    let id = misbehave(&host, &json!({"fate": "reject"}), &[]);
    let answer = host.run(&["result", &id, "--wait"]);
    answer.assert(1, "it has failed");
    for said in ["state", "failed", "ATTEMPT", "OUTCOME", "returned"] {
        assert!(answer.stdout.contains(said), "no `{said}` in {answer:?}");
    }
    assert!(
        !answer.stdout.contains('\u{1b}'),
        "colour without a terminal"
    );
}

/// B10
#[test]
fn dead_letters_are_listed_shown_replayed_and_purged() {
    let host = Host::with(&["misbehave"]);
    let _worker = host.worker();
    let id = misbehave(&host, &json!({"fate": "reject"}), &["--header", "tenant=a"]);
    host.run(&["result", &id, "--wait"]).assert(1, "failed");
    let listed = host.json(&["dlq", "list", "--reason", "rejected", "--since", "1h"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["task"]),
        (&json!(id), &json!("misbehave"))
    );
    let shown = host.json(&["dlq", "show", &id]);
    assert_eq!(shown["envelope"]["payload"], json!({"fate": "reject"}));
    assert_eq!(shown["envelope"]["headers"], json!({"tenant": "a"}));
    assert_eq!(
        (&shown["attempt_count"], &shown["attempts"][0]["number"]),
        (&json!(1), &json!(1))
    );
    let counted = host.json(&["dlq", "replay", "--queue", "default", "--dry-run"]);
    assert_eq!(
        (&counted["matched"], &counted["replayed"]),
        (&json!(1), &json!(0))
    );
    let refused = host.run(&["dlq", "replay", "--queue", "default"]);
    refused.assert(2, "no terminal to ask on");
    assert_eq!(host.json(&["dlq", "replay", &id])["replayed"], 1);
}

/// B10
#[test]
fn a_page_of_dead_letters_ends_where_the_next_begins() {
    let host = Host::with(&["misbehave"]);
    let _worker = host.worker();
    let ids: Vec<String> = (0..3)
        .map(|_| misbehave(&host, &json!({"fate": "reject"}), &[]))
        .inspect(|id| drop(host.run(&["result", id, "--wait"])))
        .collect();
    let page = |flags: &[&str]| host.json(&[&["dlq", "list", "--limit", "2"], flags].concat());
    let first = page(&[]);
    assert_eq!(
        (&first[0]["id"], &first[1]["id"]),
        (&json!(ids[2]), &json!(ids[1]))
    );
    let second = page(&["--cursor", &ids[1]]);
    assert_eq!(second.as_array().map(Vec::len), Some(1));
    assert_eq!(second[0]["id"], json!(ids[0]));
}

/// B5, B10
#[test]
fn a_purge_by_filter_takes_only_what_it_lets_through() {
    let host = Host::with(&["misbehave"]);
    let _worker = host.worker();
    let kept = misbehave(&host, &json!({"fate": "reject"}), &["--queue", "default"]);
    host.run(&["result", &kept, "--wait"]).assert(1, "failed");
    let purged = host.json(&["dlq", "purge", "--reason", "poison", "--yes"]);
    assert_eq!(
        (&purged["matched"], &purged["purged"]),
        (&json!(0), &json!(0))
    );
    let purged = host.json(&["dlq", "purge", "--task", "misbehave", "--yes"]);
    assert_eq!(purged["purged"], 1);
    host.run(&["dlq", "show", &kept])
        .assert(1, "is no dead letter");
}

/// W7
#[test]
fn cancelling_says_what_became_of_each() {
    let host = Host::with(&["word-count"]);
    let id = host.ok(&["enqueue", "word-count", "--payload", r#"{"text":"a"}"#]);
    let cancelled = host.json(&["cancel", &id]);
    assert_eq!(
        cancelled,
        json!([{"id": id, "state": "cancelled", "cancelled": true}])
    );
    let again = host.json(&["cancel", &id]);
    assert_eq!(
        again,
        json!([{"id": id, "state": "cancelled", "cancelled": false}])
    );
}

/// W6
#[test]
fn a_worker_that_runs_is_listed_with_times_that_people_and_programs_read() {
    let host = Host::with(&["noop"]);
    let _worker = host.worker();
    host.ok(&["enqueue", "noop", "--wait"]);
    let listed = host.json(&["worker", "list"]);
    assert_eq!(
        (&listed[0]["dead"], &listed[0]["queues"]),
        (&json!(false), &json!(["default"]))
    );
    let seen = listed[0]["seen_at"].as_str().expect("text");
    assert!(seen.ends_with('Z') && seen.contains('T'), "{seen}");
}

/// B11
#[test]
fn a_known_queue_that_is_empty_has_counts_of_zero() {
    let host = Host::with(&["word-count"]);
    let shown = host.json(&["queue", "show", "default"]);
    assert_eq!(
        shown,
        json!({"queue": "default", "paused": false, "queued": 0, "scheduled": 0, "running": 0, "dead": 0})
    );
    host.ok(&["queue", "pause", "default"]);
    assert_eq!(host.json(&["queue", "show", "default"])["paused"], true);
    assert_eq!(
        host.ok(&["queue", "resume", "default"]),
        "resumed `default`"
    );
}
