//! Whose turn it is to write, among the processes that share the database.
//!
//! SQLite's own lock is polled and unfair: two busy writers can starve each other. So writers queue at two file locks,
//! like at a turnstile: whoever holds the first waits for the second, and lets the next one in when it has it. The
//! kernel wakes the one that waits; a killed process lets go of both. SQLite's lock stays the one that guards the data.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use stem_core::store_error::StoreErrorKind;

use crate::problem::{Problem, Stepped};

/// How long a writer waits for its turn before it says that the store is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The turnstile in front of one database.
pub(crate) struct Turnstile {
    own: Arc<Locks>,
    waiter: Sender<Sender<io::Result<Turn>>>,
}

/// The right to write, until it is dropped.
pub(crate) struct Turn(Arc<Locks>);

struct Locks {
    entry: File,
    turn: File,
}

impl Turnstile {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let (waiter, asked) = channel();
        // Locks of its own: a wait that was given up must not look like a lock that this process has.
        let patient = Arc::new(Locks::open(folder)?);
        thread::Builder::new()
            .name("stem-sqlite-turn".into())
            .spawn(move || wait_for_turns(&patient, &asked))?;
        Ok(Self {
            own: Arc::new(Locks::open(folder)?),
            waiter,
        })
    }

    /// Waits until it is this writer's turn.
    pub(crate) fn take(&self) -> Stepped<Turn> {
        match Locks::try_take(&self.own) {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) => self.wait(PATIENCE),
            Err(error) => Err(unavailable(&error)),
        }
    }

    fn wait(&self, patience: Duration) -> Stepped<Turn> {
        let (answer, turn) = channel();
        self.waiter.send(answer).map_err(|_| Problem::stopped())?;
        match turn.recv_timeout(patience) {
            Ok(turn) => turn.map_err(|error| unavailable(&error)),
            Err(RecvTimeoutError::Timeout) => Err(Problem::new(
                StoreErrorKind::Busy,
                "another process has held the database for 30 s; see which one has it open",
            )),
            Err(RecvTimeoutError::Disconnected) => Err(Problem::stopped()),
        }
    }
}

/// The thread that blocks in the kernel, so that the writer can lose its patience.
fn wait_for_turns(locks: &Arc<Locks>, asked: &Receiver<Sender<io::Result<Turn>>>) {
    while let Ok(answer) = asked.recv() {
        // Nobody listens any more: the turn is dropped, and with it the lock.
        let _ = answer.send(Locks::take(locks));
    }
}

impl Locks {
    fn open(folder: &Path) -> io::Result<Self> {
        let open = |name: &str| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join(name))
        };
        Ok(Self {
            entry: open("entry")?,
            turn: open("turn")?,
        })
    }

    fn take(locks: &Arc<Self>) -> io::Result<Turn> {
        locks.entry.lock()?;
        let taken = locks.turn.lock();
        locks.entry.unlock()?;
        taken.map(|()| Turn(Arc::clone(locks)))
    }

    /// The turn if nobody else has or awaits it.
    fn try_take(locks: &Arc<Self>) -> io::Result<Option<Turn>> {
        if !is_taken(locks.entry.try_lock())? {
            return Ok(None);
        }
        let taken = is_taken(locks.turn.try_lock());
        locks.entry.unlock()?;
        Ok(taken?.then(|| Turn(Arc::clone(locks))))
    }
}

fn is_taken(result: Result<(), TryLockError>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn unavailable(error: &io::Error) -> Problem {
    Problem::new(
        StoreErrorKind::Unavailable,
        format!("cannot lock the folder beside the database: {error}"),
    )
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Err(error) = self.0.turn.unlock() {
            tracing::error!(%error, "cannot give up the turn to write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_writers() -> (tempfile::TempDir, Turnstile, Turnstile) {
        let folder = tempfile::TempDir::new().expect("a folder for the test");
        let open = || Turnstile::open(folder.path()).expect("a turnstile opens");
        let (here, there) = (open(), open());
        (folder, here, there)
    }

    #[test]
    fn one_writer_at_a_time_has_the_turn() {
        let (_folder, here, there) = two_writers();
        let turn = here.take().expect("nobody else has it");
        assert!(matches!(Locks::try_take(&there.own), Ok(None)));
        drop(turn);
        assert!(matches!(Locks::try_take(&there.own), Ok(Some(_))));
    }

    #[test]
    fn who_waits_goes_before_who_comes_again() {
        let (_folder, here, there) = two_writers();
        let turn = here.take().expect("nobody else has it");
        let (answer, taken) = channel();
        there.waiter.send(answer).expect("the waiter runs");
        // The one that waits holds the entry, now or soon: only then is the turn given up.
        while matches!(here.own.entry.try_lock(), Ok(())) {
            here.own.entry.unlock().expect("it was locked");
            thread::yield_now();
        }
        drop(turn);
        assert!(matches!(Locks::try_take(&here.own), Ok(None)));
        drop(taken.recv().expect("the waiter answers"));
        assert!(here.take().is_ok());
    }

    #[test]
    fn a_turn_that_was_waited_for_too_long_is_given_back() {
        let (_folder, here, there) = two_writers();
        let turn = here.take().expect("nobody else has it");
        let busy = there.wait(Duration::from_millis(10));
        assert!(busy.is_err_and(|problem| problem.kind == StoreErrorKind::Busy));
        drop(turn);
        assert!(here.take().is_ok());
    }
}
