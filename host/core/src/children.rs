//! What a running attempt enqueues: from what its guest writes to envelopes that know where they come from (B15, E6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Due, Publication};
use crate::client::{Client, Directory, EnqueueError, Enqueued, Request};
use crate::clock::Timestamp;
use crate::envelope::{Envelope, EnvelopeError, Lineage, MAX_HEADERS, TENANT};
use crate::ids::EnvelopeId;
use crate::names::{HeaderName, QueueName, TaskName, nearest};
use crate::payload::Payload;
use crate::policy::between;
use crate::store_error::StoreError;
use crate::units::parse_duration;

/// What makes one trace of an envelope and its children: passed on together, unless a child brings its own.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// Bytes of an option's name that are quoted.
const LONGEST_QUOTE: usize = 128;

/// A child as its guest writes it: nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The task's name.
    pub task: String,
    /// With what.
    pub payload: Payload,
    /// With the parent's id it makes the child's own.
    pub key: Option<String>,
    /// What goes with it.
    pub headers: Vec<(String, String)>,
    /// As the flags of `stem-host enqueue`.
    pub options: Vec<(String, String)>,
}

impl Draft {
    /// Bytes of everything that it holds.
    pub fn size(&self) -> usize {
        let pairs = self.headers.iter().chain(&self.options);
        let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
        let key = self.key.as_ref().map_or(0, String::len);
        let payload = self.payload.content_type.len() + self.payload.body.len();
        self.task.len() + key + payload + pairs
    }

    /// The task that it asks for, which is all that a grant is about.
    pub fn task(&self) -> Result<TaskName, Refusal> {
        TaskName::new(&self.task).map_err(invalid)
    }

    /// Reads it; what a producer could not say is refused.
    pub fn check(self) -> Result<Child, Refusal> {
        let mut request = Request::new(self.task()?, self.payload);
        if !request.payload.has_media_type() {
            return Err(invalid("the payload's content type is no media type"));
        }
        if self.key.as_ref().is_some_and(String::is_empty) {
            return Err(invalid("a key is not empty: without a key it is left out"));
        }
        request.headers = headers(self.headers)?;
        set_options(&mut request, &self.options)?;
        Ok(Child {
            request,
            key: self.key,
        })
    }
}

fn headers(given: Vec<(String, String)>) -> Result<BTreeMap<HeaderName, String>, Refusal> {
    if given.len() > MAX_HEADERS {
        return Err(invalid(EnvelopeError::TooManyHeaders(given.len())));
    }
    let named = |(name, value)| Ok((HeaderName::new(name).map_err(invalid)?, value));
    given.into_iter().map(named).collect()
}

type Take = fn(&mut Request, &str) -> Result<(), String>;

/// The flags of `stem-host enqueue` that say how a child is run.
const OPTIONS: [(&str, Take); 5] = [
    ("queue", |request, text| {
        let queue = QueueName::new(text).map_err(|error| error.to_string())?;
        request.queue = Some(queue);
        Ok(())
    }),
    ("delay", |request, text| {
        let delay = parse_duration(text).map_err(|error| error.to_string())?;
        set_due(request, Due::After(delay))
    }),
    ("at", |request, text| {
        let time = Timestamp::parse(text).ok_or_else(|| {
            format!("`{text}` is no time: write RFC 3339 such as 2026-11-20T08:00:00Z")
        })?;
        set_due(request, Due::At(time))
    }),
    ("priority", |request, text| {
        request.priority = Some(between(text, 0, 9)?);
        Ok(())
    }),
    ("max-attempts", |request, text| {
        request.max_attempts = Some(between(text, 1, 1_000)?);
        Ok(())
    }),
];

fn set_due(request: &mut Request, due: Due) -> Result<(), String> {
    if request.due != Due::Now {
        return Err("`delay` and `at` say two things: give one".to_owned());
    }
    let is_now = due == Due::After(Duration::ZERO);
    request.due = if is_now { Due::Now } else { due };
    Ok(())
}

fn set_options(request: &mut Request, options: &[(String, String)]) -> Result<(), Refusal> {
    let mut seen = Vec::with_capacity(OPTIONS.len());
    for (name, value) in options {
        let Some((known, take)) = OPTIONS.iter().find(|(known, _)| known == name) else {
            return Err(unknown_option(name));
        };
        if seen.contains(known) {
            return Err(invalid(format!("the option `{known}` is given twice")));
        }
        seen.push(known);
        take(request, value)
            .map_err(|problem| invalid(format!("bad value for the option `{known}`: {problem}")))?;
    }
    Ok(())
}

fn unknown_option(name: &str) -> Refusal {
    let names = OPTIONS.map(|(known, _)| known);
    let hint = match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    let shown = &name[..name.floor_char_boundary(LONGEST_QUOTE)];
    invalid(format!("unknown option `{shown}`; {hint}"))
}

/// Something that an attempt wants enqueued.
#[derive(Debug, Clone)]
pub struct Child {
    /// As any producer would ask for it.
    pub request: Request,
    /// With the parent's id it makes the child's own, so that a repeated attempt enqueues it once (B15).
    pub key: Option<String>,
}

/// Why a child was not enqueued: what its guest is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The deployment does not grant the task.
    #[error("the deployment does not grant this task")]
    NotGranted,
    /// It is not what can be enqueued.
    #[error("{0}")]
    Invalid(String),
    /// The attempt has enqueued as much as it may.
    #[error("{0}")]
    Limited(String),
    /// The store could not take it: worth a retry.
    #[error("{0}")]
    Unavailable(String),
    /// Something else; the message says what.
    #[error("{0}")]
    Other(String),
}

fn invalid(problem: impl ToString) -> Refusal {
    Refusal::Invalid(problem.to_string())
}

impl Refusal {
    /// What a guest is told of a store: where it lies, and what it says, is the operator's business.
    pub fn of_store(error: &StoreError) -> Self {
        tracing::warn!(%error, "a task's envelopes were not enqueued");
        match error.is_transient() {
            true => Self::Unavailable("try again later".to_owned()),
            false => Self::Other("the store refused it".to_owned()),
        }
    }

    /// What a guest is told of a request. It is not told which other tasks there are.
    fn of(error: EnqueueError) -> Self {
        match error {
            EnqueueError::UnknownTask { task, .. } => {
                invalid(format!("no task named `{task}` is deployed"))
            }
            EnqueueError::Store(error) => Self::of_store(&error),
            EnqueueError::UnusableSchema { task, source } => invalid(format!(
                "the payload schema of `{task}` cannot be used: {source}"
            )),
            EnqueueError::MalformedPayload(_)
            | EnqueueError::SchemaMismatch { .. }
            | EnqueueError::Envelope(_) => invalid(error),
        }
    }
}

/// The envelope whose attempt enqueues, as far as its children take after it.
#[derive(Debug, Clone)]
pub struct Parent {
    lineage: Lineage,
    tenant: Option<(HeaderName, String)>,
    trace: Vec<(HeaderName, String)>,
}

impl Parent {
    /// What the children of this envelope have of it.
    pub fn of(envelope: &Envelope) -> Self {
        let root = envelope.lineage.map_or(envelope.id, |line| line.root);
        let owned = |(name, value): (&HeaderName, &String)| (name.clone(), value.clone());
        let headers = || envelope.headers.iter();
        let is_trace = |(name, _): &(&HeaderName, &String)| TRACE.contains(&name.as_str());
        Self {
            lineage: Lineage {
                parent: envelope.id,
                root,
            },
            tenant: headers()
                .find(|(name, _)| name.as_str() == TENANT)
                .map(owned),
            trace: headers().filter(is_trace).map(owned).collect(),
        }
    }

    /// The child as its parent's: with its id, its lineage, and what it inherits.
    fn adopt(&self, child: Child) -> Result<Request, Refusal> {
        let Child { mut request, key } = child;
        request.id = key.map(|key| EnvelopeId::derived(self.lineage.parent, &key));
        request.lineage = Some(self.lineage);
        if let Some((name, tenant)) = &self.tenant {
            let given = request.headers.insert(name.clone(), tenant.clone());
            if given.is_some_and(|given| given != *tenant) {
                let problem = "an envelope that has a `tenant` enqueues for that tenant alone";
                return Err(invalid(problem));
            }
        }
        let has_own = |name: &HeaderName| TRACE.contains(&name.as_str());
        if !request.headers.keys().any(has_own) {
            request.headers.extend(self.trace.iter().cloned());
        }
        Ok(request)
    }
}

impl Client {
    /// Enqueues an attempt's children: those that can be in one step, and each is answered in its place.
    pub async fn enqueue_children(
        &self,
        parent: &Parent,
        children: Vec<Child>,
    ) -> Vec<Result<Enqueued, Refusal>> {
        let count = children.len();
        match self.try_to_enqueue(parent, children).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(Refusal::of_store(&error)); count],
        }
    }

    async fn try_to_enqueue(
        &self,
        parent: &Parent,
        children: Vec<Child>,
    ) -> Result<Vec<Result<Enqueued, Refusal>>, StoreError> {
        let directory = self.directory().await?;
        let ready = self.make_ready(parent.clone(), children, directory).await;
        let (publications, places) = apart(ready);
        let published = match publications.is_empty() {
            true => Vec::new(),
            false => self.publish(publications).await?,
        };
        Ok(together(places, published.into_iter().map(Ok)))
    }

    /// Checks children against schemas that others have written: where that takes long it holds up no guest, and it
    /// ends soon after whoever asked has gone.
    async fn make_ready(
        &self,
        parent: Parent,
        children: Vec<Child>,
        directory: Arc<Directory>,
    ) -> Vec<Result<Publication, Refusal>> {
        let (client, count, wanted) = (self.clone(), children.len(), Arc::new(()));
        let asked = Arc::downgrade(&wanted);
        let make_one = move |child| {
            if asked.strong_count() == 0 {
                return Err(stopping());
            }
            let request = parent.adopt(child)?;
            let made = client.publication(request, Some(&directory));
            made.map_err(Refusal::of)
        };
        let make = || children.into_iter().map(make_one).collect();
        let ready = tokio::task::spawn_blocking(make).await;
        ready.unwrap_or_else(|_| vec![Err(stopping()); count])
    }
}

fn stopping() -> Refusal {
    Refusal::Unavailable("the attempt is being ended".to_owned())
}

/// What is good, and beside it the places of all: a refusal, or nothing where something good was.
pub fn apart<T>(checked: Vec<Result<T, Refusal>>) -> (Vec<T>, Vec<Option<Refusal>>) {
    let mut good = Vec::new();
    let mut places = Vec::with_capacity(checked.len());
    for one in checked {
        match one {
            Ok(one) => {
                good.push(one);
                places.push(None);
            }
            Err(refusal) => places.push(Some(refusal)),
        }
    }
    (good, places)
}

/// The answers for what was good, in the places that it had.
pub fn together<T>(
    places: Vec<Option<Refusal>>,
    answers: impl IntoIterator<Item = Result<T, Refusal>>,
) -> Vec<Result<T, Refusal>> {
    let mut answers = answers.into_iter();
    let answer = |place: Option<Refusal>| match place {
        Some(refusal) => Err(refusal),
        None => answers.next().expect("one answer for each that was good"),
    };
    places.into_iter().map(answer).collect()
}

#[cfg(test)]
#[path = "children_tests.rs"]
mod tests;
