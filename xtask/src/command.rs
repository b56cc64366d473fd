//! Runs other programs: from the workspace's root, with what they print kept until somebody needs it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Cargo with these arguments, in the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    program("cargo", arguments)
}

/// A program with these arguments, in the workspace.
pub fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root());
    command
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Runs a command whose output is for the person who waits for it.
pub fn run(mut command: Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("running `{}`", shown(&command)))?;
    ensure!(status.success(), "`{}` failed", shown(&command));
    Ok(())
}

/// What a command printed, and whether it succeeded.
pub struct Printed {
    /// Standard output and standard error, in the order of their writing.
    pub text: String,
    /// Whether its exit code was 0.
    pub is_success: bool,
}

/// Runs a command and keeps what it prints.
pub fn capture(mut command: Command) -> Result<Printed> {
    let what = shown(&command);
    let (mut reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("running `{what}`"))?;
    // The command holds the pipe's other end open: without this, reading would never end.
    drop(command);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(Printed {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        is_success: child.wait()?.success(),
    })
}

/// Whether cargo has this subcommand.
pub fn has_cargo(subcommand: &str) -> bool {
    let asked = capture(cargo(&[subcommand, "--version"]));
    asked.is_ok_and(|printed| printed.is_success)
}
