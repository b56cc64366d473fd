//! What `enqueue` takes and refuses, and what it prints.

use std::process::Stdio;

use serde_json::{Value, json};
use stem_tests::host::TestHost;

fn counting() -> TestHost {
    TestHost::new().with_deployed(&["word-count"])
}

/// E6
#[test]
fn an_unknown_task_is_refused_with_the_nearest_name() {
    let host = counting();
    let answer = host.run(&["enqueue", "word-cuont", "--payload", "{}"]);
    answer.assert(1, "no task named `word-cuont`; did you mean `word-count`?");
    assert_eq!(host.json(&["queue", "list"]), json!([]));
}

/// E6
#[test]
fn a_producer_may_start_first() {
    let host = TestHost::new();
    let enqueued = host.json(&["enqueue", "later", "--unchecked"]);
    assert_eq!(
        (&enqueued["task"], &enqueued["state"]),
        (&json!("later"), &json!("queued"))
    );
}

#[test]
fn broken_json_is_refused_with_line_and_column() {
    let answer = counting().run(&["enqueue", "word-count", "--payload", "{\"text\":\n 1]"]);
    answer.assert(2, "the payload is no valid JSON: ");
    assert!(answer.stderr.contains("line 2 column 3"), "{answer:?}");
}

/// E6
#[test]
fn a_payload_against_the_schema_is_refused_with_the_place() {
    let answer = counting().run(&["enqueue", "word-count", "--payload", r#"{"text":1}"#]);
    answer.assert(5, r#"1 is not of type "string" (at /text)"#);
    assert!(
        answer.stderr.contains("\nhint: see what it takes"),
        "{answer:?}"
    );
}

/// E3
#[test]
fn a_payload_over_the_limit_is_refused_with_both_sizes() {
    let host = counting();
    let around = json!({"text": ""}).to_string().len();
    let text = json!({"text": "x".repeat((2 << 20) - around)}).to_string();
    let file = host.write("large.json", text);
    let answer = host.run(&["enqueue", "word-count", "--payload", &format!("@{file}")]);
    answer.assert(5, "the payload has 2 MiB, over the limit of 1 MiB");
    let url = ("STEM_PAYLOAD_LIMIT", "3MiB");
    let answer = host.run_with(
        url,
        &["enqueue", "word-count", "--payload", &format!("@{file}")],
    );
    answer.assert(0, "");
}

/// E3: also beyond every buffer, and nothing of it is enqueued.
#[test]
fn a_payload_of_any_size_is_taken_whole_or_refused_whole() {
    let host = counting();
    let file = format!("@{}", host.write("large", vec![b'x'; 70 << 20]));
    let limit = ("STEM_PAYLOAD_LIMIT", "69MiB");
    for source in ["--payload", "--each"] {
        let kind = ["--unchecked", "--content-type", "a/b"];
        let arguments = [&["enqueue", "t", source, &file], &kind[..]].concat();
        host.run_with(limit, &arguments)
            .assert(5, "the payload has 70 MiB, over the limit of 69 MiB");
    }
    assert_eq!(host.json(&["queue", "list"]), json!([]));
}

#[test]
fn a_folder_is_no_source_of_payloads() {
    let host = counting();
    for source in ["--payload", "--each"] {
        let answer = host.run(&["enqueue", "word-count", source, "@."]);
        answer.assert(2, "error: ");
    }
}

/// Flags with a value that is refused where it enters.
const BAD_FLAGS: [&[&str]; 9] = [
    &["--queue", "ä"],
    &["--priority", "10"],
    &["--max-attempts", "0"],
    &["--header", "tenant"],
    &["--delay", "soon"],
    &["--at", "tomorrow"],
    &["--content-type", "text"],
    &["--content-type", "a/\u{1b}[2J"],
    &["--delay", "1s", "--at", "2026-11-20T08:00:00Z"],
];

/// E5
#[test]
fn a_bad_name_or_number_is_refused_where_it_enters() {
    let host = counting();
    host.run(&["enqueue", "a b"]).assert(2, "error: ");
    for flags in BAD_FLAGS {
        let arguments = [&["enqueue", "word-count"], flags].concat();
        host.run(&arguments).assert(2, "error: ");
    }
}

/// B15: what may have been enqueued is named when that fails, and is not enqueued twice.
#[test]
fn an_id_that_is_given_enqueues_nothing_a_second_time() {
    let host = counting();
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    let again = host.enqueue("word-count", &json!({"text": "a"}), &["--id", &id]);
    let lines = || [json!({"text": "a"}), json!({"text": "b"})].into_iter();
    let flags = ["--id", &id];
    let first = host.enqueue_each_with("word-count", lines(), &flags);
    let second = host.enqueue_each_with("word-count", lines(), &flags);
    assert_eq!((again, second), (id.clone(), first.clone()));
    assert!(!first.contains(&id) && first[0] != first[1]);
    assert_eq!(host.alive(), 3);
}

/// E6
#[test]
fn where_a_task_was_looked_for_is_said() {
    let answer = counting().run(&["enqueue", "nothing-like-it"]);
    answer.assert(
        1,
        "hint: it was looked for in sqlite:stem.db, namespace `stem`",
    );
}

#[test]
fn a_files_ending_says_what_it_is() {
    let host = TestHost::new();
    let file = format!("@{}", host.write("page.md", "# Title"));
    let id = host.ok(&["enqueue", "t", "--unchecked", "--payload", &file]);
    let _worker = host.worker(&[]);
    host.run(&["result", &id, "--wait"])
        .assert(1, "unknown-task");
    let payload = host.json(&["dlq", "show", &id])["envelope"]["payload"].clone();
    let expected = json!({"content_type": "text/markdown", "text": "# Title"});
    assert_eq!(payload, expected);
}

/// B6
#[test]
fn a_delayed_envelope_is_scheduled() {
    let enqueued = counting().json(&[
        "enqueue",
        "word-count",
        "--payload",
        r#"{"text":"a"}"#,
        "--delay",
        "1h",
    ]);
    assert_eq!(enqueued["state"], "scheduled");
}

/// B6: the state is the time's, not the flag's.
#[test]
fn what_is_due_already_is_queued() {
    let host = counting();
    let enqueue = ["enqueue", "t", "--unchecked"];
    for flags in [["--delay", "0s"], ["--at", "2020-01-01T00:00:00Z"]] {
        let enqueued = host.json(&[&enqueue[..], &flags].concat());
        assert_eq!(enqueued["state"], "queued", "{flags:?}");
        let id = enqueued["id"].as_str().expect("text");
        assert_eq!(host.json(&["result", id])["state"], "queued", "{flags:?}");
    }
}

/// A file of so many payloads, as an argument.
fn lines(host: &TestHost, count: usize) -> String {
    let lines: String = (0..count)
        .map(|n| format!("{{\"text\":\"{n}\"}}\n"))
        .collect();
    format!("@{}", host.write("lines.jsonl", lines))
}

#[test]
fn every_line_of_a_file_is_an_envelope() {
    let host = counting();
    let file = lines(&host, 2_500);
    let each = ["enqueue", "word-count", "--each", &file];
    assert_eq!(host.ok(&each).lines().count(), 2_500);
    assert_eq!(host.json(&["queue", "list"])[0]["queued"], 2_500);
    let objects = host.ok(&[&each[..], &["--json"]].concat());
    let first: Value = serde_json::from_str(objects.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["state"], "queued");
}

#[test]
fn a_bad_line_is_named_and_those_before_it_are_enqueued() {
    let host = counting();
    for (bad, code, said) in [
        ("{", 2, "line 4: the payload is no valid JSON"),
        (r#"{"text":1}"#, 5, "line 4: the payload does not fit"),
    ] {
        let good = r#"{"text":"a"}"#;
        let file = host.write("lines.jsonl", [good, "", good, bad, good].join("\n"));
        let answer = host.run(&["enqueue", "word-count", "--each", &format!("@{file}")]);
        answer.assert(code, &format!("after 2 were enqueued: {said}"));
        assert_eq!(answer.stdout.lines().count(), 2, "{answer:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_does_not_stop_the_rest() {
    let host = counting();
    let file = lines(&host, 5_000);
    let mut command = host.command(&["enqueue", "word-count", "--each", &file]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    // Nobody reads: the pipe is closed before the first id comes.
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(host.json(&["queue", "list"])[0]["queued"], 5_000);
}
