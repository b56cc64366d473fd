//! Guests that were built against each published version of `stem:task`, and are kept compiled, run on this host.

use serde_json::json;
use stem_tests::host::TestHost;
use stem_tests::workspace;

/// The versions of the contract that were published.
const PUBLISHED: [&str; 1] = ["0.1.0"];

/// M5: a new version of the contract comes beside the old ones.
#[test]
fn a_guest_of_every_published_version_of_the_contract_runs() {
    for version in PUBLISHED {
        let kept = format!("tests/fixtures/guests/task-{version}.wasm");
        let host = TestHost::new();
        host.ok(&[
            "deploy",
            &workspace::root().join(kept).display().to_string(),
        ]);
        let _worker = host.worker(&[]);
        let id = host.enqueue("noop", &json!({"a": 1}), &[]);
        let outcome = host.outcome(&id);
        assert_eq!(outcome["result"], json!({"a": 1}), "{version}: {outcome}");
    }
}

/// M5
#[test]
fn the_contract_of_this_build_has_a_guest_that_is_kept() {
    let contract = workspace::read("wit/task.wit");
    let newest = contract
        .lines()
        .find_map(|line| line.strip_prefix("package stem:task@"));
    let newest = newest.map(|version| version.trim_end_matches(';'));
    assert_eq!(newest, PUBLISHED.last().copied());
}
