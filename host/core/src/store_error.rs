//! What can go wrong between us and a store: one type for every store's seam, so that a store that is broker and
//! result store at once need not translate its own errors.

use std::error::Error;
use std::fmt;

/// The kind of a store's failure: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or went away: worth another try.
    Unavailable,
    /// It is written, and not yet kept as safely as was asked for: doing the same again changes nothing that is there, and
    /// waits anew (B1).
    Unconfirmed,
    /// Others hold it: worth another try.
    Busy,
    /// Its reserve is reached, or its disk is full: publishing waits until it has drained, and whoever drains it tries
    /// again (B9).
    Full,
    /// It is not what this build can read: damaged, or of another format.
    Unreadable,
    /// It may not be opened or written, or is not set as a store has to be: whoever looks after it can mend that, and what
    /// goes on meanwhile may try again.
    NotPermitted,
    /// The request cannot be carried out as it is.
    Refused,
    /// A bug of ours.
    Internal,
}

/// A store's operation that failed. What becomes of a task is never one of these.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    subject: String,
    advice: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An operation (`publish`, `open the database`, …) that failed on a subject (a path, an id; may be empty).
    pub fn new(kind: StoreErrorKind, operation: &'static str, subject: impl Into<String>) -> Self {
        Self {
            kind,
            operation,
            subject: subject.into(),
            advice: None,
            source: None,
        }
    }

    /// The same with its cause.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with what a person can do about it.
    pub fn advised(mut self, advice: Option<String>) -> Self {
        self.advice = advice;
        self
    }

    /// What a person can do about it, where the store knows.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// Which store, or what in it: a path, a URL, an id.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its causes, in one line.
    pub fn cause(&self) -> String {
        let mut causes = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes.join(": ")
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later: what is away comes back, and what is full drains.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            StoreErrorKind::Unavailable
            | StoreErrorKind::Unconfirmed
            | StoreErrorKind::Busy
            | StoreErrorKind::Full => true,
            StoreErrorKind::Unreadable
            | StoreErrorKind::NotPermitted
            | StoreErrorKind::Refused
            | StoreErrorKind::Internal => false,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached",
            StoreErrorKind::Unconfirmed => {
                "it is written, but not yet kept as safely as was asked for"
            }
            StoreErrorKind::Busy => "the store is busy",
            StoreErrorKind::Full => "the store is full",
            StoreErrorKind::Unreadable => "the store cannot be read",
            StoreErrorKind::NotPermitted => "the store may not be used so",
            StoreErrorKind::Refused => "refused",
            StoreErrorKind::Internal => "this is a bug",
        };
        match self.subject.is_empty() {
            true => write!(f, "{}: {problem}", self.operation),
            false => write!(f, "{} `{}`: {problem}", self.operation, self.subject),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
