//! What can go wrong inside a step, and which kind of store error it is to the caller.

use rusqlite::ErrorCode;
use stem_core::store_error::{StoreError, StoreErrorKind};

/// A failure before it is known which operation it belongs to; several jobs of one group may share it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: StoreErrorKind,
    message: String,
}

/// What a step gives.
pub(crate) type Stepped<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A thread of the store has gone: only a panic does that.
    pub(crate) fn stopped() -> Self {
        Self::new(
            StoreErrorKind::Internal,
            "the thread that serves the database has stopped",
        )
    }

    /// A stored value that this build did not write.
    pub(crate) fn unreadable(what: &str, source: impl std::fmt::Display) -> Self {
        let message =
            format!("{what} cannot be read ({source}): restore the database from a backup");
        Self::new(StoreErrorKind::Unreadable, message)
    }

    pub(crate) fn into_error(self, operation: &'static str, subject: &str) -> StoreError {
        StoreError::new(self.kind, operation, subject).because(self.message)
    }
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else {
            return Self::new(StoreErrorKind::Internal, error.to_string());
        };
        let (kind, advice) = sort(code);
        Self::new(kind, format!("{error}{advice}"))
    }
}

/// The kind of SQLite's error, and what to do about it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "SQLite's list is open, and every other code means that we called it wrongly"
)]
fn sort(code: ErrorCode) -> (StoreErrorKind, &'static str) {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            StoreErrorKind::Busy,
            ": another process holds the database for long; see which one has it open",
        ),
        ErrorCode::DiskFull => (
            StoreErrorKind::Full,
            ": free space on the disk of the database",
        ),
        ErrorCode::NotADatabase => (
            StoreErrorKind::Unreadable,
            ": this file is no SQLite database; choose another path, or move it away",
        ),
        ErrorCode::DatabaseCorrupt => (
            StoreErrorKind::Unreadable,
            ": restore the database from a backup, or move it away to begin a new one",
        ),
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => (
            StoreErrorKind::NotPermitted,
            ": this user must be able to write the file and its folder",
        ),
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => {
            (StoreErrorKind::Unavailable, "")
        }
        _ => (StoreErrorKind::Internal, ""),
    }
}
