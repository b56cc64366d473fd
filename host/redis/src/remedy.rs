//! What helps after an error of the server: a command that was refused may be sent again, one that may have run may not.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What helps after an error.
pub(crate) enum Remedy {
    /// The server has to be told the script.
    Load,
    /// The command was refused before it ran, by a server that is not ready for it, or is not the right one any more.
    Again,
    /// It may have run, or never will.
    None,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the list is open, and what is not on it may have run"
)]
pub(crate) fn remedy(error: &RedisError) -> Remedy {
    let ErrorKind::Server(kind) = error.kind() else {
        return Remedy::None;
    };
    match kind {
        ServerErrorKind::NoScript => Remedy::Load,
        // `ASK` is not followed: the other node has only a part of the namespace (`scripts/prelude.lua`).
        ServerErrorKind::Ask
        | ServerErrorKind::Moved
        | ServerErrorKind::TryAgain
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::BusyLoading
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ReadOnly => Remedy::Again,
        _ => Remedy::None,
    }
}

/// Whether a connection is of no more use: it broke, did not answer in time, or leads to a server that has not, or not any
/// more, what we want.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    let is_elsewhere = [
        ServerErrorKind::ReadOnly,
        ServerErrorKind::Moved,
        ServerErrorKind::ClusterDown,
    ];
    error.kind() == ErrorKind::Io
        || is_elsewhere.map(ErrorKind::Server).contains(&error.kind())
        || error.is_unrecoverable_error()
}
