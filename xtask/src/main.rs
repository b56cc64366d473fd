//! Everything a developer of Stem types: `cargo xtask demo`, `test`, `check` and `guests`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people prints"
)]

mod check;
mod command;
mod demo;
mod guests;
mod languages;
mod report;
mod suites;

use std::process::ExitCode;

use clap::Parser;

/// Everything a developer of Stem types.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    /// Shows the whole system at work on an embedded store; ends by itself.
    Demo,
    /// Runs everything that a change must pass: `check`, the guests, and every suite.
    Test(suites::Arguments),
    /// Looks at the code without running it: format, lints, documents, dependencies.
    Check,
    /// Builds the example tasks.
    Guests(guests::Arguments),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Demo => demo::run(),
        Xtask::Test(arguments) => suites::run(&arguments),
        Xtask::Check => check::run(),
        Xtask::Guests(arguments) => guests::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
