//! The producer's side: checks a request against the deployments, builds its envelope and publishes it (E3–E6).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::broker::{Due, Publication, Published};
use crate::clock::Timestamp;
use crate::envelope::{Envelope, EnvelopeError, Lineage};
use crate::ids::EnvelopeId;
use crate::module_store::DeployedTask;
use crate::names::{HeaderName, QueueName, TaskName, nearest};
use crate::payload::{DEFAULT_PAYLOAD_LIMIT, Payload, StoredPayload};
use crate::retry::RetryPolicy;
use crate::schema::{Schema, SchemaError};
use crate::store_error::StoreError;
use crate::stores::Stores;
use crate::units::ByteSize;

/// How long an envelope may wait: a hundred years, so that its time is one that every store can say and count with.
pub const LONGEST_DELAY: Duration = Duration::from_secs(36_525 * 86_400);

/// Publishes envelopes.
#[derive(Clone)]
pub struct Client {
    stores: Stores,
    default_queue: QueueName,
    payload_limit: ByteSize,
    known: Arc<Mutex<Option<Arc<Directory>>>>,
}

/// What is to be enqueued. What is not given is the deployment's (E4).
#[derive(Debug, Clone)]
pub struct Request {
    /// The task.
    pub task: TaskName,
    /// With what.
    pub payload: Payload,
    /// When it may run.
    pub due: Due,
    /// Where it goes.
    pub queue: Option<QueueName>,
    /// 0 to 9.
    pub priority: Option<u8>,
    /// Attempts in all.
    pub max_attempts: Option<u32>,
    /// When a failed attempt is followed by another.
    pub retry: Option<RetryPolicy>,
    /// Not to be started after this time.
    pub expires_at: Option<Timestamp>,
    /// What goes with it.
    pub headers: BTreeMap<HeaderName, String>,
    /// Its id, if the producer has one: publishing it again changes nothing (B15).
    pub id: Option<EnvelopeId>,
    /// Whose attempt asks for it, where one does.
    pub lineage: Option<Lineage>,
    /// Publishes without asking the deployments (E6).
    pub is_unchecked: bool,
}

impl Request {
    /// A request with nothing but what every request has.
    pub fn new(task: TaskName, payload: Payload) -> Self {
        Self {
            task,
            payload,
            due: Due::Now,
            queue: None,
            priority: None,
            max_attempts: None,
            retry: None,
            expires_at: None,
            headers: BTreeMap::new(),
            id: None,
            lineage: None,
            is_unchecked: false,
        }
    }
}

/// What was enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The envelope.
    pub id: EnvelopeId,
    /// Where it went.
    pub queue: QueueName,
    /// Whether it waits for its time.
    pub is_scheduled: bool,
    /// Whether it was there already.
    pub published: Published,
}

/// Why nothing was enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// No deployment has the task.
    #[error(
        "no task named `{task}`{}",
        hint.as_ref().map_or_else(
            || ": deploy its module first, or publish anyway with --unchecked".to_owned(),
            |near| format!("; did you mean `{near}`?"),
        )
    )]
    UnknownTask {
        /// The task that was asked for.
        task: TaskName,
        /// The one that was probably meant.
        hint: Option<String>,
    },
    /// The payload is not what its media type says.
    #[error("the payload is no valid {0}")]
    MalformedPayload(String),
    /// The payload is not what the task takes.
    #[error("the payload does not fit the schema of `{task}`: {problem}")]
    SchemaMismatch {
        /// The task.
        task: TaskName,
        /// Where the payload differs, and how.
        problem: String,
    },
    /// No payload can be checked.
    #[error(
        "the payload schema of `{task}` cannot be used: mend it and deploy the module again, or publish with --unchecked"
    )]
    UnusableSchema {
        /// Whose.
        task: TaskName,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// The envelope breaks a limit.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The active tasks as of one revision.
pub(crate) struct Directory {
    revision: u64,
    tasks: HashMap<TaskName, Entry>,
}

struct Entry {
    task: DeployedTask,
    /// Compiled when the task is first asked for.
    schema: OnceLock<Result<Option<Schema>, SchemaError>>,
}

impl Client {
    /// A client of these stores; envelopes whose task names no queue go to `default_queue`.
    pub fn new(stores: Stores, default_queue: QueueName) -> Self {
        Self {
            stores,
            default_queue,
            payload_limit: DEFAULT_PAYLOAD_LIMIT,
            known: Arc::default(),
        }
    }

    /// The same with another limit for payloads (E3).
    pub fn with_payload_limit(self, payload_limit: ByteSize) -> Self {
        Self {
            payload_limit,
            ..self
        }
    }

    /// The stores that it publishes to.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Enqueues one request.
    pub async fn enqueue(&self, request: Request) -> Result<Enqueued, EnqueueError> {
        let enqueued = self.enqueue_all(vec![request]).await?;
        Ok(enqueued
            .into_iter()
            .next()
            .expect("one answer for one request"))
    }

    /// Enqueues requests, all or none.
    pub async fn enqueue_all(&self, requests: Vec<Request>) -> Result<Vec<Enqueued>, EnqueueError> {
        let directory = match requests.iter().all(|request| request.is_unchecked) {
            true => None,
            false => Some(self.directory().await?),
        };
        let publications: Vec<Publication> = requests
            .into_iter()
            .map(|request| self.publication(request, directory.as_deref()))
            .collect::<Result<_, _>>()?;
        Ok(self.publish(publications).await?)
    }

    /// Publishes what was made ready, all or none.
    pub(crate) async fn publish(
        &self,
        publications: Vec<Publication>,
    ) -> Result<Vec<Enqueued>, StoreError> {
        let now = self.stores.clock.now();
        let published = self.stores.broker.publish(&publications).await?;
        let answer = |(publication, published): (Publication, Published)| Enqueued {
            id: publication.id,
            queue: publication.queue,
            is_scheduled: match publication.due {
                Due::Now => false,
                Due::After(delay) => !delay.is_zero(),
                Due::At(time) => time > now,
            },
            published,
        };
        Ok(publications
            .into_iter()
            .zip(published)
            .map(answer)
            .collect())
    }

    /// The request as the broker takes it, where the deployments and the limits allow it.
    pub(crate) fn publication(
        &self,
        request: Request,
        directory: Option<&Directory>,
    ) -> Result<Publication, EnqueueError> {
        let actual = ByteSize(request.payload.body.len() as u64);
        if actual > self.payload_limit {
            return Err(EnvelopeError::PayloadTooLarge {
                actual,
                limit: self.payload_limit,
            }
            .into());
        }
        self.check_due(request.due)?;
        let deployed = match directory {
            Some(directory) if !request.is_unchecked => Some(directory.check(&request)?),
            _ => None,
        };
        let due = request.due;
        let envelope = self.envelope(request, deployed);
        Ok(Publication {
            id: envelope.id,
            task: envelope.task.clone(),
            queue: envelope.queue.clone(),
            priority: envelope.priority,
            due,
            module: envelope.module,
            bytes: envelope.encode(self.payload_limit)?,
        })
    }

    /// Refuses a time that stores could not tell from others that never come.
    fn check_due(&self, due: Due) -> Result<(), EnvelopeError> {
        let delay = match due {
            Due::Now => Duration::ZERO,
            Due::After(delay) => delay,
            Due::At(time) => time.since(self.stores.clock.now()),
        };
        match delay > LONGEST_DELAY {
            true => Err(EnvelopeError::TooLate),
            false => Ok(()),
        }
    }

    fn envelope(&self, request: Request, deployed: Option<&DeployedTask>) -> Envelope {
        let policy = deployed.map(|task| &task.policy);
        let queue = request
            .queue
            .or_else(|| policy?.queue.clone())
            .unwrap_or_else(|| self.default_queue.clone());
        let now = self.stores.clock.now();
        let mut envelope = Envelope::new(
            request.task,
            queue,
            StoredPayload::pack(request.payload),
            now,
        );
        envelope.id = request.id.unwrap_or(envelope.id);
        envelope.priority = request
            .priority
            .or_else(|| Some(policy?.priority))
            .unwrap_or(0);
        envelope.max_attempts = request.max_attempts;
        envelope.retry = request.retry;
        envelope.expires_at = request.expires_at;
        envelope.headers = request.headers;
        envelope.lineage = request.lineage;
        envelope.not_before = match request.due {
            Due::At(time) => Some(time),
            Due::Now | Due::After(_) => None,
        };
        envelope
    }

    /// The active tasks, as they are now.
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, StoreError> {
        let revision = self.stores.modules.revision().await?;
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(directory) = known.filter(|directory| directory.revision == revision) {
            return Ok(directory);
        }
        let deployments = self.stores.modules.deployments().await?;
        let active = deployments
            .into_iter()
            .filter(|deployment| deployment.is_active);
        let entry = |task: DeployedTask| (task.name.clone(), Entry::new(task));
        let tasks = active
            .flat_map(|deployment| deployment.tasks)
            .map(entry)
            .collect();
        let directory = Arc::new(Directory { revision, tasks });
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&directory));
        Ok(directory)
    }
}

impl Entry {
    fn new(task: DeployedTask) -> Self {
        Self {
            task,
            schema: OnceLock::new(),
        }
    }

    fn check(&self, payload: &Payload) -> Result<(), EnqueueError> {
        if !payload.is_well_formed() {
            let content_type = payload.content_type.clone();
            return Err(EnqueueError::MalformedPayload(content_type));
        }
        let task = || self.task.name.clone();
        let schema = self.schema().map_err(|source| {
            let task = task();
            EnqueueError::UnusableSchema { task, source }
        })?;
        match schema.map_or(Ok(()), |schema| schema.check(payload)) {
            Ok(()) => Ok(()),
            Err(problem) => Err(EnqueueError::SchemaMismatch {
                task: task(),
                problem,
            }),
        }
    }

    /// What is in a store may have been deployed by another version, and is bounded like what is deployed now.
    fn schema(&self) -> Result<Option<&Schema>, SchemaError> {
        let compile = || {
            let schema = self.task.payload_schema.as_deref();
            schema.map(Schema::compile).transpose()
        };
        let compiled = self.schema.get_or_init(compile).as_ref();
        compiled.map(Option::as_ref).map_err(Clone::clone)
    }
}

/// Checks a payload against a task as enqueueing does (E6), for whoever runs it without a store.
pub fn check(task: &DeployedTask, payload: &Payload) -> Result<(), EnqueueError> {
    Entry::new(task.clone()).check(payload)
}

impl Directory {
    /// The task of a request whose payload fits it (E6).
    fn check(&self, request: &Request) -> Result<&DeployedTask, EnqueueError> {
        let Some(entry) = self.tasks.get(&request.task) else {
            let hint = nearest(
                request.task.as_str(),
                self.tasks.keys().map(TaskName::as_str),
            )
            .map(str::to_owned);
            return Err(EnqueueError::UnknownTask {
                task: request.task.clone(),
                hint,
            });
        };
        entry.check(&request.payload)?;
        Ok(&entry.task)
    }
}
