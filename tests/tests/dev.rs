//! `stem-host dev`: what is deployed when a project changes, and what is left alone.
//!
//! A stand-in for cargo gives the examples that are built already.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use stem_tests::host::{TestHost, guest};
use stem_tests::worker::Worker;

/// A project whose build gives these examples.
fn project(examples: &[&str]) -> TestHost {
    let host = TestHost::new();
    for folder in ["bin", "project/src", "project/target"] {
        std::fs::create_dir_all(host.path(folder)).expect("a folder");
    }
    host.write("project/Cargo.toml", "");
    let files: Vec<PathBuf> = examples.iter().map(|name| built(&host, name)).collect();
    let artifact = json!({"reason": "compiler-artifact", "filenames": files});
    let cargo = host.write("bin/cargo", format!("#!/bin/sh\necho '{artifact}'\n"));
    let everyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(cargo, everyone).expect("a program");
    let path = format!("{}:{}", host.path("bin").display(), env!("PATH"));
    host.with("PATH", path)
}

/// Where the project's build leaves an example.
fn built(host: &TestHost, example: &str) -> PathBuf {
    let file = host.path(&format!("project/target/{example}.wasm"));
    std::fs::copy(guest(example), &file).expect("built");
    file
}

fn dev(host: &TestHost) -> Worker {
    Worker::start(host.command(&["dev", "--watch", "project"]))
}

/// Every version that was deployed, newest first.
fn versions(host: &TestHost) -> Vec<Value> {
    let listed = host.json(&["module", "list"]);
    let listed = listed.as_array().into_iter().flatten();
    listed
        .map(|one| json!([one["name"], one["version"]]))
        .collect()
}

/// M3, M4
#[test]
fn a_changed_policy_is_deployed_though_the_module_is_the_same() {
    let host = project(&["noop"]);
    let mut dev = dev(&host);
    host.write("project/stem.toml", "[defaults]\nmax-attempts = 7\n");
    dev.hear("deployed noop@2");
    let policy = host.json(&["task", "show", "noop"])["policy"].clone();
    assert_eq!(policy["max_attempts"], 7);
}

/// M3
#[test]
fn of_two_modules_only_the_changed_one_is_deployed_again() {
    let host = project(&["word-count", "noop"]);
    let mut dev = dev(&host);
    let changed = stem_tests::host::renamed_guest("noop");
    std::fs::write(host.path("project/target/noop.wasm"), changed).expect("built");
    host.write("project/src/lib.rs", "");
    dev.hear("deployed noop@2");
    let expected = [
        json!(["noop", 2]),
        json!(["noop", 1]),
        json!(["word-count", 1]),
    ];
    assert_eq!(versions(&host), expected);
}

/// M3
#[test]
fn what_is_in_force_already_is_not_deployed_again_at_the_next_start() {
    let host = project(&["noop"]);
    drop(dev(&host));
    drop(dev(&host));
    assert_eq!(versions(&host), [json!(["noop", 1])]);
}

#[test]
fn a_queue_that_nobody_takes_from_yet_is_said() {
    let host = project(&["noop"]);
    let mut dev = dev(&host);
    host.write("project/stem.toml", "[defaults]\nqueue = \"late\"\n");
    dev.hear("does not take from `late` yet");
}
