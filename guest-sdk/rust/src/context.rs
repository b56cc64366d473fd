//! What a task can ask of its host while it runs.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attempt::Attempt;
use crate::host::Host;
use crate::interruption::Interruption;
use crate::payload::{Format, Payload};

/// The attempt that is running, as the host sees it.
///
/// In native tests [`Context::for_test`] stands in for the host and records what the task does.
#[derive(Debug)]
pub struct Context {
    pub(crate) attempt: Attempt,
    pub(crate) host: Host,
}

/// Why the host asks a task to wind up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The soft time limit has passed; the hard one is coming.
    SoftTimeLimit,
    /// Somebody cancelled the envelope.
    Cancelled,
    /// The worker is shutting down.
    Shutdown,
    /// The lease was lost: another worker may be running this envelope.
    LeaseLost,
    /// A reason that this version has no word for.
    Other,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happened.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// A checkpoint that cannot be read or kept. With `?` the attempt fails and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It is over the host's limit.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The attempt no longer holds its lease: nothing was written.
    LeaseLost,
    /// The store cannot be reached: worth another try.
    Unavailable(String),
    /// The value has no JSON form, or what was saved does not fit the type that is asked for.
    Misfit(String),
    /// Something that this version has no word for.
    Other(String),
}

/// A value that cannot be asked for, and why. With `?` the attempt fails and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

impl Context {
    /// What is known about this attempt.
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Publishes how far the attempt has come: 0.0 to 1.0, and a line for people.
    pub fn progress(&self, fraction: f64, note: impl AsRef<str>) {
        let fraction = if fraction.is_nan() {
            0.0
        } else {
            fraction.clamp(0.0, 1.0)
        };
        self.host.progress(fraction, note.as_ref());
    }

    /// Whether the host asks the task to wind up, and why.
    ///
    /// A long task asks now and then, saves a checkpoint and returns [`Interruption::stopped`].
    pub fn stop_requested(&self) -> Option<StopReason> {
        self.host.stop_requested()
    }

    /// What an earlier attempt of this envelope saved, if any.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let Some(saved) = self.checkpoint_payload()? else {
            return Ok(None);
        };
        saved.decode().map(Some).map_err(|misfit| mismatch(&misfit))
    }

    /// Keeps this value, as JSON, for the next attempt of this envelope. Durable when the call returns.
    pub fn save_checkpoint<T: Serialize + ?Sized>(&self, state: &T) -> Result<(), CheckpointError> {
        let state = Payload::encode(state, Format::Json).map_err(|misfit| mismatch(&misfit))?;
        self.save_checkpoint_payload(state)
    }

    /// What an earlier attempt saved, as it is.
    pub fn checkpoint_payload(&self) -> Result<Option<Payload>, CheckpointError> {
        self.host.load_checkpoint()
    }

    /// Keeps these bytes for the next attempt of this envelope. Durable when the call returns.
    pub fn save_checkpoint_payload(&self, state: Payload) -> Result<(), CheckpointError> {
        self.host.save_checkpoint(state)
    }

    /// A value, or a secret, that the deployment gives under this name; `None` where it gives none.
    ///
    /// A module that asks imports `wasi:config/store`, and is deployed with `--value KEY=VALUE` or `--secret NAME`, or
    /// with lines under `[grants]` of `stem.toml`.
    ///
    /// ```
    /// use stem_guest::{Context, Interruption};
    ///
    /// fn token(ctx: &Context) -> Result<String, Interruption> {
    ///     let token = ctx.config("CRM_TOKEN")?;
    ///     token.ok_or_else(|| Interruption::reject("unconfigured", "deploy with --secret CRM_TOKEN"))
    /// }
    ///
    /// let ctx = Context::for_test().with_config("CRM_TOKEN", "for tests");
    /// assert_eq!(token(&ctx).unwrap(), "for tests");
    /// ```
    pub fn config(&self, key: &str) -> Result<Option<String>, ConfigError> {
        self.host.config(key)
    }

    /// Writes a line with named values to the attempt's log.
    ///
    /// In a sandbox the macros of the `log` crate (and of `tracing`, with the feature of that name) arrive here too.
    ///
    /// ```
    /// use stem_guest::{Context, Level};
    ///
    /// fn report(ctx: &Context, rows: usize) {
    ///     ctx.log(Level::Info, "read the file", &[("rows", &rows), ("name", &"a.csv")]);
    /// }
    /// ```
    pub fn log(
        &self,
        level: Level,
        message: impl AsRef<str>,
        fields: &[(&str, &dyn fmt::Display)],
    ) {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_string()))
            .collect();
        self.host.emit(level, message.as_ref(), &fields);
    }
}

fn mismatch(misfit: &Interruption) -> CheckpointError {
    CheckpointError::Misfit(
        misfit
            .failure()
            .map(|failure| failure.message.clone())
            .unwrap_or_default(),
    )
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SoftTimeLimit => "soft-time-limit",
            Self::Cancelled => "cancelled",
            Self::Shutdown => "shutdown",
            Self::LeaseLost => "lease-lost",
            Self::Other => "other",
        })
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "the checkpoint is over its limit of {limit} bytes")
            }
            Self::LeaseLost => {
                f.write_str("the checkpoint was not kept: the attempt no longer holds its lease")
            }
            Self::Unavailable(why) => {
                write!(f, "the store for checkpoints cannot be reached: {why}")
            }
            Self::Misfit(why) => write!(f, "the checkpoint does not fit its type: {why}"),
            Self::Other(why) => write!(f, "the checkpoint failed: {why}"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the deployment's values cannot be read: {}", self.0)
    }
}

impl std::error::Error for ConfigError {}
