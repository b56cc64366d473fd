//! The built command on the demonstration's store, as a user runs it from the workspace's root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{PATIENCE, now};
use crate::command::{program, root, target};

/// Where the demonstration's store is, from the workspace's root.
pub const STORE: &str = "sqlite:target/demo/stem.db";
/// How a command ends that a check refuses.
const REFUSED: i32 = 5;
/// Where the command is, from the workspace's root.
pub const BINARY: &str = "target/debug/stem-host";

/// The command with the store that it works on.
pub struct Host {
    folder: PathBuf,
    /// A relative program would be looked for in the folder of whoever runs this.
    binary: String,
}

impl Host {
    /// An empty store: what an earlier demonstration left is gone.
    pub fn on_a_new_store() -> Result<Self> {
        let folder = target().join("demo");
        if folder.exists() {
            fs::remove_dir_all(&folder).context("removing the last demonstration's store")?;
        }
        fs::create_dir_all(&folder).context("making the demonstration's folder")?;
        let binary = root().join(BINARY).display().to_string();
        Ok(Self { folder, binary })
    }

    /// Writes a file beside the store.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&self.binary, arguments);
        command
            .env("STEM_BROKER_URL", STORE)
            .env_remove("STEM_RESULT_BACKEND_URL");
        command
    }

    /// Runs a command with `--json`, and reads its answer.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.ask(arguments, &[0])
    }

    /// How an envelope ended, whatever its end is.
    pub fn outcome(&self, id: &str) -> Result<Value> {
        self.ask(&["result", id, "--wait", "--timeout", "60s"], &[0, 1])
    }

    /// Runs a command that prints one thing a line.
    pub fn lines(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = self
            .command(arguments)
            .output()
            .context("running stem-host")?;
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`stem-host {}`: {problem}",
            arguments.join(" ")
        );
        let printed = String::from_utf8_lossy(&output.stdout);
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Runs a command that a check refuses, and gives what it says.
    pub fn refusal(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(arguments);
        let output = command.output().context("running stem-host")?;
        let what = arguments.join(" ");
        let is_refused = output.status.code() == Some(REFUSED);
        ensure!(is_refused, "`stem-host {what}` was not refused");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn ask(&self, arguments: &[&str], expected: &[i32]) -> Result<Value> {
        let what = || format!("running `stem-host {} --json`", arguments.join(" "));
        let output = self
            .command(arguments)
            .arg("--json")
            .output()
            .with_context(what)?;
        let is_expected = output
            .status
            .code()
            .is_some_and(|code| expected.contains(&code));
        ensure!(
            is_expected,
            "{}: {}",
            what(),
            String::from_utf8_lossy(&output.stderr)
        );
        match output.stdout.trim_ascii() {
            [] => Ok(Value::Null),
            text => serde_json::from_slice(text).with_context(what),
        }
    }

    /// Returns when the envelope is in this state.
    pub fn until(&self, id: &str, state: &str) -> Result<()> {
        let began = now();
        while self.json(&["result", id])?["state"] != state {
            ensure!(
                began.elapsed() < PATIENCE,
                "{id} is not {state} after a minute"
            );
        }
        Ok(())
    }

    /// Starts a worker, and returns when it is ready.
    pub fn worker(&self) -> Result<Worker> {
        let mut command = self.command(&["worker", "start"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting a worker")?;
        let stderr = child
            .stderr
            .take()
            .context("reading what the worker says")?;
        let mut worker = Worker {
            child,
            thread: None,
        };
        let mut lines = BufReader::new(stderr).lines();
        for line in lines.by_ref() {
            let line = line?;
            if line.contains(" ready") {
                super::show::line(line);
                // What it says later must be read, or it would wait for a reader in the end.
                worker.thread = Some(std::thread::spawn(move || lines.for_each(drop)));
                return Ok(worker);
            }
        }
        bail!("starting a worker: it ended at once")
    }
}

/// A worker that ends with the demonstration.
pub struct Worker {
    child: Child,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Tells the worker to stop, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("stopping the worker")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the worker ended with {status}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
