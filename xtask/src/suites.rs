//! Runs everything that a change must pass, suite by suite, each timed and counted.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::command::{self, capture, cargo, has_cargo};
use crate::report::{Report, Step};
use crate::{check, guests};

/// How the suites are run.
#[derive(Args)]
pub struct Arguments {
    /// Go on after a suite that fails.
    #[arg(long)]
    keep_going: bool,
    /// Measure which lines the suites reach; needs cargo-llvm-cov.
    #[arg(long)]
    coverage: bool,
    /// Run only the suites whose name holds this, and no checks.
    filter: Option<String>,
}

/// Runs the checks, builds the guests, and runs every suite.
pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.coverage {
        return measure_coverage();
    }
    let mut report = Report::new(!arguments.keep_going);
    if arguments.filter.is_none() {
        check::steps(&mut report)?;
    }
    build(&mut report)?;
    for step in suites()? {
        let is_meant = |filter: &String| step.name().contains(filter.as_str());
        if arguments.filter.as_ref().is_none_or(is_meant) {
            report.run(step)?;
        }
    }
    report.conclude()
}

/// Every invocation says `--workspace`: the same features everywhere, so that nothing is built twice.
fn build(report: &mut Report) -> Result<()> {
    report.run(Step::new("build the guests", guests::build_command()?))?;
    let host = cargo(&["build", "--workspace", "--bins"]);
    report.run(Step::new("build the host", host))?;
    let tests = cargo(&["test", "--workspace", "--no-run"]);
    report.run(Step::new("build the suites", tests))
}

fn suites() -> Result<Vec<Step>> {
    let test = |what: &[&str]| cargo(&[&["test", "--workspace", "--no-fail-fast"], what].concat());
    let mut steps = vec![Step::suite("beside the code", test(&["--lib", "--bins"]))];
    for name in suite_names()? {
        let command = test(&["--test", &name]);
        steps.push(Step::suite(name, command));
    }
    steps.push(Step::suite("examples in the documents", test(&["--doc"])));
    let sdk = cargo(&[
        "test",
        "-p",
        "stem-guest",
        "--all-features",
        "--no-fail-fast",
    ]);
    steps.push(Step::suite("guest SDK with every feature", sdk));
    Ok(steps)
}

/// The names of the files in every package's `tests/` folder.
fn suite_names() -> Result<BTreeSet<String>> {
    let asked = capture(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    ensure!(asked.is_success, "`cargo metadata` failed: {}", asked.text);
    let metadata: Value = serde_json::from_str(&asked.text).context("reading `cargo metadata`")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    Ok(targets
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect())
}

fn measure_coverage() -> Result<()> {
    ensure!(
        has_cargo("llvm-cov"),
        "measuring coverage: cargo-llvm-cov is not installed: `cargo install cargo-llvm-cov` and `rustup component add llvm-tools` bring it"
    );
    command::run(guests::build_command()?)?;
    let arguments = ["llvm-cov", "--workspace", "--no-fail-fast", "--html"];
    command::run(cargo(&arguments))?;
    println!("the report is in target/llvm-cov/html/index.html");
    Ok(())
}
