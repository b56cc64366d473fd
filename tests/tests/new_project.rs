//! What `stem-host new` makes builds, tests, deploys and runs as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use stem_tests::host::TestHost;
use stem_tests::workspace;

/// Cargo as a user runs it in the new project; what it builds is kept for the next run of this test.
fn cargo(project: &Path, arguments: &[&str]) {
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target())
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {said}");
}

/// Where cargo leaves what it builds.
fn target() -> PathBuf {
    workspace::root().join("target/new-project")
}

/// A new project's folder, with the versions that are used here: somebody else's release does not fail this test.
fn project(host: &TestHost) -> PathBuf {
    host.ok(&["new", "hello"]);
    let project = host.path("hello");
    let lock = workspace::root().join("Cargo.lock");
    std::fs::copy(lock, project.join("Cargo.lock")).expect("a copy");
    project
}

#[test]
fn a_new_project_builds_tests_deploys_and_runs_as_it_is() {
    let host = TestHost::new();
    let project = project(&host);
    cargo(&project, &["test"]);
    let wasm = ["build", "--target", "wasm32-wasip2", "--release"];
    cargo(&project, &wasm);
    let built = target().join("wasm32-wasip2/release/hello.wasm");
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
