//! Versions of a module: listed, compared, taken back, and tried on a share of the envelopes (M3).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stem_tests::host::{TestHost, built_in, guest, renamed_guest, text};

/// A host with two versions of `m`, the second of them active.
fn with_two_versions() -> TestHost {
    let host = TestHost::new();
    let module = built_in().display().to_string();
    host.ok(&["deploy", &module, "--name", "m"]);
    let other = guest("word-count").display().to_string();
    host.ok(&["deploy", &other, "--name", "m"]);
    host
}

/// The versions of everything: number, whether it is active, and its share as a canary.
fn roles(host: &TestHost) -> Value {
    let listed = host.json(&["module", "list"]);
    let listed = listed.as_array().into_iter().flatten();
    listed
        .map(|one| json!([one["version"], one["active"], one["canary_percent"]]))
        .collect()
}

/// M3
#[test]
fn a_version_that_was_active_before_is_made_active_again() {
    let host = with_two_versions();
    host.run(&["module", "rollback", "m"])
        .assert(2, "--yes goes ahead");
    let planned = host.ok(&["module", "rollback", "m", "--dry-run"]);
    assert_eq!(planned, "would make m@1 active in place of m@2");
    assert_eq!(roles(&host), json!([[2, true, null], [1, false, null]]));
    let said = host.ok(&["module", "rollback", "m", "--yes"]);
    assert_eq!(said, "m@1 is active");
    assert_eq!(roles(&host), json!([[2, false, null], [1, true, null]]));
    host.ok(&["enqueue", "noop"]);
}

/// M3: before, in time: a version that was given up is not gone back to because its number is lower.
#[test]
fn going_back_leads_to_the_version_that_was_active_last() {
    let host = with_two_versions();
    let rollback = ["module", "rollback", "m", "--yes"];
    assert_eq!(host.ok(&rollback), "m@1 is active");
    let third = guest("markdown").display().to_string();
    host.ok(&["deploy", &third, "--name", "m"]);
    assert_eq!(host.ok(&rollback), "m@1 is active");
    assert_eq!(host.ok(&rollback), "m@3 is active");
    host.ok(&["module", "remove", "m@1", "--yes"]);
    host.ok(&["module", "remove", "m@2", "--yes"]);
    host.run(&rollback)
        .assert(5, "no version is kept that was active before");
}

/// M3
#[test]
fn a_version_is_chosen_by_number_by_name_or_by_digest() {
    let host = with_two_versions();
    let digest = text(&host.json(&["module", "show", "m@1"])["digest"]);
    let choices = [&["m", "--to", "1"][..], &["m@2"], &[&digest[..8]]];
    for (choice, version) in choices.into_iter().zip([1, 2, 1]) {
        let rollback = [&["module", "rollback"], choice, &["--yes"]].concat();
        let done = host.json(&rollback);
        assert_eq!(done["active"]["version"], version, "{choice:?}");
    }
}

/// M3: which deployment is changed is never a guess.
#[test]
fn a_module_of_several_names_is_named_and_a_version_is_looked_for_among_all() {
    let host = with_two_versions();
    let module = guest("word-count").display().to_string();
    host.ok(&["deploy", &module, "--name", "other", "--force"]);
    let digest = text(&host.json(&["module", "show", "other"])["digest"]);
    for verb in ["rollback", "promote"] {
        host.run(&["module", verb, &digest[..8]])
            .assert(2, "deployed under several names: m, other");
    }
    let planned = host.ok(&["module", "rollback", "m@2", "--to", "1", "--dry-run"]);
    assert_eq!(planned, "would make m@1 active in place of m@2");
}

/// M3
#[test]
fn a_version_that_is_active_or_is_not_kept_is_none_to_go_back_to() {
    let host = with_two_versions();
    host.run(&["module", "rollback", "m@2", "--yes"])
        .assert(5, "m@2 is active already");
    host.run(&["module", "rollback", "m", "--to", "7", "--yes"])
        .assert(1, "there is no such version: kept are 2, 1");
}

/// M3
#[test]
fn going_back_drops_no_task_that_envelopes_wait_for() {
    let host = with_two_versions();
    host.ok(&["enqueue", "word-count", "--payload", r#"{"text":""}"#]);
    let rollback = ["module", "rollback", "m", "--yes"];
    host.run(&rollback).assert(
        5,
        "it drops tasks that envelopes wait for: `word-count` (1)",
    );
    host.ok(&[&rollback[..], &["--force"]].concat());
    assert_eq!(roles(&host), json!([[2, false, null], [1, true, null]]));
}

/// M1, M3
#[test]
fn going_back_takes_no_task_from_another_deployment_by_surprise() {
    let host = with_two_versions();
    let module = built_in().display().to_string();
    host.ok(&["deploy", &module, "--name", "other"]);
    let rollback = ["module", "rollback", "m", "--yes"];
    host.run(&["module", "rollback", "m", "--dry-run"])
        .assert(5, "the task `noop` belongs to the deployment `other` now");
    host.run(&rollback)
        .assert(5, "the task `noop` belongs to the deployment `other` now");
    host.ok(&[&rollback[..], &["--force"]].concat());
    assert_eq!(host.json(&["task", "show", "noop"])["module"], "m");
}

/// M3
#[test]
fn two_versions_are_compared_task_by_task_and_setting_by_setting() {
    let host = TestHost::new();
    host.deploy("word-count", &["--name", "m", "--env", "MODE=a"]);
    host.deploy("word-count", &["--name", "m", "--memory", "32MiB"]);
    let found = host.json(&["module", "diff", "m@1", "m@2"])["differences"].clone();
    let policy = json!({"what": "policy", "task": "word-count", "name": "memory-limit",
        "before": "64 MiB", "after": "32 MiB"});
    let grant = json!({"what": "grant", "task": null, "name": "environment",
        "before": "MODE = a", "after": null});
    assert_eq!(found, json!([policy, grant]));
    let same = host.ok(&["module", "diff", "m@1", "m@1"]);
    assert_eq!(same, "m@1 and m@1 are the same");
}

/// M3
#[test]
fn another_module_differs_in_tasks_schemas_digest_and_imports() {
    let host = with_two_versions();
    let found = host.json(&["module", "diff", "m@1", "m"])["differences"].clone();
    let what = |one: &Value| format!("{} {}", text(&one["what"]), text(&one["name"]));
    let found: Vec<String> = found.as_array().into_iter().flatten().map(what).collect();
    for expected in ["digest null", "size null", "task noop", "task word-count"] {
        assert!(
            found.iter().any(|one| one == expected),
            "{expected}: {found:?}"
        );
    }
    assert!(
        found.iter().any(|one| one.starts_with("import ")),
        "{found:?}"
    );
}

/// A host with `word_count@1` active, and a module that can be its canary.
fn with_a_candidate() -> (TestHost, String) {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let module = host.write("word_count.wasm", renamed_guest("word-count"));
    (host, module)
}

/// M3: what an envelope ran on stands in its record.
#[test]
fn a_canary_has_its_share_until_it_is_promoted() {
    let (host, module) = with_a_candidate();
    let said = host.ok(&["deploy", &module, "--canary", "50%"]);
    assert!(
        said.contains("as canary for 50% of the envelopes"),
        "{said}"
    );
    assert_eq!(roles(&host), json!([[2, false, 50.0], [1, true, null]]));
    let _worker = host.worker(&[]);
    let ids = host.enqueue_each("word-count", (0..60).map(|_| json!({"text": "a"})));
    let ran_on = |id: &String| text(&host.outcome(id)["attempts"][0]["module"]);
    let modules: BTreeSet<String> = ids.iter().map(ran_on).collect();
    assert_eq!(modules.len(), 2, "both versions run");
    let promoted = host.ok(&["module", "promote", "word_count"]);
    assert_eq!(promoted, "word_count@2 is active");
    assert_eq!(roles(&host), json!([[2, true, null], [1, false, null]]));
}

/// M3
#[test]
fn a_canary_is_ended_by_going_back() {
    let (host, module) = with_a_candidate();
    host.ok(&["deploy", &module, "--canary", "5%"]);
    let rollback = ["module", "rollback", "word_count", "--yes"];
    let ended = "the canary word_count@2 is ended: word_count@1 has all envelopes";
    assert_eq!(host.ok(&rollback), ended);
    host.run(&["module", "promote", "word_count"])
        .assert(5, "no canary runs");
    host.run(&rollback)
        .assert(5, "no version is kept that was active before");
}

/// M3
#[test]
fn a_version_for_all_envelopes_ends_the_canary() {
    let (host, module) = with_a_candidate();
    host.ok(&["deploy", &module, "--canary", "5%"]);
    host.ok(&["deploy", &module]);
    let versions = json!([[3, true, null], [2, false, null], [1, false, null]]);
    assert_eq!(roles(&host), versions);
}

/// M3
#[test]
fn a_canary_needs_something_beside_it_and_moves_nothing() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let module = guest("word-count").display().to_string();
    let canary = ["deploy", module.as_str(), "--canary", "5%"];
    host.run(&[&canary[..], &["--name", "new"]].concat())
        .assert(5, "a canary moves no tasks");
    let built_in = built_in().display().to_string();
    let first = ["deploy", built_in.as_str(), "--canary", "5%", "--dry-run"];
    host.run(&first)
        .assert(5, "`noop` has no active version to share envelopes with");
    host.run(&[&canary[..], &["--force"]].concat())
        .assert(2, "cannot be used with");
    host.run(&["deploy", &module, "--canary", "5"])
        .assert(2, "`5` is no share: write 5% or 0.25%");
}
