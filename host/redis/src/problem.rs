//! What can go wrong between us and the server, and which kind of store error it is to the caller.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use stem_core::store_error::{StoreError, StoreErrorKind};

/// A failure before it is known which operation it belongs to.
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

    /// A stored value that this build did not write.
    pub(crate) fn unreadable(what: &str, source: impl std::fmt::Display) -> Self {
        let message = format!("{what} cannot be read ({source}): restore it from a backup");
        Self::new(StoreErrorKind::Unreadable, message)
    }

    /// An answer that no script of ours gives.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::new(
            StoreErrorKind::Internal,
            format!("the server's answer is not {what}"),
        )
    }

    /// What was written may be on one server alone.
    pub(crate) fn unconfirmed(why: &str) -> Self {
        let message = format!(
            "it was written, and may be lost if the server dies now ({why}): do the same again, which changes nothing \
             that was kept"
        );
        Self::new(StoreErrorKind::Unavailable, message)
    }

    /// Others changed the same thing again and again.
    pub(crate) fn contended() -> Self {
        Self::new(
            StoreErrorKind::Busy,
            "others changed it in the meantime again and again",
        )
    }

    /// No connection was made: with what to look at where there was no answer. What a server answers to somebody who
    /// connects is about the URL, and no bug of ours.
    pub(crate) fn unconnected(error: RedisError, advice: &str) -> Self {
        let mut problem = Self::from(error);
        if problem.kind == StoreErrorKind::Internal {
            problem.kind = StoreErrorKind::NotPermitted;
        }
        if problem.kind == StoreErrorKind::Unavailable {
            problem.message.push_str(advice);
        }
        problem
    }

    pub(crate) fn into_error(self, operation: &'static str, subject: &str) -> StoreError {
        StoreError::new(self.kind, operation, subject).because(self.message)
    }
}

impl From<RedisError> for Problem {
    fn from(error: RedisError) -> Self {
        let (kind, advice) = sort(&error);
        Self::new(kind, format!("{error}{advice}"))
    }
}

/// The kind of the server's error, and what to do about it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists are open, and whatever else there is means that we called it wrongly"
)]
fn sort(error: &RedisError) -> (StoreErrorKind, &'static str) {
    match error.code() {
        Some("OOM") => {
            return (
                StoreErrorKind::Full,
                ": raise `maxmemory`, or let workers drain it",
            );
        }
        Some("MISCONF") => return (StoreErrorKind::Full, ": free space on the server's disk"),
        Some("BUSY") => {
            return (
                StoreErrorKind::Busy,
                ": a script of somebody's runs for long",
            );
        }
        Some("NOREPLICAS") => return (StoreErrorKind::Unavailable, ""),
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => return (StoreErrorKind::NotPermitted, ALLOW),
        _ => {}
    }
    let says = error.detail().unwrap_or_default();
    if says.contains("not allowed in cluster mode") {
        return (StoreErrorKind::NotPermitted, ONE_DATABASE);
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => (StoreErrorKind::NotPermitted, ALLOW),
        ErrorKind::InvalidClientConfig => (StoreErrorKind::NotPermitted, ""),
        // An answer that cannot be read was cut in the middle.
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => (StoreErrorKind::Unavailable, ""),
        _ => (StoreErrorKind::Internal, ""),
    }
}

const ALLOW: &str =
    ": check the user and the password in the URL, and what the server allows that user";
const ONE_DATABASE: &str =
    ": a cluster has one database, so leave its number out of the URL, and use namespaces instead";
