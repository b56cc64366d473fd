//! A thread that reads beside the writer: in WAL mode neither waits for the other.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::open;
use crate::problem::{Problem, Stepped};

/// A reading side of an open store. Dropping it ends the thread.
pub(crate) struct Reader {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

impl Reader {
    pub(crate) fn start(name: &str, connection: Connection) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || queue.into_iter().for_each(|job| job(&connection)))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Reads from one snapshot.
    pub(crate) async fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Stepped<T> + Send + 'static,
    ) -> Stepped<T>
    where
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            // Nobody waits for an answer that nobody gets.
            let _ = answer.send(in_snapshot(connection, work));
        });
        let jobs = self.jobs.as_ref().ok_or_else(Problem::stopped)?;
        jobs.send(job).map_err(|_| Problem::stopped())?;
        answered.await.map_err(|_| Problem::stopped())?
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Stepped<T>,
) -> Stepped<T> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = open::check_version(connection).and_then(|()| work(connection));
    // A failure may have ended the snapshot by itself, and says more than the end of it could.
    if !connection.is_autocommit() {
        let ended = connection.prepare_cached("COMMIT")?.execute([]);
        return result.and_then(|value| ended.map(|_| value).map_err(Problem::from));
    }
    result
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the calls that it left without an answer.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use stem_core::store_error::StoreErrorKind;

    use super::*;

    /// SQLite ends a transaction by itself when the disk fails.
    #[test]
    fn a_failure_that_ends_the_snapshot_is_what_is_told() {
        let connection = Connection::open_in_memory().expect("a database");
        let version = connection.pragma_update(None, "user_version", open::SCHEMA_VERSION);
        version.expect("a version");
        let failing = |connection: &Connection| -> Stepped<()> {
            connection.execute_batch("ROLLBACK")?;
            Err(Problem::new(StoreErrorKind::Unavailable, "disk I/O error"))
        };
        let told = in_snapshot(&connection, failing).expect_err("it failed");
        assert_eq!(told.kind, StoreErrorKind::Unavailable);
        in_snapshot(&connection, |_| Ok(())).expect("the next one goes on");
    }
}
