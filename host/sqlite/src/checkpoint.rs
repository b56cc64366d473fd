//! Moves the log into the database beside the writer, so that commits do not wait for the disk.

use std::ffi::c_int;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};

use crate::problem::Stepped;

/// Pages by which the log grows until they are moved: 4 MiB.
const STRIDE: c_int = 1_024;
/// Pages of the log from which the writer waits for what is left to be moved: 32 MiB. While it writes on, the thread
/// beside it is never quite done; only a log that was moved whole is begun anew.
pub(crate) const LONGEST: c_int = 8_192;

/// A thread that moves the log of this writer, and ends when the writer's connection is closed.
pub(crate) fn start(
    writer: &mut Connection,
    beside: Connection,
) -> Stepped<io::Result<JoinHandle<()>>> {
    let (wanted, asked) = sync_channel(1);
    let moving = Arc::new(Mutex::new(()));
    writer.wal_hook(Some(ask(wanted, Arc::clone(&moving))))?;
    let asked = move || {
        asked
            .into_iter()
            .for_each(|()| checkpoint(&beside, &moving))
    };
    Ok(thread::Builder::new()
        .name("stem-sqlite-log".into())
        .spawn(asked))
}

fn checkpoint(connection: &Connection, moving: &Mutex<()>) {
    let _turn = moving.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::default()) {
        tracing::debug!(%error, "moving the log into the database failed: the next time takes it along");
    }
}

/// What each commit of the writer does about the log.
fn ask(
    wanted: SyncSender<()>,
    moving: Arc<Mutex<()>>,
) -> impl FnMut(&mut Wal, c_int) -> rusqlite::Result<()> {
    let mut asked_at = 0;
    move |log, pages| {
        // A log that was begun anew is short again.
        asked_at = asked_at.min(pages);
        if pages >= LONGEST {
            // The thread beside may be slower than the writer: it is waited for, or the log would grow on meanwhile.
            let _turn = moving.lock().unwrap_or_else(PoisonError::into_inner);
            // Where another process keeps it busy, that one does the same; and the next commit tries again.
            let _ = log.checkpoint();
        } else if pages - asked_at >= STRIDE {
            asked_at = pages;
            // One that is asked for already is enough.
            let _ = wanted.try_send(());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
