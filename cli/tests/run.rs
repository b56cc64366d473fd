//! One attempt at home: `run`, with no store at all, and what it takes, refuses and tells.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use stem_tests::host::{Answer, TestHost, guest};
use stem_tests::worker::Worker;

/// 20 times the figure of a promise in time, and never less: it catches a lost signal, not a busy machine.
const SOON: Duration = Duration::from_secs(2);

fn module(example: &str) -> String {
    guest(example).display().to_string()
}

/// A run of `misbehave` with this fate.
fn misbehave(host: &TestHost, fate: &Value, flags: &[&str]) -> Answer {
    let (module, fate) = (module("misbehave"), fate.to_string());
    host.run(&[&["run", &module, "--payload", &fate], flags].concat())
}

/// The keys of a JSON object, sorted.
fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// A host with an example of its own and this policy beside it.
fn with_policy(example: &str, policy: &str) -> (TestHost, String) {
    let host = TestHost::new();
    let bytes = std::fs::read(guest(example)).expect("a built module can be read");
    host.write("stem.toml", policy);
    let module = host.write("module.wasm", bytes);
    (host, module)
}

#[test]
fn a_task_runs_without_a_store_and_a_module_of_one_task_needs_no_name() {
    let host = TestHost::new();
    let payload = r#"{"text":"a b a"}"#;
    let answer = host.run(&["run", &module("word-count"), "--payload", payload]);
    assert_eq!(answer.stdout, "{\"a\":2,\"b\":1}\n");
    answer.assert(0, "progress: 100 % 2 different words\nused ");
    assert!(!host.path("stem.db").exists());
    for shell in ["bash", "zsh", "fish"] {
        let completions = host.ok(&["completions", shell]);
        assert!(completions.contains("checkpoint"), "{shell}");
    }
}

#[test]
fn the_task_is_named_where_there_are_more_and_a_misspelt_one_is_answered_with_the_nearest() {
    let (host, module) = (TestHost::new(), module("noop"));
    assert_eq!(
        host.ok(&["run", &module, "noop", "--payload", "[1]"]),
        "[1]"
    );
    host.run(&["run", &module]).assert(
        2,
        "it has more than one task: name one of noop, sleep, spin",
    );
    host.run(&["run", &module, "nop"])
        .assert(1, "it has no task named `nop`; did you mean `noop`?");
    host.run(&["run", &module, "word-count"]).assert(
        1,
        "it has no task named `word-count`: it has noop, sleep, spin",
    );
}

/// M1
#[test]
fn what_could_not_be_deployed_is_not_run() {
    let host = TestHost::new();
    let file = host.write("text.wasm", "no module");
    host.run(&["run", &file]).assert(5, "error: run `");
    host.run(&["run", "nowhere.wasm"])
        .assert(2, "error: read the module `nowhere.wasm`");
}

#[test]
fn a_payload_comes_from_a_file_or_standard_input_and_the_result_may_go_to_a_file() {
    let (host, module) = (TestHost::new(), module("noop"));
    let bytes = [0x89, b'P', b'N', b'G', 0, 0xff];
    let picture = format!("@{}", host.write("in.png", bytes));
    let run = ["run", &module, "noop", "--payload"];
    assert_eq!(
        host.ok(&[&run[..], &[&picture, "--output", "out.png"]].concat()),
        ""
    );
    assert_eq!(std::fs::read(host.path("out.png")).expect("written"), bytes);
    let shown = host.json(&[&run[..], &[&picture]].concat());
    assert_eq!(shown["result"]["content_type"], "image/png");
    let file = std::fs::File::open(host.write("typed", "typed")).expect("written");
    let mut typed = host.command(&[&run[..], &["-", "--content-type", "text/plain"]].concat());
    let output = typed.stdin(Stdio::from(file)).output().expect("run");
    assert_eq!(output.stdout, b"typed");
}

/// Runs `word-count` with this payload.
fn count(host: &TestHost, payload: &str, flags: &[&str]) -> Answer {
    let module = module("word-count");
    host.run(&[&["run", &module, "--payload", payload], flags].concat())
}

/// E6
#[test]
fn a_payload_is_checked_against_the_schema_as_enqueueing_does() {
    let host = TestHost::new();
    let answer = count(&host, r#"{"text":1}"#, &[]);
    answer.assert(5, r#"1 is not of type "string" (at /text)"#);
    answer.assert(5, "\nhint: see what it takes");
    count(&host, r#"{"text":1}"#, &["--unchecked"]).assert(1, "it has failed: invalid-payload: ");
    count(&host, "{\"text\":\n 1]", &[]).assert(2, "line 2 column 3");
}

/// E3
#[test]
fn what_no_envelope_could_hold_is_refused() {
    let host = TestHost::new();
    let large = format!("@{}", host.write("large.json", vec![b' '; 2 << 20]));
    count(&host, &large, &[]).assert(5, "the payload has 2 MiB, over the limit of 1 MiB");
    let header = format!("tenant={}", "x".repeat(9 << 10));
    let answer = count(&host, r#"{"text":""}"#, &["--header", &header]);
    answer.assert(5, "the value of header `tenant` has 9 KiB");
}

/// S3
#[test]
fn limits_are_those_of_deploy() {
    let host = TestHost::new();
    for (fate, flag, value, limit) in [
        ("spin", "--hard", "100ms", "hard-time"),
        ("spin", "--fuel", "1000000", "fuel"),
        ("hog", "--memory", "8MiB", "memory"),
    ] {
        let answer = misbehave(&host, &json!({"fate": fate}), &[flag, value, "--json"]);
        answer.assert(1, "error: run `misbehave`: it has failed: limit: ");
        assert_eq!(answer.json()["error"]["limit"], limit);
    }
    misbehave(&host, &json!({"fate": "spin"}), &["--memory", "much"]).assert(2, "error: ");
}

/// M4
#[test]
fn the_policy_beside_the_module_is_honoured_and_flags_win() {
    let (host, module) = with_policy("noop", "[defaults]\nhard-time-limit = \"100ms\"\n");
    let allowed = |flags: &[&str]| {
        let answer = host.run(&[&["run", &module, "spin", "--json"], flags].concat());
        answer.json()["error"]["allowed"].clone()
    };
    assert_eq!(allowed(&[]), 100);
    assert_eq!(allowed(&["--hard", "150ms"]), 150);
    host.write("stem.toml", "[defaults]\nhard-time-limt = \"1s\"\n");
    host.run(&["run", &module, "noop"])
        .assert(2, "did you mean `hard-time-limit`?");
}

/// R5
#[test]
fn programs_get_what_result_gives_them() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let payload = ["--payload", r#"{"text":"a"}"#];
    let worker = host.worker(&[]);
    let theirs = host.json(&[&["enqueue", "word-count", "--wait"], &payload[..]].concat());
    drop(worker);
    let ours = host.json(&[&["run", &module("word-count")], &payload[..]].concat());
    assert_eq!(keys(&ours), keys(&theirs));
    let (our_attempt, their_attempt) = (&ours["attempts"][0], &theirs["attempts"][0]);
    assert_eq!(keys(our_attempt), keys(their_attempt));
    for same in ["module", "outcome", "fuel"] {
        assert_eq!(our_attempt[same], their_attempt[same], "{same}");
    }
    assert_eq!(ours["result"], theirs["result"]);
}

/// S8
#[test]
fn usage_is_measured() {
    let answer = count(
        &TestHost::new(),
        r#"{"text":"a"}"#,
        &["--fuel", "100000000", "--json"],
    );
    let shown = answer.json();
    assert_eq!(shown["progress"]["fraction"], 1.0);
    for measured in ["fuel", "peak_memory_bytes", "host_calls"] {
        assert!(shown["attempts"][0][measured].as_u64() > Some(0), "{shown}");
    }
    assert!(
        shown["attempts"][0]["cpu_ms"].as_f64() > Some(0.0),
        "{shown}"
    );
}

/// S4
#[test]
fn a_failure_is_told_with_its_backtrace_and_nothing_on_standard_output() {
    let host = TestHost::new();
    let answer = misbehave(&host, &json!({"fate": "trap"}), &[]);
    answer.assert(1, "error: run `misbehave`: it has failed: trapped: ");
    assert_eq!(answer.stdout, "");
    for said in ["asked to panic", "<wasm function ", "used "] {
        assert!(answer.stderr.contains(said), "no `{said}` in {answer:?}");
    }
    misbehave(&host, &json!({"fate": "reject"}), &[])
        .assert(1, "it has failed: returned: asked to be rejected");
}

#[test]
fn what_the_task_writes_is_shown_beside_the_result() {
    let host = TestHost::new();
    let answer = misbehave(&host, &json!({"fate": "flood", "bytes": 10}), &[]);
    answer.assert(0, "  stdout all work and no play makes a dull log\n");
    for said in ["  stderr all work", "  info   all work", " line=0\n"] {
        assert!(answer.stderr.contains(said), "no `{said}` in {answer:?}");
    }
    assert_eq!(answer.stdout, "{\"attempt\":1,\"delivery\":1}\n");
}

#[test]
fn the_guest_is_told_which_attempt_it_is() {
    let host = TestHost::new();
    let fate = json!({"fate": "fail-times", "times": 2});
    misbehave(&host, &fate, &[]).assert(1, "asked to fail");
    let third = misbehave(&host, &fate, &["--attempt", "3", "--json"]);
    assert_eq!(third.json()["attempts"][0]["number"], 3);
    misbehave(&host, &fate, &["--attempt", "6"]).assert(2, "attempt 6 of 5 never comes");
    misbehave(&host, &fate, &["--attempt", "6", "--max-attempts", "6"]).assert(0, "");
}

#[test]
fn a_task_that_puts_itself_off_has_no_result() {
    let host = TestHost::new();
    let answer = misbehave(&host, &json!({"fate": "snooze", "ms": 5_000}), &["--json"]);
    answer.assert(1, "error: run `misbehave`: it put itself off for 5s");
    let shown = answer.json();
    let attempt = &shown["attempts"][0];
    assert_eq!(
        (&shown["state"], &attempt["outcome"]),
        (&json!("scheduled"), &json!("snoozed"))
    );
}

#[test]
fn a_checkpoint_goes_from_one_run_to_the_next_in_a_file() {
    let host = TestHost::new();
    let run = |flags: &[&str]| misbehave(&host, &json!({"fate": "checkpoint"}), flags);
    run(&["--checkpoint", "kept.json"]).assert(1, "asked to fail");
    let kept = std::fs::read_to_string(host.path("kept.json")).expect("written");
    assert_eq!(
        kept,
        "{\"content_type\":\"application/json\",\"text\":\"1\"}\n"
    );
    let again = run(&["--checkpoint", "kept.json", "--attempt", "2"]);
    assert_eq!(again.stdout, "{\"saved_by_attempt\":1}\n");
    run(&[]).assert(1, "asked to fail");
    host.write("kept.json", "notes");
    run(&["--checkpoint", "kept.json"]).assert(2, "error: read the checkpoint `kept.json`: ");
}

/// A run of `misbehave` that goes on until it is stopped.
fn running(host: &TestHost, fate: &str) -> Worker {
    let (module, fate) = (module("misbehave"), json!({"fate": fate}).to_string());
    let run = ["run", &module, "--payload", &fate, "--hard", "60s"];
    Worker::start_until(host.command(&run), "running `misbehave`")
}

/// W7: within 100 ms.
#[test]
fn a_signal_asks_the_guest_to_stop_and_a_second_one_ends_it() {
    let host = TestHost::new();
    let mut polite = running(&host, "stop-when-asked");
    polite.terminate();
    polite.hear("stopping reason=cancelled");
    polite.hear("error: run `misbehave`: it is cancelled");
    let mut spinning = running(&host, "spin");
    spinning.terminate();
    spinning.hear("a second signal ends it at once");
    spinning.terminate();
    let (status, took) = spinning.ended();
    assert_eq!(status.code(), Some(1));
    assert!(took < SOON, "{took:?}");
}

/// M4: it is what was typed that is at fault.
#[test]
fn a_flag_that_is_refused_is_named_as_it_was_typed() {
    let (host, module) = (TestHost::new(), module("noop"));
    for verb in ["run", "deploy"] {
        let said = format!("error: {verb} `{module}`: bad value for `--memory`: no task can");
        host.run(&[verb, &module, "--memory", "5GiB"])
            .assert(2, &said);
    }
}

/// S9, M4
#[test]
fn a_program_is_the_task_that_its_policy_names() {
    let (host, module) = with_policy("report", "[command]\ntask = \"counting\"\n");
    let payload = ["--content-type", "text/plain", "--payload", "a b", "--json"];
    let ran = |task: &[&str]| {
        let command = [&["run", module.as_str()], task, &["--command"], &payload];
        host.run(&command.concat()).json()["task"].clone()
    };
    assert_eq!(ran(&[]), "counting");
    assert_eq!(ran(&["other"]), "other");
}
