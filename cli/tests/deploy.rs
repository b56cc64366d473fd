//! What `deploy` refuses, what it says, and what is in force afterwards.

use serde_json::json;
use stem_tests::host::{TestHost, built_in, guest};

fn word_count() -> String {
    guest("word-count").display().to_string()
}

/// M1
#[test]
fn a_file_that_is_no_component_is_refused_by_what_it_is() {
    let host = TestHost::new();
    let text = host.write("text.wasm", "hello");
    host.run(&["deploy", &text]).assert(5, "is no WebAssembly");
    let core = host.write("core.wasm", b"\0asm\x01\0\0\0");
    host.run(&["deploy", &core])
        .assert(5, "a core WebAssembly module, not a component");
    let empty = host.write("empty.wasm", b"\0asm\x0d\0\x01\0");
    host.run(&["deploy", &empty])
        .assert(5, "does not export `stem:task/handler`");
    assert_eq!(host.json(&["module", "list"]), json!([]));
}

#[test]
fn a_file_that_is_not_there_is_wrong_usage() {
    let answer = TestHost::new().run(&["deploy", "none.wasm"]);
    answer.assert(2, "error: read the module `none.wasm`: ");
}

/// M4
#[test]
fn an_unknown_setting_is_refused_by_name() {
    let host = TestHost::new();
    let policy = host.write("p.toml", "[tasks.word-count]\nmax-atempts = 3\n");
    host.run(&["deploy", &word_count(), "--policy", &policy])
        .assert(2, "did you mean `max-attempts`?");
    host.run(&["deploy", &word_count(), "--memory", "3 elephants"])
        .assert(2, "is no size");
    for (flag, value, said) in [
        ("--fuel", "x", "`x` is no number from 1"),
        ("--fuel", "0", "`0` is no number from 1"),
        ("--cpu", "0s", "a time limit is longer than zero"),
        ("--memory", "100GiB", "no task can address more than 4 GiB"),
    ] {
        host.run(&["deploy", &word_count(), flag, value])
            .assert(2, said);
    }
}

/// M4
#[test]
fn flags_win_over_the_policy_and_that_over_the_module() {
    let host = TestHost::new();
    let module = std::fs::read(guest("word-count")).expect("built");
    let module = host.write("p/target/release/counting.wasm", module);
    host.write(
        "p/stem.toml",
        "[tasks.word-count]\nmax-attempts = 7\nhard-time-limit = \"7s\"\n",
    );
    let answer = host.run(&["deploy", &module, "--hard", "8s"]);
    answer.assert(0, "p/stem.toml");
    let policy = host.json(&["task", "show", "word-count"])["policy"].clone();
    assert_eq!(
        (&policy["max_attempts"], &policy["hard_time_limit_ms"]),
        (&json!(7), &json!(8_000))
    );
    assert_eq!(host.json(&["module", "list"])[0]["name"], "counting");
}

#[test]
fn a_dry_run_changes_nothing() {
    let host = TestHost::new();
    let planned = host.json(&["deploy", &word_count(), "--dry-run"]);
    assert_eq!(planned["tasks"], json!(["word-count"]));
    assert!(!host.path("stem.db").exists());
    let host = host.with_deployed(&["word-count"]);
    host.ok(&["keys", "generate", "--signing", "ed25519", "--id", "ci"]);
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "ci.private");
    let canary = ["deploy", &word_count(), "--canary", "5%", "--dry-run"];
    let planned = host.json(&canary);
    let role = (&planned["canary_percent"], &planned["signed_by"]);
    assert_eq!(role, (&json!(5.0), &json!("ci")));
    let said = "would deploy `word_count` as canary for 5% of the envelopes, with the tasks \
        word-count, signed with `ci`";
    assert_eq!(host.ok(&canary), said);
}

/// M1, M3
#[test]
fn a_task_of_another_deployment_is_moved_only_on_purpose() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let module = word_count();
    let refused = "the task `word-count` belongs to the deployment `word_count`";
    let deploy = ["deploy", module.as_str(), "--name", "other"];
    host.run(&deploy).assert(5, refused);
    host.run(&[&deploy[..], &["--dry-run"]].concat())
        .assert(5, refused);
    host.ok(&["deploy", &module, "--name", "other", "--force"]);
    assert_eq!(
        host.json(&["task", "show", "word-count"])["module"],
        "other"
    );
}

/// M3
#[test]
fn a_version_that_drops_a_task_that_envelopes_wait_for_is_refused() {
    let host = TestHost::new();
    let built_in = built_in().display().to_string();
    host.ok(&["deploy", &built_in, "--name", "m"]);
    host.ok(&["enqueue", "noop"]);
    host.ok(&["enqueue", "noop", "--delay", "1h"]);
    let module = word_count();
    let answer = host.run(&["deploy", &module, "--name", "m"]);
    answer.assert(5, "it drops tasks that envelopes wait for: `noop` (2)");
    let forced = host.json(&["deploy", &module, "--name", "m", "--force"]);
    assert_eq!(
        (&forced["version"], &forced["active"]),
        (&json!(2), &json!(true))
    );
}

/// M3
#[test]
fn versions_are_counted_shown_and_removed() {
    let host = TestHost::new().with_deployed(&["word-count", "word-count"]);
    let listed = host.json(&["module", "list"]);
    let versions = (&listed[0]["version"], &listed[1]["version"]);
    assert_eq!(versions, (&json!(2), &json!(1)));
    let digest = listed[0]["digest"].as_str().expect("text");
    for named in ["word_count", &digest[..8]] {
        assert_eq!(host.json(&["module", "show", named])["version"], 2);
    }
    let removed = host.json(&["module", "remove", "word_count@1", "--yes"]);
    let counts = (&removed["removed"], &removed["undeployed"]);
    assert_eq!(counts, (&json!(1), &json!([])));
    let left = host.json(&["module", "list"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1));
}

/// M3
#[test]
fn what_goes_with_the_active_version_is_said() {
    let host = TestHost::new().with_deployed(&["word-count", "word-count"]);
    let said = "word_count@2, after which these tasks are not deployed: word-count";
    let remove = ["module", "remove", "word_count@2"];
    host.run(&remove)
        .assert(2, &format!("error: remove {said}: "));
    assert_eq!(
        host.ok(&[&remove[..], &["--yes"]].concat()),
        format!("removed {said}")
    );
    assert_eq!(host.json(&["task", "list"]), json!([]));
}

/// M3
#[test]
fn an_active_version_that_envelopes_wait_for_is_removed_only_on_purpose() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.ok(&["enqueue", "word-count", "--payload", r#"{"text":""}"#]);
    let remove = ["module", "remove", "word_count", "--yes"];
    let refused = "it drops tasks that envelopes wait for: `word-count` (1)";
    host.run(&remove).assert(5, refused);
    let removed = host.json(&[&remove[..], &["--force"]].concat());
    let said = (&removed["removed"], &removed["waiting_by_task"]);
    assert_eq!(said, (&json!(1), &json!({"word-count": 1})));
}

/// The benchmarks' guest lies in the repository, compiled.
#[test]
fn the_built_in_guest_is_small_and_deploys() {
    let size = std::fs::metadata(built_in()).expect("committed").len();
    assert!(size <= 60 << 10, "{size} bytes");
    let deployed = TestHost::new().json(&["deploy", &built_in().display().to_string()]);
    assert_eq!(deployed["tasks"], json!(["noop", "sleep", "spin"]));
}
