//! A system of its own for one test: a folder, a store in it, and the built `stem-host` as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::worker::{Worker, in_use};
use crate::workspace;

/// No wait of a test lasts longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a store, and the command that works on it. Everything is gone with it.
pub struct TestHost {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What a command said.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// Its standard output as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless the command ended so, and said this on standard error.
    ///
    /// # Panics
    /// Where it did not.
    pub fn assert(&self, code: i32, said: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(said), "no `{said}` in {self:?}");
    }

    fn of(mut command: Command) -> Self {
        command.output().expect("stem-host is built").into()
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What a command took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory that it had in use at one time, without processes of its own, as it was seen last.
    pub peak_bytes: u64,
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHost {
    /// An empty store in a folder of its own.
    ///
    /// # Panics
    /// Where no folder can be made.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let variables = [
            ("HOME", folder.path().display().to_string()),
            ("STEM_BROKER_URL", "sqlite:stem.db".to_owned()),
        ];
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            folder,
        }
    }

    /// The same with another variable in the environment.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The same with these examples deployed.
    pub fn with_deployed(self, examples: &[&str]) -> Self {
        for example in examples {
            self.deploy(example, &[]);
        }
        self
    }

    /// A path within the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file within the test's folder, and gives its path.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        let folder = path.parent().expect("it is in the test's folder");
        std::fs::create_dir_all(folder).expect("the test's folder can be written");
        std::fs::write(&path, content).expect("the test's folder can be written");
        path.display().to_string()
    }

    /// What its commands find in their environment under this name.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let mut variables = self.variables.iter();
        let (_, value) = variables.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// The command, not yet run: in the test's folder, with nothing of the tester's environment that it would read.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", env!("PATH"))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// Where it cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments))
    }

    /// Runs a command to its end with another variable in its environment.
    ///
    /// # Panics
    /// Where it cannot be run.
    pub fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Answer {
        let mut command = self.command(arguments);
        command.env(variable.0, variable.1);
        Answer::of(command)
    }

    /// Runs a command that prints little to its end, and says what it took.
    ///
    /// # Panics
    /// Where it cannot be run, or does not end in time.
    pub fn run_measured(&self, arguments: &[&str]) -> (Answer, Cost) {
        let began = now();
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("stem-host is built");
        let mut peak_bytes = 0;
        while child.try_wait().expect("a child can be asked").is_none() {
            // The system forgets it together with the process.
            peak_bytes = in_use(child.id(), "VmHWM:").unwrap_or(peak_bytes);
            assert!(began.elapsed() < PATIENCE, "{arguments:?} does not end");
        }
        let wall = began.elapsed();
        let output = child.wait_with_output().expect("a child can be waited for");
        (Answer::from(output), Cost { wall, peak_bytes })
    }

    /// Runs a command that must succeed, and gives what it prints.
    ///
    /// # Panics
    /// Where it does not succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "{arguments:?}: {answer:?}");
        answer.stdout.trim_end().to_owned()
    }

    /// Runs a command that must succeed with `--json`, and reads what it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Deploys an example with these flags.
    pub fn deploy(&self, example: &str, flags: &[&str]) -> Value {
        let module = guest(example).display().to_string();
        self.json(&[&["deploy", module.as_str()], flags].concat())
    }

    /// Enqueues one envelope, and gives its id.
    pub fn enqueue(&self, task: &str, payload: &Value, flags: &[&str]) -> String {
        let payload = payload.to_string();
        let enqueued =
            self.json(&[&["enqueue", task, "--payload", payload.as_str()], flags].concat());
        text(&enqueued["id"])
    }

    /// Enqueues many at once, and gives their ids.
    pub fn enqueue_each(&self, task: &str, payloads: impl Iterator<Item = Value>) -> Vec<String> {
        self.enqueue_each_with(task, payloads, &[])
    }

    /// The same with these flags.
    pub fn enqueue_each_with(
        &self,
        task: &str,
        payloads: impl Iterator<Item = Value>,
        flags: &[&str],
    ) -> Vec<String> {
        let lines: Vec<String> = payloads.map(|payload| payload.to_string()).collect();
        let file = self.write("payloads.jsonl", lines.join("\n"));
        let each = format!("@{file}");
        let printed = self.ok(&[&["enqueue", task, "--each", each.as_str()], flags].concat());
        printed.lines().map(str::to_owned).collect()
    }

    /// How an envelope ended, as `result --json` shows it.
    ///
    /// # Panics
    /// Where it has not ended in time.
    pub fn outcome(&self, id: &str) -> Value {
        let answer = self.run(&["result", id, "--wait", "--timeout", "60s", "--json"]);
        assert!([0, 1].contains(&answer.code), "{answer:?}");
        answer.json()
    }

    /// What an envelope is doing now.
    pub fn state(&self, id: &str) -> String {
        text(&self.json(&["result", id])["state"])
    }

    /// Starts a worker, and returns when it is ready.
    pub fn worker(&self, flags: &[&str]) -> Worker {
        Worker::start(self.command(&[&["worker", "start"], flags].concat()))
    }

    /// Asks again and again until it is so; each question is a command of its own, and no more than a pause.
    ///
    /// # Panics
    /// Where it is not so in time.
    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = now() + PATIENCE;
        while !is_so(self) {
            assert!(now() < deadline, "waited in vain until {what}");
        }
    }

    /// Returns when the envelope is in this state.
    pub fn until_state(&self, id: &str, state: &str) {
        self.until(&format!("{id} is {state}"), |host| host.state(id) == state);
    }

    /// Envelopes that have not ended: queued, scheduled or running.
    pub fn alive(&self) -> u64 {
        let queues = self.json(&["queue", "list"]);
        let count = |queue: &Value| -> u64 {
            ["queued", "scheduled", "running"]
                .iter()
                .filter_map(|word| queue[*word].as_u64())
                .sum()
        };
        queues.as_array().into_iter().flatten().map(count).sum()
    }
}

/// A JSON string as it is; anything else as JSON.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A built example.
///
/// # Panics
/// Where it is not built.
pub fn guest(example: &str) -> PathBuf {
    built("target/wasm32-wasip2/guest", example, "cargo xtask guests")
}

/// A built example in another language than Rust.
///
/// # Panics
/// Where it is not built.
pub fn foreign_guest(example: &str) -> PathBuf {
    built("target/guests", example, "cargo xtask guests --all")
}

fn built(folder: &str, example: &str, builder: &str) -> PathBuf {
    let file = format!("{}.wasm", example.replace('-', "_"));
    let path = workspace::root().join(folder).join(file);
    assert!(
        path.exists(),
        "{} is not built: `{builder}` does it",
        path.display()
    );
    path
}

/// The guest that the benchmarks carry, compiled and committed: the tasks `noop` and `spin`.
pub fn built_in() -> PathBuf {
    workspace::root().join("cli/assets/noop.wasm")
}

/// The same module under another digest: a section that means nothing is added at its end.
///
/// # Panics
/// Where the example is not built.
pub fn renamed_guest(example: &str) -> Vec<u8> {
    let mut module = std::fs::read(guest(example)).expect("a built module can be read");
    let section = [0, 5, 4, b'a', b'n', b'e', b'w'];
    module.extend(section);
    module
}

/// The built command, beside the tests' own binaries.
fn binary() -> PathBuf {
    let path = target_profile().join("stem-host");
    assert!(
        path.exists(),
        "{} is not built: `cargo build --workspace --bins` does it",
        path.display()
    );
    path
}

fn target_profile() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let profile = own.parent().and_then(Path::parent);
    profile
        .expect("tests lie in target/PROFILE/deps")
        .to_owned()
}

/// Now, for bounds on waiting.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's patience is counted in real time"
)]
pub fn now() -> Instant {
    Instant::now()
}
