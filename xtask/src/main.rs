//! Everything a developer of Stem types: `cargo xtask demo`, `test`, `check` and `guests`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command for people prints")]

mod check;
mod command;
mod demo;
mod guests;
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
    /// Builds the example tasks, and renews the guest that `stem-host bench` carries.
    Guests,
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Demo => demo::run(),
        Xtask::Test(arguments) => suites::run(&arguments),
        Xtask::Check => check::run(),
        Xtask::Guests => guests::build_and_keep(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
