//! What a task enqueues, and why that may be refused.

use std::fmt;
use std::time::Duration;

use crate::codec::Output;
use crate::context::Context;
use crate::interruption::Interruption;
use crate::payload::{Format, Payload};

/// An envelope that a task enqueues: see [`Context::enqueue`].
///
/// What is not said is the deployment's of the task.
///
/// ```
/// use std::time::Duration;
/// use stem_guest::{Child, Context, Interruption};
///
/// #[derive(serde::Serialize)]
/// struct Mail<'a> {
///     to: &'a str,
/// }
///
/// /// Reminds everybody, each once, however often this is tried.
/// #[stem_guest::task]
/// fn remind(ctx: &Context, everybody: Vec<String>) -> Result<usize, Interruption> {
///     for to in &everybody {
///         let mail = Child::new("mail.send", Mail { to })
///             .with_key(to)
///             .with_queue("mail")
///             .with_delay(Duration::from_secs(60));
///         ctx.enqueue(mail)?;
///     }
///     Ok(everybody.len())
/// }
///
/// let ctx = Context::for_test();
/// remind(&ctx, vec!["ada@example.com".into()]).unwrap();
/// let enqueued = &ctx.recorded().enqueued[0];
/// assert_eq!((enqueued.task.as_str(), enqueued.key.as_deref()), ("mail.send", Some("ada@example.com")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing is enqueued before `Context::enqueue` is given it"]
pub struct Child {
    task: String,
    payload: Result<Payload, Interruption>,
    key: Option<String>,
    headers: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

/// A child whose payload could be encoded.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) task: String,
    pub(crate) payload: Payload,
    pub(crate) key: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) options: Vec<(String, String)>,
}

impl Child {
    /// Runs this task with this payload: any type of `serde`, as JSON, or a [`Payload`] as it is.
    pub fn new<T: Output<Kind>, Kind>(task: impl Into<String>, payload: T) -> Self {
        Self {
            task: task.into(),
            payload: payload.write(Format::Json),
            key: None,
            headers: Vec::new(),
            options: Vec::new(),
        }
    }

    /// The same under a key: an attempt that is repeated, and asks again with the same key, enqueues it once.
    ///
    /// The id is made of this envelope's id and the key, and is remembered for 7 days; so two children of one envelope
    /// with the same key are one. Without a key every call enqueues another.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same with a header. `traceparent`, `tracestate` and `tenant` are passed on without being said.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same in another queue than the task's own.
    pub fn with_queue(self, queue: impl Into<String>) -> Self {
        self.with_option("queue", queue)
    }

    /// The same, not before so long from now.
    pub fn with_delay(self, delay: Duration) -> Self {
        self.with_option("delay", format!("{}ms", delay.as_millis()))
    }

    /// The same, not before this time: RFC 3339, such as `2026-11-20T08:00:00Z`.
    pub fn with_time(self, time: impl Into<String>) -> Self {
        self.with_option("at", time)
    }

    /// The same with a priority from 0 to 9; 9 goes first.
    pub fn with_priority(self, priority: u8) -> Self {
        self.with_option("priority", priority.to_string())
    }

    /// The same with so many attempts in all.
    pub fn with_max_attempts(self, attempts: u32) -> Self {
        self.with_option("max-attempts", attempts.to_string())
    }

    /// The same with an option by the name that its flag of `stem-host enqueue` has.
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    pub(crate) fn into_request(self) -> Result<Request, EnqueueError> {
        let payload = self.payload.map_err(|misfit| {
            let message = misfit.failure().map(|failure| failure.message.clone());
            EnqueueError::Invalid(message.unwrap_or_default())
        })?;
        Ok(Request {
            task: self.task,
            payload,
            key: self.key,
            headers: self.headers,
            options: self.options,
        })
    }
}

/// Why a child was not enqueued.
///
/// With `?` the attempt ends as it should: what may pass is tried again, and what will not is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The deployment does not grant the task. Rejected, as `enqueue-not-granted`.
    NotGranted {
        /// The task.
        task: String,
    },
    /// The task is unknown, an option is, or the payload does not fit. Rejected, as `enqueue-invalid`.
    Invalid(String),
    /// The attempt has asked for as much as its deployment lets it. Rejected, as `enqueue-limited`.
    Limited(String),
    /// The store could not take it now. Tried again, as `enqueue-unavailable`.
    Unavailable(String),
    /// Something that this version has no word for. Tried again, as `enqueue-failed`.
    Other(String),
}

impl EnqueueError {
    /// How an attempt ends that meets this and can do nothing about it.
    pub(crate) fn interruption(&self) -> Interruption {
        let message = self.to_string();
        match self {
            Self::NotGranted { .. } => Interruption::reject("enqueue-not-granted", message),
            Self::Invalid(_) => Interruption::reject("enqueue-invalid", message),
            Self::Limited(_) => Interruption::reject("enqueue-limited", message),
            Self::Unavailable(_) => Interruption::retry("enqueue-unavailable", message),
            Self::Other(_) => Interruption::retry("enqueue-failed", message),
        }
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted { task } => {
                write!(f, "the deployment does not grant enqueueing `{task}`")
            }
            Self::Invalid(why) => write!(f, "the child cannot be enqueued: {why}"),
            Self::Limited(why) => write!(f, "the child was not enqueued: {why}"),
            Self::Unavailable(why) => write!(f, "the child could not be enqueued: {why}"),
            Self::Other(why) => write!(f, "enqueueing the child failed: {why}"),
        }
    }
}

impl std::error::Error for EnqueueError {}

impl Context {
    /// Enqueues another envelope, and gives its id; the broker has stored it when the call returns.
    ///
    /// The deployment grants it by the task's name: `enqueue = ["mail.*"]` under `[grants]` of `stem.toml`, or
    /// `--allow-enqueue`. An attempt may fail and be repeated after this: give the child a [key](Child::with_key).
    pub fn enqueue(&self, child: Child) -> Result<String, EnqueueError> {
        self.host.enqueue(child.into_request()?)
    }

    /// Enqueues many in one step, and answers each in its place: one that is refused holds up no other.
    ///
    /// ```
    /// # use stem_guest::{Child, Context, Interruption};
    /// #[stem_guest::task]
    /// fn split(ctx: &Context, lines: Vec<String>) -> Result<Vec<String>, Interruption> {
    ///     let children = lines.iter().enumerate();
    ///     let children = children.map(|(n, line)| Child::new("line", line).with_key(format!("line-{n}")));
    ///     Ok(ctx.enqueue_all(children).into_iter().collect::<Result<_, _>>()?)
    /// }
    /// ```
    pub fn enqueue_all(
        &self,
        children: impl IntoIterator<Item = Child>,
    ) -> Vec<Result<String, EnqueueError>> {
        let mut requests = Vec::new();
        let mut places = Vec::new();
        for child in children {
            match child.into_request() {
                Ok(request) => {
                    requests.push(request);
                    places.push(None);
                }
                Err(misfit) => places.push(Some(misfit)),
            }
        }
        let mut answers = self.host.enqueue_all(requests).into_iter();
        let missing = || Err(EnqueueError::Other("the host gave no answer".to_owned()));
        let answer = |place: Option<EnqueueError>| match place {
            Some(misfit) => Err(misfit),
            None => answers.next().unwrap_or_else(missing),
        };
        places.into_iter().map(answer).collect()
    }
}
