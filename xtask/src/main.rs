//! Everything a developer of Stem types: `cargo xtask demo`, `test`, `check`, `guests`, `services` and `chaos`.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people prints"
)]

mod chaos;
mod check;
mod command;
mod demo;
mod guests;
mod languages;
mod packages;
mod report;
mod services;
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
    /// Starts the servers that tests run against, and installs what is missing.
    Services(services::Wanted),
    /// Kills workers and servers at length, and counts what became of every envelope.
    Chaos(chaos::Arguments),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Demo => demo::run(),
        Xtask::Test(arguments) => suites::run(&arguments),
        Xtask::Check => check::run(),
        Xtask::Guests(arguments) => guests::run(&arguments),
        Xtask::Services(arguments) => services::run(&arguments),
        Xtask::Chaos(arguments) => chaos::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_can_be_typed() {
        Xtask::command().debug_assert();
    }
}
