//! Waiting, results, dead letters and cancellations, with a worker in another process.

use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};
use stem_tests::host::{TestHost, guest};

fn misbehave(host: &TestHost, fate: &Value, flags: &[&str]) -> String {
    let fate = fate.to_string();
    let arguments = ["enqueue", "misbehave", "--payload", fate.as_str()];
    host.ok(&[&arguments[..], flags].concat())
}

/// The keys of a JSON object, sorted.
fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

const RESULT_KEYS: [&str; 11] = [
    "attempts",
    "ended_at",
    "enqueued_at",
    "error",
    "id",
    "place",
    "progress",
    "queue",
    "result",
    "state",
    "task",
];

/// R5
#[test]
fn a_waiting_producer_gets_the_result() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let _worker = host.worker(&[]);
    let payload = r#"{"text":"a b a"}"#;
    let arguments = ["enqueue", "word-count", "--payload", payload, "--wait"];
    assert_eq!(host.ok(&arguments), r#"{"a":2,"b":1}"#);
    let shown = host.json(&arguments);
    let ended = (&shown["state"], &shown["result"]);
    assert_eq!(ended, (&json!("succeeded"), &json!({"a": 2, "b": 1})));
    assert_eq!(keys(&shown), RESULT_KEYS);
}

/// S4
#[test]
fn an_awaited_task_that_fails_ends_with_its_error_and_exit_code_1() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
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
    let host = TestHost::new().with_deployed(&["word-count"]);
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

/// R3: who waits is told why nothing comes.
#[test]
fn a_wait_that_runs_out_says_what_holds_the_envelope_up() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &["--queue", "q"]);
    let wait = ["result", &id, "--wait", "--timeout", "50ms"];
    host.run(&wait)
        .assert(4, "hint: no worker runs (`stem-host worker start`)");
    host.ok(&["queue", "pause", "q"]);
    host.run(&wait).assert(4, "`stem-host queue resume q`");
    host.ok(&["queue", "resume", "q"]);
    let _worker = host.worker(&["--queue", "another"]);
    host.run(&wait)
        .assert(4, "`stem-host worker start --queue q`");
}

#[test]
fn a_result_may_be_written_to_a_file() {
    let host = TestHost::new().with_deployed(&["noop"]);
    let _worker = host.worker(&[]);
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
    let host = TestHost::new();
    let policy = host.write("p.toml", "[defaults]\nresult-retention = \"0s\"\n");
    let module = guest("noop").display().to_string();
    host.ok(&["deploy", &module, "--policy", &policy]);
    let id = host.ok(&["enqueue", "noop"]);
    host.run(&["result", &id, "--output", "out"]).assert(
        1,
        &format!("write to `out` the result of {id}: it is queued"),
    );
    let _worker = host.worker(&[]);
    host.run(&["enqueue", "noop", "--wait", "--output", "out"])
        .assert(1, "its task keeps no results");
    assert!(!host.path("out").exists());
}

/// R5
#[test]
fn a_person_sees_state_attempts_log_and_error() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
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

/// A dead letter on a host whose worker runs.
fn rejected(host: &TestHost) -> String {
    let id = misbehave(host, &json!({"fate": "reject"}), &["--header", "tenant=a"]);
    host.run(&["result", &id, "--wait"]).assert(1, "failed");
    id
}

/// B10
#[test]
fn dead_letters_are_listed_and_shown() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
    let id = rejected(&host);
    let listed = host.json(&["dlq", "list", "--reason", "rejected", "--since", "1h"]);
    let named = (&listed[0]["id"], &listed[0]["task"]);
    assert_eq!(named, (&json!(id), &json!("misbehave")));
    let shown = host.json(&["dlq", "show", &id]);
    assert_eq!(shown["envelope"]["payload"], json!({"fate": "reject"}));
    assert_eq!(shown["envelope"]["headers"], json!({"tenant": "a"}));
    let attempts = (&shown["attempt_count"], &shown["attempts"][0]["number"]);
    assert_eq!(attempts, (&json!(1), &json!(1)));
}

/// B10
#[test]
fn dead_letters_are_replayed_by_id_or_with_consent() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
    let id = rejected(&host);
    let replay = ["dlq", "replay", "--queue", "default"];
    let counted = host.json(&[&replay[..], &["--dry-run"]].concat());
    let counts = (&counted["matched"], &counted["replayed"]);
    assert_eq!(counts, (&json!(1), &json!(0)));
    host.run(&replay).assert(2, "no terminal to ask on");
    assert_eq!(host.json(&["dlq", "replay", &id])["replayed"], 1);
}

/// B10
#[test]
fn a_page_of_dead_letters_ends_where_the_next_begins() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
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
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
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
    let host = TestHost::new().with_deployed(&["word-count"]);
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
    let said = host.ok(&["cancel", &id]);
    assert_eq!(said, format!("{id}: was cancelled already"));
}

/// W6
#[test]
fn a_worker_that_runs_is_listed_with_times_that_people_and_programs_read() {
    let host = TestHost::new().with_deployed(&["noop"]);
    let _worker = host.worker(&[]);
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
    let host = TestHost::new().with_deployed(&["word-count"]);
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

/// B11
#[test]
fn a_person_sees_tables_with_aligned_columns() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let count = ["enqueue", "word-count", "--payload", r#"{"text":"a"}"#];
    host.ok(&count);
    host.ok(&[&count[..], &["--queue", "reports", "--delay", "1h"]].concat());
    host.ok(&["queue", "pause", "reports"]);
    let queues = str![[r#"
QUEUE    PAUSED  QUEUED  SCHEDULED  RUNNING  DEAD
default          1       0          0        0
reports  paused  0       1          0        0"#]];
    assert_data_eq!(host.ok(&["queue", "list"]), queues);
    let tasks = str![[r#"
TASK        MODULE        QUEUE  ATTEMPTS  HARD LIMIT  MEMORY  DESCRIPTION
word-count  word_count@1         3         10s         64 MiB  Counts how often each word occurs; words are runs of letters and digits, in lower case."#]];
    assert_data_eq!(host.ok(&["task", "list"]), tasks);
}
