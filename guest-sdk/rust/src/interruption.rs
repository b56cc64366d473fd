//! How a task says that it did not do its work, and what shall become of it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::child::EnqueueError;

/// Why a task did not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short, stable word that policies and dashboards match on: `rate-limited`, `bad-input`, …
    pub kind: String,
    /// What happened, for people.
    pub message: String,
    /// What else is known, under names of the task's choice.
    pub details: Vec<(String, String)>,
}

/// How an attempt ended without a result.
///
/// `?` turns any [`std::error::Error`] into a failure that is tried again, with the kind `error` and the whole
/// chain of sources as its message; but for an [`EnqueueError`], which knows whether another try would help.
/// Everything else is said explicitly:
///
/// ```
/// use std::time::Duration;
/// use stem_guest::{Context, Interruption, OrInterrupt};
///
/// #[stem_guest::task]
/// fn charge(_ctx: &Context, cents: String) -> Result<u32, Interruption> {
///     let cents: u32 = cents.parse().or_reject("bad-amount")?; // never again
///     if cents > 1_000_000 {
///         return Err(Interruption::retry_after("rate-limited", "too much for now", Duration::from_secs(60))
///             .with_detail("cents", cents));
///     }
///     let _rate: u32 = "17".parse()?; // again, as the retry policy says
///     Ok(cents)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// Try again when the task's retry policy says so.
    Retry(Failure),
    /// Try again after this time.
    RetryAfter(Failure, Duration),
    /// Do not try again: dead-letter the envelope.
    Reject(Failure),
    /// Not a failure: run again after this time, without charging an attempt.
    Snooze(Duration),
    /// The host asked to stop ([`Context::stop_requested`](crate::Context::stop_requested)) and the task has wound up.
    Stopped,
}

impl Interruption {
    /// Fails this attempt; the task's retry policy says when to try again.
    pub fn retry(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry(Failure::new(kind, message))
    }

    /// Fails this attempt and asks for the next one after `delay`.
    pub fn retry_after(
        kind: impl Into<String>,
        message: impl Into<String>,
        delay: Duration,
    ) -> Self {
        Self::RetryAfter(Failure::new(kind, message), delay)
    }

    /// Fails for good: the envelope becomes a dead letter.
    ///
    /// Two kinds are the host's own words, and are recorded as those instead of as `returned`: `invalid-payload`, the
    /// payload is not what the task takes, and `invalid-output`, the result cannot be encoded. Their details become
    /// part of the message.
    pub fn reject(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Reject(Failure::new(kind, message))
    }

    /// Nothing failed: run again after `delay`, and charge no attempt.
    pub fn snooze(delay: Duration) -> Self {
        Self::Snooze(delay)
    }

    /// The host asked to stop, and the task has wound up.
    pub fn stopped() -> Self {
        Self::Stopped
    }

    /// A retryable failure of kind `error` with the chain of sources as its message: what `?` does, for what `?`
    /// does not take (`Box<dyn Error>`, `anyhow::Error`). An [`EnqueueError`] says itself what becomes of the attempt.
    pub fn error(error: &(dyn Error + 'static)) -> Self {
        match error.downcast_ref::<EnqueueError>() {
            Some(refused) => refused.interruption(),
            None => Self::retry("error", chain(error)),
        }
    }

    /// Adds a named detail to the failure; a snooze and a stop have none to add it to.
    #[must_use]
    pub fn with_detail(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        if let Self::Retry(failure) | Self::RetryAfter(failure, _) | Self::Reject(failure) =
            &mut self
        {
            failure.details.push((name.into(), value.to_string()));
        }
        self
    }

    /// What failed, if something did.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Retry(failure) | Self::RetryAfter(failure, _) | Self::Reject(failure) => {
                Some(failure)
            }
            Self::Snooze(_) | Self::Stopped => None,
        }
    }
}

// An error type would overlap with the blanket `From` below, so this one has `Display` and no `Error`.
impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(failure) => write!(f, "failed: {failure}"),
            Self::RetryAfter(failure, delay) => {
                write!(f, "failed, again after {delay:?}: {failure}")
            }
            Self::Reject(failure) => write!(f, "rejected: {failure}"),
            Self::Snooze(delay) => write!(f, "snoozed for {delay:?}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl Failure {
    fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
            details: Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        self.details
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl<E: Error + 'static> From<E> for Interruption {
    fn from(error: E) -> Self {
        Self::error(&error)
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        // Many errors already print their source: saying it twice helps nobody.
        if !message.ends_with(&cause_message) {
            message.push_str(": ");
            message.push_str(&cause_message);
        }
        source = cause.source();
    }
    message
}

/// Says what shall become of the task when this result is an error, and under which kind.
pub trait OrInterrupt<T> {
    /// An error is a retryable failure of this kind.
    fn or_retry(self, kind: impl Into<String>) -> Result<T, Interruption>;

    /// An error is a retryable failure of this kind; the next attempt comes after `delay`.
    fn or_retry_after(self, kind: impl Into<String>, delay: Duration) -> Result<T, Interruption>;

    /// An error fails the task for good, under this kind.
    fn or_reject(self, kind: impl Into<String>) -> Result<T, Interruption>;
}

impl<T, E: Error + 'static> OrInterrupt<T> for Result<T, E> {
    fn or_retry(self, kind: impl Into<String>) -> Result<T, Interruption> {
        self.map_err(|error| Interruption::retry(kind, chain(&error)))
    }

    fn or_retry_after(self, kind: impl Into<String>, delay: Duration) -> Result<T, Interruption> {
        self.map_err(|error| Interruption::retry_after(kind, chain(&error), delay))
    }

    fn or_reject(self, kind: impl Into<String>) -> Result<T, Interruption> {
        self.map_err(|error| Interruption::reject(kind, chain(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the number")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn parse(text: &str) -> Result<u8, Outer> {
        text.parse().map_err(Outer)
    }

    #[test]
    fn an_error_becomes_a_retryable_failure_with_its_sources() {
        let failed = || -> Result<u8, Interruption> { Ok(parse("x")?) };
        let expected = Interruption::retry(
            "error",
            "cannot read the number: invalid digit found in string",
        );
        assert_eq!(failed(), Err(expected));
    }

    #[test]
    fn an_error_ends_the_task_as_it_is_told() {
        let message = "cannot read the number: invalid digit found in string";
        let minute = Duration::from_secs(60);
        assert_eq!(
            parse("x").or_reject("bad-input"),
            Err(Interruption::reject("bad-input", message))
        );
        assert_eq!(
            parse("x").or_retry("odd"),
            Err(Interruption::retry("odd", message))
        );
        let after = parse("x").or_retry_after("busy", minute);
        assert_eq!(
            after,
            Err(Interruption::retry_after("busy", message, minute))
        );
    }

    #[test]
    fn details_stay_with_the_failure() {
        let rejected = Interruption::reject("bad-input", "no amount").with_detail("row", 3);
        assert_eq!(rejected.to_string(), "rejected: bad-input: no amount row=3");
        assert_eq!(
            Interruption::stopped().with_detail("row", 3),
            Interruption::Stopped
        );
    }
}
