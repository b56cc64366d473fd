//! Runs everything that a change must pass, suite by suite, each timed and counted.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::command::{self, answer, cargo, has_cargo};
use crate::report::{Report, Step};
use crate::services::{self, Services};
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
    #[command(flatten)]
    services: services::Wanted,
    /// Run only the suites whose name holds this, and no checks.
    filter: Option<String>,
}

/// Runs the checks, builds the guests, and runs every suite.
pub fn run(arguments: &Arguments) -> Result<()> {
    services::install(&arguments.services)?;
    if arguments.coverage {
        return measure_coverage(&arguments.services);
    }
    let suites = meant(suites()?, arguments.filter.as_deref())?;
    let mut report = Report::new(!arguments.keep_going);
    if arguments.filter.is_none() {
        check::steps(&mut report)?;
    }
    build(&mut report)?;
    let services = Services::start(&arguments.services)?;
    for suite in suites {
        report.run(suite.with(services.variables()))?;
    }
    report.conclude()
}

/// The suites whose name holds the filter: a slip of the pen must not look like success.
fn meant(mut suites: Vec<Step>, filter: Option<&str>) -> Result<Vec<Step>> {
    let Some(filter) = filter else {
        return Ok(suites);
    };
    let names: Vec<String> = suites.iter().map(|suite| suite.name().to_owned()).collect();
    suites.retain(|suite| suite.name().contains(filter));
    ensure!(
        !suites.is_empty(),
        "no suite's name holds `{filter}`: there are {}",
        names.join(", ")
    );
    Ok(suites)
}

/// Every invocation says `--workspace`: the same features everywhere, so that nothing is built twice.
fn build(report: &mut Report) -> Result<()> {
    report.run(Step::new("build the guests", guests::build_command()?))?;
    let host = cargo(&["build", "--workspace", "--bins"]);
    report.run(Step::new("build the host", host))?;
    // Where everything is set up by one command, that command installs what is missing.
    let foreign = cargo(&["xtask", "guests", "--all", "--yes"]);
    report.run(Step::new("build guests in other languages", foreign))?;
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
    let asked = answer(cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&asked).context("reading `cargo metadata`")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    Ok(targets
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect())
}

fn measure_coverage(wanted: &services::Wanted) -> Result<()> {
    ensure!(
        has_cargo("llvm-cov"),
        "measuring coverage: cargo-llvm-cov is not installed: `cargo install cargo-llvm-cov` and `rustup component add llvm-tools` bring it"
    );
    command::run(guests::build_command()?)?;
    let services = Services::start(wanted)?;
    let mut measure = cargo(&["llvm-cov", "--workspace", "--no-fail-fast", "--html"]);
    measure.envs(services.variables());
    command::run(measure)?;
    println!("the report is in target/llvm-cov/html/index.html");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_fits_no_suite_is_an_error_that_names_them() {
        let suites = || ["chaos", "control"].map(|name| Step::suite(name, cargo(&[])));
        let found = meant(suites().into(), Some("cha")).expect("one");
        assert_eq!(found.len(), 1);
        let error = meant(suites().into(), Some("chais")).err().expect("none");
        assert!(error.to_string().ends_with("there are chaos, control"));
    }
}
