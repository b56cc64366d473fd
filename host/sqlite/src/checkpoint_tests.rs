//! How far the log grows, and who moves it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::open;
use crate::store::Synchronous;

const MIB: u64 = 1 << 20;

/// An open database of which the log is watched, and what is needed to look at it.
struct Log {
    writer: Connection,
    thread: JoinHandle<()>,
    database: PathBuf,
    /// While somebody else has the database open, closing the writer moves nothing.
    _somebody: Connection,
    _folder: TempDir,
}

impl Log {
    fn open() -> Stepped<Self> {
        let folder = TempDir::new().expect("a folder for the test");
        let database = folder.path().join("stem.db");
        Connection::open(&database)?;
        let mut writer = open::writer(&database, Synchronous::Normal)?;
        let beside = open::beside(&database, Synchronous::Normal)?;
        let thread = start(&mut writer, beside)?.expect("a thread starts");
        let somebody = open::reader(&database)?;
        somebody.query_row("SELECT next FROM sequence", [], |_| Ok(()))?;
        Ok(Self {
            writer,
            thread,
            database,
            _somebody: somebody,
            _folder: folder,
        })
    }

    /// Writes so much over itself, in commits of 1 MiB.
    fn write(&self, mib: u64) -> Stepped<()> {
        const WRITE: &str = "INSERT OR REPLACE INTO bodies VALUES (1, zeroblob(1048576))";
        (0..mib).try_for_each(|_| Ok(self.writer.execute(WRITE, []).map(drop)?))
    }

    fn length(&self) -> u64 {
        length(&self.database.with_extension("db-wal"))
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().expect("the file is there").len()
}

#[test]
fn a_log_that_is_always_written_stays_short() -> Stepped<()> {
    let log = Log::open()?;
    log.write(128)?;
    let longest = u64::try_from(LONGEST).unwrap_or_default() * 4_096;
    assert!(log.length() < longest + 4 * MIB, "{} bytes", log.length());
    Ok(())
}

#[test]
fn the_log_is_moved_beside_a_writer_that_moves_nothing() -> Stepped<()> {
    let log = Log::open()?;
    log.write(8)?;
    assert!(log.length() > 8 * MIB, "the log was begun anew");
    drop(log.writer);
    log.thread.join().expect("the thread ends with the writer");
    assert!(length(&log.database) > MIB, "nothing was moved");
    Ok(())
}
