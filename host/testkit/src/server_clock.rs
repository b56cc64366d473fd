//! A clock for a server that the tests start: it stands still until a test moves it, and what has a lifetime there goes
//! by it too.
//!
//! The server reads it in place of the machine's time of day, by a library that is loaded before all others: so this
//! needs Linux, and a server that is linked dynamically.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stem_core::clock::{Clock as _, Timestamp};
use tempfile::TempDir;

use crate::clock::ManualClock;

const LIBRARY: &str = concat!(env!("OUT_DIR"), "/server_clock.so");

/// One time for a server and for the processes that use it.
pub struct ServerClock {
    ours: Arc<ManualClock>,
    theirs: File,
    folder: TempDir,
}

/// One that shows [`ManualClock::START`].
impl Default for ServerClock {
    fn default() -> Self {
        assert!(
            Path::new(LIBRARY).exists(),
            "a server's clock is moved on Linux alone: run these tests there"
        );
        let folder = TempDir::new().expect("a folder for the clock");
        let clock = Self {
            ours: ManualClock::shared(),
            theirs: File::create(file_in(&folder)).expect("a file in a new folder"),
            folder,
        };
        clock.show(ManualClock::START);
        clock
    }
}

impl ServerClock {
    /// The same time for a process.
    pub fn shared(&self) -> Arc<ManualClock> {
        Arc::clone(&self.ours)
    }

    /// Moves the time on, for the server and then for everybody else.
    pub fn advance(&self, time: Duration) {
        self.show(self.ours.now() + time);
        self.ours.advance(time);
    }

    fn show(&self, time: Timestamp) {
        let micros = time.as_millis() * 1_000;
        let written = self.theirs.write_all_at(&micros.to_ne_bytes(), 0);
        written.expect("a file of ours can be written");
    }

    /// What a server must find in its environment.
    pub(crate) fn environment(&self) -> [OsString; 2] {
        let file = file_in(&self.folder).into_os_string();
        [
            ("LD_PRELOAD=", LIBRARY.into()),
            ("STEM_SERVER_CLOCK=", file),
        ]
        .map(|(name, value)| {
            let mut variable = OsString::from(name);
            variable.push(value);
            variable
        })
    }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("now")
}
