//! What went wrong, as a message for people and an exit code for programs: the only file that knows the codes.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use stem_core::client::EnqueueError;
use stem_core::key_value::KeyValueError;
use stem_core::store_error::{StoreError, StoreErrorKind};

use crate::output::Unheard;

/// The exit codes (README, "Platforms and stability"); 0 is "done".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The thing was not found, or the awaited task failed.
    NotFound = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The store cannot be reached, or this host failed.
    Unreachable = 3,
    /// The wait ran out.
    TimedOut = 4,
    /// A check said no: deploy, schema, limit, full store.
    Refused = 5,
}

/// A command that did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    attempted: String,
    problem: String,
    hint: Option<String>,
}

impl Failure {
    /// What was attempted, and what failed.
    pub fn new(exit: Exit, attempted: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            exit,
            attempted: attempted.into(),
            problem: problem.to_string(),
            hint: None,
        }
    }

    /// Wrong usage or configuration.
    pub fn usage(attempted: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, attempted, problem)
    }

    /// The thing is not there.
    pub fn not_found(attempted: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::new(Exit::NotFound, attempted, problem)
    }

    /// A check said no.
    pub fn refused(attempted: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, attempted, problem)
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The same with a line on what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.attempted, self.problem)
    }
}

impl std::error::Error for Failure {}

/// Prints the error to standard error, and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    // No fault of ours, and nothing to say.
    if error.is::<Unheard>() {
        return ExitCode::SUCCESS;
    }
    print(error);
    ExitCode::from(classify(error).0 as u8)
}

/// Prints the error to standard error.
pub fn print(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    // Where not even standard error can be written to, nobody is left to tell.
    let _ = writeln!(stderr, "error: {}", message(error));
    if let Some(hint) = classify(error).1 {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// The whole chain on one line; a cause that its effect has quoted already is not said twice.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if message.is_empty() {
            message = part;
        } else if !message.contains(&part) {
            message = format!("{message}: {part}");
        }
    }
    message
}

/// What a command adds to an error of its stores: what it was about, and what else helps. The code stays the error's.
#[derive(Debug)]
struct Advice {
    attempted: String,
    hint: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

/// The error with what was attempted, and a hint behind its own one.
pub fn advised(
    error: impl Into<anyhow::Error>,
    attempted: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    let (attempted, hint) = (attempted.into(), hint.into());
    error.into().context(Advice { attempted, hint })
}

/// Said of what happens while the result store is opened: it has a setting of its own.
#[derive(Debug)]
pub struct OfResults;

impl fmt::Display for OfResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("open the result store")
    }
}

/// The flag that names the broker's store.
pub const BROKER: &str = "--broker-url";
/// The flag that names the store of results.
pub const RESULTS: &str = "--result-backend-url";

fn classify(error: &anyhow::Error) -> (Exit, Option<String>) {
    let (exit, hint) = classify_cause(error);
    let hint = match error.is::<OfResults>() {
        true => hint.map(|hint| hint.replace(BROKER, RESULTS)),
        false => hint,
    };
    let advice = error.downcast_ref::<Advice>();
    let hints: Vec<String> = hint
        .into_iter()
        .chain(advice.map(|advice| advice.hint.clone()))
        .filter(|hint| !hint.is_empty())
        .collect();
    (exit, (!hints.is_empty()).then(|| hints.join("; ")))
}

fn classify_cause(error: &anyhow::Error) -> (Exit, Option<String>) {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return (failure.exit(), failure.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return of_store(error);
        }
        if let Some(error) = cause.downcast_ref::<KeyValueError>() {
            return of_bucket(error);
        }
        if let Some(error) = cause.downcast_ref::<EnqueueError>() {
            return of_enqueue(error);
        }
    }
    (Exit::NotFound, None)
}

fn of_store(error: &StoreError) -> (Exit, Option<String>) {
    // What a server refuses is about settings, of it or of ours; a path may be right, and not for this user.
    let is_server = error.subject().contains("://");
    let (exit, hint) = match error.kind() {
        StoreErrorKind::Unavailable => (Exit::Unreachable, "check that it is there"),
        StoreErrorKind::Unconfirmed => (Exit::Unreachable, "do the same again"),
        StoreErrorKind::Busy => (Exit::Unreachable, "another process holds it: try again"),
        StoreErrorKind::Full => (
            Exit::Refused,
            "workers go on and drain the store: free some room, then try again",
        ),
        StoreErrorKind::Unreadable => (
            Exit::Unreachable,
            "nothing was changed: use the version of stem-host that wrote it, restore it from a copy",
        ),
        StoreErrorKind::NotPermitted if is_server => (Exit::Usage, "check what the server allows"),
        StoreErrorKind::NotPermitted => (
            Exit::Unreachable,
            "check that you may use it (who owns the path)",
        ),
        StoreErrorKind::Refused => return (Exit::Refused, None),
        StoreErrorKind::Internal | _ => return (Exit::Unreachable, None),
    };
    let hint = error.advice().unwrap_or(hint);
    let is_about_the_place = matches!(
        (error.kind(), is_server),
        (StoreErrorKind::Unavailable | StoreErrorKind::Unreadable, _)
            | (StoreErrorKind::NotPermitted, false)
    );
    match is_about_the_place {
        true => (exit, Some(format!("{hint}, or name another with {BROKER}"))),
        false => (exit, Some(hint.to_owned())),
    }
}

fn of_bucket(error: &KeyValueError) -> (Exit, Option<String>) {
    match error {
        KeyValueError::Store(error) => of_store(error),
        KeyValueError::Refused(_) => (Exit::Refused, None),
    }
}

fn of_enqueue(error: &EnqueueError) -> (Exit, Option<String>) {
    match error {
        EnqueueError::Store(error) => of_store(error),
        EnqueueError::UnknownTask { .. } => (Exit::NotFound, None),
        EnqueueError::MalformedPayload(_) => (Exit::Usage, None),
        EnqueueError::SchemaMismatch { task, .. } => (
            Exit::Refused,
            Some(format!(
                "see what it takes with `stem-host task show {task}`"
            )),
        ),
        EnqueueError::UnusableSchema { .. } | EnqueueError::Envelope(_) => (Exit::Refused, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn store(kind: StoreErrorKind) -> anyhow::Error {
        StoreError::new(kind, "open the database", "/tmp/stem.db").into()
    }

    #[test]
    fn each_kind_of_store_error_has_its_exit_code() {
        for (kind, exit) in [
            (StoreErrorKind::Unavailable, Exit::Unreachable),
            (StoreErrorKind::Unreadable, Exit::Unreachable),
            (StoreErrorKind::NotPermitted, Exit::Unreachable),
            (StoreErrorKind::Full, Exit::Refused),
            (StoreErrorKind::Refused, Exit::Refused),
        ] {
            assert_eq!(classify(&store(kind)).0, exit, "{kind:?}");
        }
    }

    /// What is about settings is told from a server that is away.
    #[test]
    fn what_a_server_refuses_is_about_settings() {
        for (kind, exit) in [
            (StoreErrorKind::NotPermitted, Exit::Usage),
            (StoreErrorKind::Unavailable, Exit::Unreachable),
            (StoreErrorKind::Unconfirmed, Exit::Unreachable),
        ] {
            let advice = Some("do this".to_owned());
            let error = StoreError::new(kind, "connect", "redis://h:1/0").advised(advice);
            let (code, hint) = classify(&error.into());
            assert_eq!(code, exit, "{kind:?}");
            assert!(hint.unwrap_or_default().starts_with("do this"), "{kind:?}");
        }
    }

    #[test]
    fn a_hint_names_the_setting_of_the_store_that_failed() {
        let away = || store(StoreErrorKind::Unavailable);
        for (error, setting) in [
            (away(), "another with --broker-url"),
            (
                away().context(OfResults),
                "another with --result-backend-url",
            ),
        ] {
            let hint = classify(&error).1.unwrap_or_default();
            assert!(hint.contains(setting), "{hint}");
        }
    }

    #[test]
    fn what_a_command_adds_stands_behind_the_hint_of_the_store() {
        let error = advised(store(StoreErrorKind::Busy), "wait for it", "it goes on");
        let (exit, hint) = classify(&error.context("above"));
        assert_eq!(exit, Exit::Unreachable);
        assert_eq!(
            hint.as_deref(),
            Some("another process holds it: try again; it goes on")
        );
    }

    #[test]
    fn a_message_names_what_was_attempted_and_says_no_cause_twice() {
        let error = store(StoreErrorKind::Full).context("enqueue `word-count`");
        assert_eq!(
            message(&error),
            "enqueue `word-count`: open the database `/tmp/stem.db`: the store is full"
        );
        let twice = Err::<(), _>(anyhow::anyhow!("no such file")).context("read: no such file");
        assert_eq!(message(&twice.expect_err("failed")), "read: no such file");
    }

    #[test]
    fn a_store_error_inside_another_seams_error_keeps_its_code() {
        for (kind, exit) in [
            (StoreErrorKind::Full, Exit::Refused),
            (StoreErrorKind::Busy, Exit::Unreachable),
            (StoreErrorKind::Unreadable, Exit::Unreachable),
        ] {
            let failed = || StoreError::new(kind, "reach the store", "");
            let error = anyhow::Error::from(EnqueueError::Store(failed()));
            assert_eq!(classify(&error).0, exit, "{kind:?}");
            let error = anyhow::Error::from(KeyValueError::Store(failed()));
            assert_eq!(classify(&error).0, exit, "{kind:?}");
        }
    }
}
