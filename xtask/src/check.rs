//! Looks at the code without running it: format, lints, documents, dependencies.

use anyhow::Result;

use crate::command::{cargo, has_cargo};
use crate::guests::{install_component, install_target};
use crate::report::{Report, Step};

/// Runs every check, and says how each went.
pub fn run() -> Result<()> {
    let mut report = Report::new(true);
    steps(&mut report)?;
    report.conclude()
}

/// Runs every check as part of a larger report.
pub fn steps(report: &mut Report) -> Result<()> {
    install_target()?;
    install_component("fmt", "rustfmt")?;
    install_component("clippy", "clippy")?;
    report.run(Step::new("format", cargo(&["fmt", "--all", "--check"])))?;
    let lints = "clippy --workspace --all-targets -- -D warnings";
    report.run(Step::new("lints", words(lints)))?;
    // What only guests compile is invisible to the lints of the host.
    let guests = "clippy --target wasm32-wasip2 -p stem-guest -p example-word-count -- -D warnings";
    report.run(Step::new("lints of the guest's side", words(guests)))?;
    let mut documents = words("doc --workspace --no-deps");
    documents.env("RUSTDOCFLAGS", "-D warnings");
    report.run(Step::new("documents of the code", documents))?;
    if has_cargo("deny") {
        let deny = words("deny check bans licenses sources");
        report.run(Step::new("licences and sources", deny))?;
    } else {
        report
            .note("licences and sources: not checked: `cargo install cargo-deny` brings the tool");
    }
    Ok(())
}

fn words(line: &str) -> std::process::Command {
    cargo(&line.split(' ').collect::<Vec<_>>())
}
