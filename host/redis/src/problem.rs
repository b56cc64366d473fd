//! What can go wrong between us and the server, which kind of store error it is to the caller, and what to do about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use stem_core::store_error::{StoreError, StoreErrorKind};

/// What a server that is none says may be a page.
const LONGEST_ANSWER: usize = 200;

/// A failure before it is known which operation it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: StoreErrorKind,
    message: String,
    /// What a person can do about it.
    advice: Option<String>,
}

/// What a step gives.
pub(crate) type Stepped<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            advice: None,
        }
    }

    /// The same with what to do.
    pub(crate) fn advised(self, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into()).filter(|advice| !advice.is_empty());
        Self { advice, ..self }
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
        let message = format!("it may be lost if the server dies now ({why})");
        Self::new(StoreErrorKind::Unconfirmed, message).advised(
            "look at the server's replicas (`stem-host store info` counts them), then do the same again",
        )
    }

    /// Others changed the same thing again and again.
    pub(crate) fn contended() -> Self {
        Self::new(
            StoreErrorKind::Busy,
            "others changed it in the meantime again and again",
        )
    }

    /// No connection was made in this manner: with what to look at. What a server answers to somebody who connects is
    /// about the URL, and no bug of ours.
    pub(crate) fn unconnected(error: RedisError, manner: &str) -> Self {
        let advice = unconnected_advice(&error, manner);
        let mut problem = Self::from(error);
        if problem.kind == StoreErrorKind::Internal {
            problem.kind = StoreErrorKind::NotPermitted;
        }
        if problem.kind == StoreErrorKind::Unavailable && problem.advice.is_none() {
            problem.message = format!("{} ({manner})", problem.message);
            problem.advice = Some(advice);
        }
        problem
    }

    /// A script of this text failed: what it was not allowed to do is named.
    pub(crate) fn within(source: &str, error: RedisError) -> Self {
        let says = error.detail().unwrap_or_default();
        if says.contains("can't run this command") {
            let command = refused_command(source, says);
            return refused_to(&format!("run {command}")).advised(grant(&command));
        }
        let is_about_keys = says.contains("can't access at least one of the keys");
        if is_about_keys || says.contains("can't publish to the channel") {
            let what = if is_about_keys {
                "touch a key"
            } else {
                "publish on a channel"
            };
            return refused_to(&format!("{what} of the namespace")).advised(GRANT_NAMESPACE);
        }
        error.into()
    }

    pub(crate) fn into_error(self, operation: &'static str, subject: &str) -> StoreError {
        let error = StoreError::new(self.kind, operation, subject).because(self.message);
        error.advised(self.advice)
    }
}

fn refused_to(what: &str) -> Problem {
    let message = format!("the server does not let this user {what} in a script");
    Problem::new(StoreErrorKind::NotPermitted, message)
}

/// The command that a script may not call, from the line that the refusal names (`… on @user_script:20.`).
fn refused_command(source: &str, says: &str) -> String {
    let line = says.rsplit_once("@user_script:").map(|(_, line)| line);
    let line = line.and_then(|line| line.trim_end_matches(['.', '\r', '\n']).parse().ok());
    let line = line.and_then(|line: usize| source.lines().nth(line.checked_sub(1)?));
    let called = line.and_then(|line| line.split_once("call('")?.1.split_once('\''));
    called.map_or("one of its commands".to_owned(), |(name, _)| {
        format!("`{name}`")
    })
}

/// What lets a user run a command, named in quotation marks of any kind.
fn grant(command: &str) -> String {
    let name = command.trim_matches(['`', '\'']).to_lowercase();
    match name.contains(' ') {
        true => format!("let the user run what a worker needs: {LISTED}"),
        false => format!("let the user run it (`ACL SETUSER USER +{name}`): {LISTED}"),
    }
}

impl From<RedisError> for Problem {
    fn from(error: RedisError) -> Self {
        let (kind, advice) = sort(&error);
        Self::new(kind, said(&error)).advised(advice)
    }
}

/// The error in one line.
fn said(error: &RedisError) -> String {
    let is_answer = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
    let said = match (error.code(), error.detail()) {
        _ if error.kind() == ErrorKind::Parse => {
            "what it answers is cut off, or no answer of a Redis server".to_owned()
        }
        _ if error.kind() == ErrorKind::AuthenticationFailed => {
            "it refuses the user or the password, or has none".to_owned()
        }
        (Some("NOAUTH"), _) => "it wants a password (NOAUTH)".to_owned(),
        (_, Some(detail)) if detail.contains(UNAUTHENTICATED) => {
            "it wants a password (NOAUTH)".to_owned()
        }
        (Some("OOM"), _) => "its memory is full (OOM)".to_owned(),
        (Some("ERR") | None, Some(detail)) if is_answer => detail.to_owned(),
        (Some(code), Some(detail)) if is_answer => format!("{detail} ({code})"),
        _ => error
            .to_string()
            .replace(&format!(" - {:?}", error.kind()), ""),
    };
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST_ANSWER).collect()
}

/// The kind of the server's error, and what to do about it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists are open, and whatever else there is means that we called it wrongly"
)]
fn sort(error: &RedisError) -> (StoreErrorKind, String) {
    use StoreErrorKind::{Internal, NotPermitted, Unavailable};
    if let Some(sorted) = sort_code(error).or_else(|| sort_text(error)) {
        return sorted;
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => (NotPermitted, WHO.to_owned()),
        ErrorKind::InvalidClientConfig => (NotPermitted, String::new()),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => (Unavailable, REPLICA.to_owned()),
        // An answer that cannot be read was cut in the middle.
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => (Unavailable, String::new()),
        _ => (Internal, String::new()),
    }
}

fn sort_code(error: &RedisError) -> Option<(StoreErrorKind, String)> {
    use StoreErrorKind::{Busy, Full, NotPermitted, Unavailable};
    let (kind, advice) = match error.code()? {
        "OOM" => (Full, FULL),
        "MISCONF" => (Full, "free space on the server's disk"),
        "BUSY" => (Busy, "a script of somebody's runs for long"),
        "NOREPLICAS" => (Unavailable, ""),
        "NOAUTH" | "WRONGPASS" => (NotPermitted, WHO),
        "NOPERM" => return Some((NotPermitted, permission(error.detail().unwrap_or_default()))),
        _ => return None,
    };
    Some((kind, advice.to_owned()))
}

/// Where the code is that of every other error.
fn sort_text(error: &RedisError) -> Option<(StoreErrorKind, String)> {
    let says = error.detail().unwrap_or_default();
    let advice = [
        ("not allowed in cluster mode", ONE_DATABASE),
        ("DB index is out of range", DATABASE),
        ("unknown command 'SENTINEL'", NO_SENTINEL),
        (UNAUTHENTICATED, WHO),
    ];
    let found = advice.into_iter().find(|(part, _)| says.contains(part))?;
    Some((StoreErrorKind::NotPermitted, found.1.to_owned()))
}

/// What lets the user do what it was refused: `… no permissions to run the 'info' command`, `… one of the keys …`.
fn permission(says: &str) -> String {
    let named = says.split_once("to run the '");
    match named.and_then(|(_, rest)| rest.split_once('\'')) {
        Some((command, _)) => grant(command),
        None => GRANT_NAMESPACE.to_owned(),
    }
}

fn unconnected_advice(error: &RedisError, manner: &str) -> String {
    let what = if error.is_connection_refusal() {
        "check that the server runs and listens there"
    } else if error.to_string().contains("failed to lookup address") {
        "check the host's name"
    } else if manner.starts_with("TLS") {
        "check that the server listens for TLS on this port, and that its certificate names this host and was signed by \
         that authority"
    } else if error.is_timeout() {
        "check that the server runs, and that nothing on the way drops what is sent to it"
    } else {
        "check that it is a Redis server that listens there, or write rediss:// if it wants TLS"
    };
    what.to_owned()
}

/// Where a full server gets room.
pub(crate) const FULL: &str =
    "raise `maxmemory`, or let workers drain it; records go a day after the end of their envelopes";
/// What is answered to a long command of somebody who has given no password: it is not even read.
const UNAUTHENTICATED: &str = "Protocol error: unauthenticated";
const WHO: &str = "check the user and the password in the URL (redis://USER:PASSWORD@HOST, or redis://:PASSWORD@HOST), \
    and that the server knows them: a restart forgets users that no aclfile keeps";
const LISTED: &str = "docs/redis.md lists what the server allows a user who needs no more";
const GRANT_NAMESPACE: &str = "look at what the server allows this user: keys and channels of the namespace are \
    `~{NAMESPACE}:*` and `&{NAMESPACE}:*`, and STEM_NAMESPACE names it";
/// Where a replica was named in place of its master.
pub(crate) const REPLICA: &str = "this server is a replica and takes no writes: name its master, or its sentinels by \
    redis-sentinel://HOST/MASTER";
const ONE_DATABASE: &str =
    "a cluster has one database, so leave its number out of the URL, and use namespaces instead";
const DATABASE: &str = "give the number of a database that the server has (`databases`, 16 unless it is set otherwise), or \
    use namespaces instead";
const NO_SENTINEL: &str = "no sentinel answers there: name the sentinels with their own port, or the server itself by redis://";

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
