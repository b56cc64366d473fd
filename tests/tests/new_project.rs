//! What `stem-host new` makes builds, tests, deploys and runs as it is.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use stem_tests::host::TestHost;
use stem_tests::workspace;

/// Cargo as a user runs it in the new project; what it builds is kept for the next run of this test.
fn cargo(project: &Path, arguments: &[&str]) {
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(project)
        .env(
            "CARGO_TARGET_DIR",
            workspace::root().join("target/new-project"),
        )
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {said}");
}

#[test]
fn a_new_project_builds_tests_deploys_and_runs_as_it_is() {
    let host = TestHost::new();
    host.ok(&["new", "hello"]);
    let project = host.path("hello");
    // The same versions as here: a release of somebody else's does not fail this test.
    let lock = workspace::root().join("Cargo.lock");
    std::fs::copy(lock, project.join("Cargo.lock")).expect("a copy");
    cargo(&project, &["test"]);
    cargo(
        &project,
        &["build", "--target", "wasm32-wasip2", "--release"],
    );
    let built = workspace::root().join("target/new-project/wasm32-wasip2/release/hello.wasm");
    let policy = project.join("stem.toml").display().to_string();
    host.ok(&["deploy", &built.display().to_string(), "--policy", &policy]);
    let _worker = host.worker(&[]);
    let id = host.enqueue("greet", &json!({"name": "Ada"}), &[]);
    assert_eq!(host.outcome(&id)["result"], json!({"text": "Hello, Ada!"}));
}

#[test]
fn a_project_is_never_written_over_something_else() {
    let host = TestHost::new();
    std::fs::create_dir(host.path("taken")).expect("a folder");
    let kept = host.write("taken/kept", "as it was");
    let answer = host.run(&["new", "taken"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert_eq!(
        std::fs::read_to_string(kept).expect("still there"),
        "as it was"
    );
}
