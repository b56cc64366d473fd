//! Builds a task project for the sandbox, and finds the modules that came of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tokio::process::Command;

use crate::errors::Failure;

const TARGET: &str = "wasm32-wasip2";

/// A line of cargo's answer, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds; cargo says on standard error what it does and what is wrong.
pub async fn run(project: &Path) -> Result<Vec<PathBuf>> {
    let attempted = || format!("build `{}`", project.display());
    let building = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{}: run cargo", attempted()))?;
    let built = building.wait_with_output().await.with_context(attempted)?;
    if !built.status.success() {
        let failure = Failure::refused(attempted(), "see above");
        return Err(match has_target().await {
            true => failure.into(),
            false => failure.hint(format!("rustup target add {TARGET}")).into(),
        });
    }
    let modules = modules(&built.stdout);
    if modules.is_empty() {
        let problem = "no module came of it";
        return Err(Failure::refused(attempted(), problem)
            .hint("its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`")
            .into());
    }
    Ok(modules)
}

/// Whether the compiler can build for the sandbox at all.
async fn has_target() -> bool {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .await;
    let folder = asked
        .ok()
        .and_then(|answer| String::from_utf8(answer.stdout).ok());
    folder.is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

fn modules(answer: &[u8]) -> Vec<PathBuf> {
    let lines = answer.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    messages
        .filter(|message| message.reason == "compiler-artifact")
        .flat_map(|message| message.filenames)
        .filter(|file| file.extension().is_some_and(|ending| ending == "wasm"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_are_found_in_what_cargo_says() {
        let answer = br#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}
{"reason":"compiler-message","message":{}}
{"reason":"compiler-artifact","filenames":["/t/wasm32-wasip2/release/hello.wasm"]}
{"reason":"build-finished","success":true}"#;
        let found = modules(answer);
        assert_eq!(
            found,
            [PathBuf::from("/t/wasm32-wasip2/release/hello.wasm")]
        );
    }
}
