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

/// Where everything that is built lies, whatever else this machine is told: users, tests and documents name it.
pub fn target() -> PathBuf {
    root().join("target")
}

/// Cargo with these arguments, in the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = program("cargo", arguments);
    command
        .env("CARGO_TARGET_DIR", target())
        .env_remove("CARGO_BUILD_TARGET");
    command
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

/// Runs a command whose output matters only where it fails.
pub fn quietly(command: Command) -> Result<()> {
    let what = shown(&command);
    let printed = capture(command)?;
    ensure!(
        printed.is_success,
        "`{what}` failed:\n{}",
        printed.text.trim()
    );
    Ok(())
}

/// What a command answers on its standard output; what else it says is for the person who waits.
pub fn answer(mut command: Command) -> Result<String> {
    let what = shown(&command);
    let answered = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running `{what}`"))?;
    ensure!(answered.status.success(), "`{what}` failed");
    Ok(String::from_utf8_lossy(&answered.stdout).into_owned())
}

/// Whether cargo has this subcommand.
pub fn has_cargo(subcommand: &str) -> bool {
    let asked = capture(cargo(&[subcommand, "--version"]));
    asked.is_ok_and(|printed| printed.is_success)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_warning_is_no_part_of_an_answer() {
        let script = "echo 'warning: unused key' >&2; echo '{}'";
        let answered = answer(program("sh", &["-c", script])).expect("it runs");
        assert_eq!(answered, "{}\n");
        assert!(answer(program("sh", &["-c", "exit 1"])).is_err());
    }

    #[test]
    fn what_is_built_lies_where_it_is_looked_for_on_every_machine() {
        let command = cargo(&["build"]);
        let set: Vec<_> = command.get_envs().collect();
        let folder = target();
        let expected = (OsStr::new("CARGO_TARGET_DIR"), Some(folder.as_os_str()));
        assert!(set.contains(&expected), "{set:?}");
        assert!(set.contains(&(OsStr::new("CARGO_BUILD_TARGET"), None)));
    }
}
