//! Tasks in other languages than Rust, and programs as tasks: deployed, enqueued and run as a user does it.

use serde_json::{Value, json};
use stem_tests::host::{TestHost, foreign_guest, guest, text};

/// Words in several languages, with what JSON has to escape.
const TEXT: &str = "a b A, \"ünter\"\n\tb!";

fn deploy(host: &TestHost, module: &std::path::Path, flags: &[&str]) -> Value {
    let module = module.display().to_string();
    host.json(&[&["deploy", module.as_str()], flags].concat())
}

/// Deploys an example, and counts words with it.
fn counts_words(example: &str, task: &str) {
    let host = TestHost::new();
    let deployed = deploy(&host, &foreign_guest(example), &[]);
    assert_eq!(deployed["tasks"], json!([task]));
    let _worker = host.worker(&[]);
    let ended = host.outcome(&host.enqueue(task, &json!({"text": TEXT}), &[]));
    assert_eq!(ended["state"], "succeeded", "{ended}");
    let counts = json!({"a": 2, "b": 2, "ünter": 1});
    assert_eq!(ended["result"], counts, "{ended}");
    let payload = json!({"text": TEXT}).to_string();
    let module = foreign_guest(example).display().to_string();
    let here = host.json(&["run", &module, "--payload", &payload]);
    assert_eq!(here["progress"]["note"], "3 different words");
    let line = &ended["attempts"][0]["log"][0];
    let fields = json!([["words", "3"], ["attempt", "1"]]);
    assert_eq!(
        (&line["message"], &line["fields"]),
        (&json!("counted"), &fields)
    );
    refuses_another_payload(&host, task);
}

/// E6: the schema that it described itself with.
fn refuses_another_payload(host: &TestHost, task: &str) {
    let refused = host.run(&["enqueue", task, "--payload", "{\"txt\":\"\"}"]);
    refused.assert(5, "text");
    let flags = ["--unchecked", "--max-attempts", "3"];
    let rejected = host.outcome(&host.enqueue(task, &json!({"txt": ""}), &flags));
    assert_eq!(rejected["error"]["kind"], "invalid-payload", "{rejected}");
    assert_eq!(rejected["attempts"].as_array().map(Vec::len), Some(1));
}

/// Deploys a program as a task, and reports on a text with it.
fn reports(module: &std::path::Path) {
    let host = TestHost::new();
    let flags = ["--command", "--task", "report", "--name", "reports"];
    let deployed = deploy(&host, module, &flags);
    assert_eq!(deployed["tasks"], json!(["report"]));
    let _worker = host.worker(&[]);
    let enqueue = |payload: &str| {
        let enqueued = host.json(&[
            "enqueue",
            "report",
            "--content-type",
            "text/plain",
            "--payload",
            payload,
        ]);
        host.outcome(&text(&enqueued["id"]))
    };
    let ended = enqueue("a b a\nc");
    assert_eq!(
        ended["result"],
        json!({"lines": 2, "words": 4, "bytes": 7}),
        "{ended}"
    );
    assert_eq!(
        ended["attempts"][0]["log"][0]["message"],
        "attempt 1: 7 bytes"
    );
    let rejected = enqueue(" ");
    assert_eq!(rejected["error"]["code"], "empty-text", "{rejected}");
    assert_eq!(rejected["attempts"].as_array().map(Vec::len), Some(1));
}

// === handlers ===

/// M1
#[test]
fn a_task_in_javascript_runs() {
    counts_words("word-count-js", "word-count-js");
}

/// M1
#[test]
fn a_task_in_python_runs() {
    counts_words("word-count-python", "word-count-python");
}

/// M1
#[test]
fn a_task_in_c_runs() {
    counts_words("word-count-c", "word-count-c");
}

// === programs ===

/// S9
#[test]
fn a_program_in_rust_is_a_task() {
    reports(&guest("report"));
}

/// S9
#[test]
fn a_program_in_c_is_a_task() {
    reports(&foreign_guest("report-c"));
}

/// S9
#[test]
fn a_program_in_go_is_a_task() {
    reports(&foreign_guest("report-go"));
}

const POLICY: &str = r#"
    [command]
    task = "environment"
    arguments = ["--environment"]
    result-content-type = "text/csv"
"#;

/// S9, M3: what a program is run with is kept with its deployment, and seen wherever that is.
#[test]
fn a_program_is_described_by_its_policy_file() {
    let host = TestHost::new();
    let module = host.path("tools.wasm");
    std::fs::copy(guest("report"), &module).expect("the test's folder can be written");
    host.write("stem.toml", POLICY);
    deploy(&host, &module, &[]);
    let command = json!({"arguments": ["--environment"], "result_content_type": "text/csv"});
    let shown = host.json(&["module", "show", "tools"]);
    assert_eq!(shown["tasks"][0]["command"], command, "{shown}");
    assert_eq!(host.json(&["task", "list"])[0]["task"], "environment");
    let run = host.ok(&["run", "tools.wasm", "--header", "tenant=acme"]);
    assert!(run.contains("\nSTEM_HEADER_TENANT=acme"), "{run}");
}

/// S9: at home, and a dead letter once more.
#[test]
fn a_program_runs_without_a_store_and_its_dead_letter_too() {
    let host = TestHost::new();
    let module = guest("report").display().to_string();
    let payload = ["--content-type", "text/plain", "--payload", "a b"];
    let run = host.ok(&[&["run", module.as_str(), "--command"], &payload[..]].concat());
    assert_eq!(run, "{\"lines\":1,\"words\":2,\"bytes\":3}");
    deploy(&host, &guest("report"), &["--command", "--task", "report"]);
    let worker = host.worker(&[]);
    let blank = ["--content-type", "text/plain", "--payload", " "];
    let enqueued = host.json(&[&["enqueue", "report"], &blank[..]].concat());
    let dead = text(&enqueued["id"]);
    host.until_state(&dead, "failed");
    drop(worker);
    let again = host.run(&["dlq", "replay", &dead, "--local"]);
    again.assert(1, "there is nothing to count");
}
