//! Opening the database: settings, format, and a schema made once, whoever comes first.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use stem_core::names::Namespace;
use stem_core::store_error::StoreErrorKind;

use crate::checkpoint;
use crate::deployments;
use crate::problem::{Problem, Stepped};
use crate::store::Synchronous;

/// What makes each layout from the one before it: an empty file takes all of them.
const LAYOUTS: [&str; 4] = [
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
];
/// The layout that this build writes: `PRAGMA user_version`.
pub(crate) const SCHEMA_VERSION: i64 = LAYOUTS.len() as i64;
/// Marks the file as ours, in `PRAGMA application_id`: "Stem".
const APPLICATION_ID: i64 = 0x5374_656d;

/// Behind the turnstile nobody of ours waits for SQLite's own lock; another program may hold it.
const BUSY: Duration = Duration::from_secs(30);
/// All statements of the store are kept prepared.
const STATEMENTS: usize = 256;
/// What is kept of the log's file when it is begun anew.
const LOG_BYTES: i64 = checkpoint::LONGEST as i64 * 4_096;
/// KiB of pages that a connection keeps in memory. A commit may look at all of them, and the system keeps the rest.
const CACHE_KIB: i64 = 4_096;

/// The connection that writes; makes the layout where the file is empty or of an older build. The caller has the turn
/// to write.
pub(crate) fn writer(path: &Path, synchronous: Synchronous) -> Stepped<Connection> {
    let connection = connect(path)?;
    let found = match application(&connection)? {
        Application::None => 0,
        Application::Ours => version(&connection)?,
    };
    migrate(&connection, found)?;
    check_version(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous.pragma())?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    Ok(connection)
}

/// The connection that moves the log of such a writer into the database.
pub(crate) fn beside(path: &Path, synchronous: Synchronous) -> Stepped<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "synchronous", synchronous.pragma())?;
    Ok(connection)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path) -> Stepped<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Refuses a database of another format: also one that another build has changed while it was open.
pub(crate) fn check_version(connection: &Connection) -> Stepped<()> {
    let found = version(connection)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let message = format!(
        "the database has format {found} and this build reads format {SCHEMA_VERSION}: {}",
        if found > SCHEMA_VERSION {
            "upgrade this program"
        } else {
            "move the file away, or open it with the build that made it"
        }
    );
    Err(Problem::new(StoreErrorKind::Unreadable, message))
}

/// The number of a namespace, given once.
pub(crate) fn namespace(connection: &Connection, name: &Namespace) -> Stepped<i64> {
    const FIND: &str = "SELECT namespace FROM namespaces WHERE name = ?1";
    const MAKE: &str = "INSERT INTO namespaces (name) VALUES (?1) ON CONFLICT DO NOTHING";
    connection.execute(MAKE, [name.as_str()])?;
    Ok(connection.query_row(FIND, [name.as_str()], |row| row.get(0))?)
}

/// Ends a connection that wrote: the log goes into the database where nobody else has it open.
pub(crate) fn close(connection: Connection) {
    connection.flush_prepared_statement_cache();
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "cannot close the database");
    }
}

fn connect(path: &Path) -> Stepped<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it SQLite plans a statement anew whenever a limit or the end of a range is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

#[derive(PartialEq, Eq)]
enum Application {
    None,
    Ours,
}

/// Whose database this is; refused where it is another program's.
fn application(connection: &Connection) -> Stepped<Application> {
    let id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let table: Option<String> = connection
        .query_row("SELECT name FROM sqlite_schema LIMIT 1", [], |row| {
            row.get(0)
        })
        .optional()?;
    match (id, table) {
        (APPLICATION_ID, _) => Ok(Application::Ours),
        (0, None) => Ok(Application::None),
        _ => Err(Problem::new(
            StoreErrorKind::Unreadable,
            "the database belongs to another program: choose another path",
        )),
    }
}

fn version(connection: &Connection) -> Stepped<i64> {
    let mut version = connection.prepare_cached("PRAGMA user_version")?;
    Ok(version.query_row([], |row| row.get(0))?)
}

/// Brings an older layout up to this build's, in one step; an older build that has the file open is refused from then on.
fn migrate(connection: &Connection, found: i64) -> Stepped<()> {
    let known = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = LAYOUTS.get(known..).filter(|layouts| !layouts.is_empty()) else {
        return Ok(());
    };
    let step = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    step.execute_batch(&missing.concat())?;
    if found == 1 {
        deployments::write_manifests(&step)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    step.commit()?;
    Ok(())
}
