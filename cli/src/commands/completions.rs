//! `completions`: what a shell needs to complete commands and flags.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::output::Output;

/// For which shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that the script is for
    shell: Shell,
}

/// Prints the script of a shell.
pub fn run(args: &Args, output: &Output) -> Result<()> {
    let mut script = Vec::new();
    let mut command = crate::CommandLine::command();
    clap_complete::generate(args.shell, &mut command, "stem-host", &mut script);
    output.bytes(&script)
}
