//! A worker as a child process: started, listened to, told to stop, or killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::{PATIENCE, now};

/// A running worker; killed where its test ends before it.
pub struct Worker {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Worker {
    /// Starts the command, and returns when it says that it is ready.
    ///
    /// # Panics
    /// Where it ends first, or is not ready in time.
    pub fn start(command: Command) -> Self {
        Self::start_until(command, " ready")
    }

    /// Starts a command that is none, and returns when it has written a line with these words.
    ///
    /// # Panics
    /// Where it ends first, or they do not come in time.
    pub fn start_until(mut command: Command, words: &str) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stem-host is built");
        let stderr = child.stderr.take().expect("its standard error is ours");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            // Nobody listens any more once the test has ended.
            lines
                .take_while(|line| sender.send(line.clone()).is_ok())
                .for_each(drop);
        });
        let mut worker = Self {
            child,
            lines,
            heard: Vec::new(),
        };
        worker.hear(words);
        worker
    }

    /// Returns when the worker has written a line with these words.
    ///
    /// # Panics
    /// Where it does not come in time, or the worker ends first.
    pub fn hear(&mut self, words: &str) -> String {
        let deadline = now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("no `{words}` among {:#?}", self.heard),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without `{words}`: {:#?}", self.heard)
                }
            }
            if let Some(line) = self.heard.last().filter(|line| line.contains(words)) {
                return line.clone();
            }
        }
    }

    /// Bytes of memory that it has in use.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn resident_bytes(&self) -> u64 {
        in_use(self.child.id(), "VmRSS:").expect("the worker runs")
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// Where it has ended by itself: then nothing was killed.
    pub fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child can be asked");
        self.heard.extend(self.lines.try_iter());
        assert!(
            ended.is_none(),
            "ended by itself: {ended:?}: {:#?}",
            self.heard
        );
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM.
    ///
    /// # Panics
    /// Where it has ended already.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("the worker runs");
    }

    /// Waits for its end, and gives how it ended and how long that took.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn ended(mut self) -> (ExitStatus, Duration) {
        let began = now();
        // Its standard error is closed when it ends.
        while self
            .lines
            .recv_timeout(PATIENCE.saturating_sub(began.elapsed()))
            .is_ok()
        {}
        let status = self.child.wait().expect("a child can be waited for");
        (status, began.elapsed())
    }
}

/// What the system says of a process's memory under this name; nothing where it has ended.
pub(crate) fn in_use(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
