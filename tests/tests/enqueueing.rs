//! Tasks that enqueue tasks: granted by name, checked like any producer, and once under a key, whatever becomes of the
//! attempt that asked.

#[path = "../../host/sandbox/tests/sandbox/common/hostile.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod wat;

use serde_json::{Value, json};
use stem_core::ids::EnvelopeId;
use stem_core::state::State;
use stem_tests::host::{Answer, TestHost, guest, text};
use stem_tests::store::TestStore;
use stem_tests::workspace;
use wat::enqueueing;

/// What a killed worker held is given to another one soon, however often.
const SOON_LOST: [&str; 4] = ["--lease", "1s", "--max-deliveries", "100"];
const POLICY: &str = "tasks-examples/fan-out/stem.toml";

/// The flags that grant what `fan-out` needs.
fn policy() -> [String; 2] {
    let file = workspace::root().join(POLICY);
    ["--policy".to_owned(), file.display().to_string()]
}

fn with_fan_out() -> TestHost {
    let host = TestHost::new();
    let [flag, file] = policy();
    host.deploy("fan-out", &[&flag, &file]);
    host
}

/// A file of orders, every tenth of them without a price.
fn orders(host: &TestHost, rows: u64) -> String {
    let price = |row: u64| match row % 10 {
        0 => String::new(),
        _ => row.to_string(),
    };
    let rows = (1..=rows).map(|row| format!("o{row},{}\n", price(row)));
    let csv = format!("order,cents\n{}", rows.collect::<String>());
    format!("@{}", host.write("orders.csv", csv))
}

/// The id of a child, as its parent's id and its key make it.
fn child(parent: &str, key: &str) -> String {
    let parent: EnvelopeId = parent.parse().expect("an id");
    EnvelopeId::derived(parent, key).to_string()
}

/// M1, S2
#[test]
fn a_module_that_enqueues_is_deployed_with_a_grant_only() {
    let host = TestHost::new();
    let module = guest("fan-out").display().to_string();
    let answer = host.run(&["deploy", &module]);
    answer.assert(5, "`stem:task/enqueue@0.1.0`");
    answer.assert(5, "`--allow-enqueue TASK`, or `enqueue = [\"TASK\"]`");
    host.run(&["deploy", &module, "--allow-enqueue", "two words"])
        .assert(2, "`two words` is no pattern of task names");
    let bad = host.write("bad.toml", "[grants]\nenqueue = [\"a?\"]\n");
    host.run(&["deploy", &module, "--policy", &bad])
        .assert(2, "`a?` is no pattern of task names");
    host.ok(&["deploy", &module, "--allow-enqueue", "fan-out.*"]);
    let shown = host.json(&["module", "show", "fan_out"]);
    assert_eq!(shown["grants"]["enqueue"], json!(["fan-out.*"]));
}

/// Splits a file of so many orders, and gives the ids of its rows once all of them have ended.
fn split(host: &TestHost, rows: u64) -> Vec<String> {
    let file = orders(host, rows);
    let enqueued = host.json(&["enqueue", "fan-out", "--payload", &file]);
    let parent = text(&enqueued["id"]);
    assert_eq!(host.outcome(&parent)["result"], json!({"rows": rows}));
    host.until("all rows have ended", |host| host.alive() == 0);
    let row = |row| child(&parent, &format!("row-{row}"));
    (1..=rows).map(row).collect()
}

/// B15, E6: every row for itself.
#[test]
fn each_row_of_a_file_is_run_by_itself_and_a_bad_one_is_one_dead_letter() {
    let host = with_fan_out();
    let _worker = host.worker(&[]);
    let ids = split(&host, 500);
    let lookups = TestStore::of(&host).look_up(&ids);
    let failed = lookups.iter().filter(|one| one.state == State::Failed);
    assert_eq!(failed.count(), 50);
    let bad = host.outcome(&ids[9]);
    assert_eq!(bad["error"]["message"], "no value for `cents`");
    assert_eq!(attempts(&bad), 1);
}

/// A host with `word-count`, and a task of this body that enqueues it.
fn asking(body: &str) -> TestHost {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let module = host.write("asking.wasm", enqueueing(body).component());
    let policy = "[grants]\nenqueue = [\"word-*\"]\n[defaults]\nretry-base = \"50ms\"\n";
    host.write("stem.toml", policy);
    host.ok(&["deploy", &module]);
    host
}

fn attempts(outcome: &Value) -> usize {
    outcome["attempts"].as_array().map_or(0, Vec::len)
}

/// A host whose parent enqueues `word-count` under a key, and then goes on for ever the first time it is delivered.
fn lingering() -> TestHost {
    let is_first = "(i32.eq (i32.load offset=32 (local.get $call)) (i32.const 1))";
    asking(&format!(
        "(call $ask (i32.const 1)) (if {is_first} (then (loop (br 0)))) (call $answer)"
    ))
}

/// B15, B3: what a killed worker's attempt had enqueued is known to the one that comes after it.
#[test]
fn a_parent_that_is_killed_after_it_has_enqueued_has_one_child_of_each_key() {
    let host = lingering();
    let worker = host.worker(&SOON_LOST);
    let parent = host.enqueue("hostile", &json!({}), &[]);
    let child = child(&parent, "key");
    host.until("the child has ended", |host| {
        let shown = host.run(&["result", &child, "--json"]).stdout;
        shown.contains("\"succeeded\"")
    });
    worker.kill();
    let mut worker = host.worker(&SOON_LOST);
    assert_eq!(host.outcome(&parent)["result"]["text"], json!(child));
    assert_eq!(attempts(&host.outcome(&child)), 1);
    worker.terminate();
    worker.hear("stopped: 1 attempts succeeded, 0 failed");
}

/// B15: three attempts, one child of the key, and three without one.
#[test]
fn an_attempt_that_fails_after_it_has_enqueued_enqueues_each_key_once() {
    let third = "(i32.lt_u (i32.load offset=24 (local.get $call)) (i32.const 3))";
    let host = asking(&format!(
        "(call $ask (i32.const 0)) (call $ask (i32.const 1)) (if {third} (then unreachable)) (call $answer)"
    ));
    let mut worker = host.worker(&[]);
    let parent = host.enqueue("hostile", &json!({}), &[]);
    let outcome = host.outcome(&parent);
    assert_eq!(attempts(&outcome), 3, "{outcome}");
    assert_eq!(outcome["result"]["text"], json!(child(&parent, "key")));
    host.until("the children have ended", |host| host.alive() == 0);
    worker.terminate();
    worker.hear("stopped: 5 attempts succeeded, 2 failed");
}

/// Runs `fan-out` at home on thirty orders.
fn split_at_home(host: &TestHost, flags: &[&str]) -> Answer {
    let (file, module) = (orders(host, 30), guest("fan-out").display().to_string());
    let [flag, policy] = policy();
    let run = [
        "run",
        &module,
        "fan-out",
        "--payload",
        &file,
        &flag,
        &policy,
    ];
    host.run(&[&run[..], flags].concat())
}

#[test]
fn what_would_be_enqueued_at_home_is_shown_and_stays_at_home() {
    let host = TestHost::new();
    let answer = split_at_home(&host, &[]);
    let first =
        r#"would enqueue `fan-out.row` as `row-1` to `default`: {"cents":"1","order":"o1"}"#;
    answer.assert(0, first);
    answer.assert(0, "and 10 more: --json lists them all");
    assert_eq!(answer.stdout, "{\"rows\":30}\n");
    assert!(!host.path("stem.db").exists());
}

#[test]
fn programs_get_everything_that_would_be_enqueued_at_home() {
    let shown = split_at_home(&TestHost::new(), &["--json"]).json();
    let planned = shown["would_enqueue"].as_array().expect("a list");
    assert_eq!(planned.len(), 30);
    let tenth = &planned[9];
    assert_eq!(tenth["key"], "row-10");
    assert_eq!(tenth["payload"], json!({"order": "o10", "cents": ""}));
    assert_eq!(tenth["headers"], json!({"row": "10"}));
    assert_eq!(
        (&tenth["task"], &tenth["state"]),
        (&json!("fan-out.row"), &json!("queued"))
    );
}

/// B10, E6: with the tasks that are deployed, and nothing enqueued.
#[test]
fn a_dead_letter_that_is_run_at_home_shows_what_it_would_enqueue() {
    let host = asking("(call $ask (i32.const 1)) (unreachable)");
    let worker = host.worker(&[]);
    let parent = host.enqueue("hostile", &json!({}), &["--max-attempts", "1"]);
    assert_eq!(host.outcome(&parent)["state"], "failed");
    host.until("the child has ended", |host| host.alive() == 0);
    worker.kill();
    let answer = host.run(&["dlq", "replay", &parent, "--local", "--json"]);
    let planned = answer.json()["would_enqueue"].clone();
    assert_eq!(planned[0]["id"], json!(child(&parent, "key")));
    assert_eq!(host.alive(), 0);
    host.ok(&["module", "remove", "word_count", "--yes"]);
    let answer = host.run(&["dlq", "replay", &parent, "--local", "--json"]);
    assert_eq!(answer.json().get("would_enqueue"), None);
}
