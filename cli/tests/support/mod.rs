//! A system of its own for one test: a folder with a store, and the built command as a user runs it.
#![allow(
    dead_code,
    reason = "every suite is a program of its own and uses a part of this"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a store; everything is gone with it.
pub struct Host {
    folder: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A worker; it is killed with its test.
pub struct Worker(Child);

impl Host {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    /// A new store with these examples deployed.
    pub fn with(examples: &[&str]) -> Self {
        let host = Self::new();
        for example in examples {
            let module = guest(example).display().to_string();
            host.ok(&["deploy", &module]);
        }
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    /// The command in the test's folder, with nothing of the tester's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stem-host"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("STEM_BROKER_URL", "sqlite:stem.db")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments))
    }

    /// Runs a command to its end with another variable in its environment.
    pub fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Answer {
        let mut command = self.command(arguments);
        command.env(variable.0, variable.1);
        Answer::of(command)
    }

    /// Runs a command that must succeed, and gives what it prints.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "{arguments:?}: {answer:?}");
        answer.stdout.trim_end().to_owned()
    }

    /// Runs a command that must succeed with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Starts a worker, and returns when it is ready.
    pub fn worker(&self) -> Worker {
        let mut command = self.command(&["worker", "start"]);
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(" ready")));
        assert!(ready.is_some(), "the worker ended at once");
        std::thread::spawn(move || lines.for_each(drop));
        Worker(child)
    }
}

impl Answer {
    fn of(mut command: Command) -> Self {
        let output = command.output().expect("the command runs");
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless the command ended so, and said this on standard error.
    pub fn assert(&self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(said), "no `{said}` in {self:?}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A built example.
pub fn guest(example: &str) -> PathBuf {
    let file = format!("{}.wasm", example.replace('-', "_"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/wasm32-wasip2/guest")
        .join(file);
    assert!(path.exists(), "not built: `cargo xtask guests` does it");
    path
}

/// The guest that the benchmarks carry: the tasks `noop` and `spin`.
pub fn built_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/noop.wasm")
}
