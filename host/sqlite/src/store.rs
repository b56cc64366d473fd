//! An open store: its threads, its clock, and what they are opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use stem_core::broker::Wakeups;
use stem_core::clock::{Clock, Timestamp};
use stem_core::names::Namespace;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::units::ByteSize;
use tokio::sync::watch;

use crate::checkpoint;
use crate::claim;
use crate::location::{self, Location, Reserve};
use crate::open;
use crate::problem::{Problem, Stepped};
use crate::reader::Reader;
use crate::turn::Turnstile;
use crate::upkeep;
use crate::wake::{Topic, Wake};
use crate::writer::{Desk, Step, Writer};

/// The poll that stands behind every wake-up.
pub(crate) const SLOW_POLL: Duration = Duration::from_secs(1);

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file; it and its folder are made where they are missing.
    pub path: PathBuf,
    /// Several may share one file and never see each other (B14).
    pub namespace: Namespace,
    /// The store's time (B16).
    pub clock: Arc<dyn Clock>,
    /// What a commit survives (B1).
    pub synchronous: Synchronous,
    /// The free space on the disk at which publishing stops (B9).
    pub reserve: ByteSize,
}

impl Options {
    /// The settings that a user has by default.
    pub fn new(path: impl Into<PathBuf>, namespace: Namespace, clock: Arc<dyn Clock>) -> Self {
        Self {
            path: path.into(),
            namespace,
            clock,
            synchronous: Synchronous::Normal,
            reserve: ByteSize::mib(256),
        }
    }
}

/// What a commit survives (B1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// Any kill of our processes; the last commits may be lost when the power fails.
    Normal,
    /// Power loss too: every commit waits for the disk.
    Full,
}

impl Synchronous {
    pub(crate) fn pragma(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Full => "full",
        }
    }
}

/// An open store. Dropping the last handle ends its threads; what was asked of it by then is committed.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What a store and those who wait on it hold together.
pub(crate) struct Shared {
    writer: Writer,
    reader: Reader,
    lister: Reader,
    pub(crate) wake: Arc<Wake>,
    pub(crate) reserve: Reserve,
    pub(crate) namespace: i64,
    pub(crate) options: Options,
    subject: String,
}

impl Store {
    /// Opens the database, and makes it where there is none.
    pub async fn open(options: Options) -> Result<Arc<Self>, StoreError> {
        let subject = options.path.display().to_string();
        let opened = tokio::task::spawn_blocking(move || Shared::open(options)).await;
        let shared = opened
            .map_err(|_| Problem::stopped())
            .and_then(|shared| shared)
            .map_err(|problem| problem.into_error("open the database", &subject))?;
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
        }))
    }

    /// Runs a step in the writer's next transaction; it may be run again.
    pub(crate) async fn write<T, F>(
        &self,
        operation: &'static str,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Step<'_>) -> Stepped<T> + Send + 'static,
    {
        let written = self.shared.writer.write(work).await;
        written.map_err(|problem| self.shared.error(operation, problem))
    }

    /// Reads something quick.
    pub(crate) async fn read<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Stepped<T> + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
    {
        self.shared.read(operation, work).await
    }

    /// Reads something that may take long: lists and counts, which must not hold up a look-up.
    pub(crate) async fn list_rows<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Stepped<T> + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
    {
        let read = self.shared.lister.read(work).await;
        read.map_err(|problem| self.shared.error(operation, problem))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.options.clock.now()
    }
}

impl Shared {
    fn open(mut options: Options) -> Stepped<Self> {
        let Location {
            database,
            beside: folder,
        } = location::prepare(&options.path)?;
        options.path = database;
        let path = &options.path;
        let threads = |error: std::io::Error| {
            Problem::new(
                StoreErrorKind::NotPermitted,
                format!("cannot use the folder `{}`: {error}", folder.display()),
            )
        };
        let turnstile = Turnstile::open(&folder).map_err(threads)?;
        let turn = turnstile.take()?;
        let mut connection = open::writer(path, options.synchronous)?;
        let namespace = open::namespace(&connection, &options.namespace)?;
        let beside = open::beside(path, options.synchronous)?;
        let checkpoints = checkpoint::start(&mut connection, beside)?.map_err(threads)?;
        drop(turn);
        let wake = Arc::new(Wake::open(&folder).map_err(threads)?);
        let desk = Desk {
            connection,
            checkpoints,
            namespace,
            clock: Arc::clone(&options.clock),
            turnstile,
            wake: Arc::clone(&wake),
        };
        let reader = |name| Reader::start(name, open::reader(path)?).map_err(threads);
        Ok(Self {
            reader: reader("stem-sqlite-read")?,
            lister: reader("stem-sqlite-list")?,
            writer: Writer::start(desk).map_err(threads)?,
            wake,
            reserve: Reserve::new(path, options.reserve, Arc::clone(&options.clock)),
            namespace,
            subject: path.display().to_string(),
            options,
        })
    }

    /// Refuses to publish where the reserve is reached (B9).
    pub(crate) async fn check_room(&self, operation: &'static str) -> Result<(), StoreError> {
        let has_room = self.reserve.is_kept_by_the_disk();
        if has_room.map_err(|problem| self.error(operation, problem))? {
            return Ok(());
        }
        let within = self.read(operation, upkeep::free_within).await?;
        let room = self.reserve.check(within);
        room.map_err(|problem| self.error(operation, problem))
    }

    pub(crate) fn error(&self, operation: &'static str, problem: Problem) -> StoreError {
        problem.into_error(operation, &self.subject)
    }

    pub(crate) async fn read<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Stepped<T> + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
    {
        let read = self.reader.read(work).await;
        read.map_err(|problem| self.error(operation, problem))
    }
}

/// Waits for commits that touch a topic.
pub(crate) struct Changes {
    heard: watch::Receiver<u64>,
    /// Ends the channel's sender no earlier than its last listener.
    pub(crate) shared: Arc<Shared>,
}

impl Changes {
    pub(crate) fn of(shared: &Arc<Shared>, topic: Topic) -> Self {
        Self {
            heard: shared.wake.subscribe(topic),
            shared: Arc::clone(shared),
        }
    }

    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as `shared`, so this ends only with a change.
        let _ = self.heard.changed().await;
    }
}

#[async_trait]
impl Wakeups for Changes {
    async fn next(&mut self) -> Result<(), StoreError> {
        tokio::select! {
            () = self.changed() => {}
            () = tokio::time::sleep(SLOW_POLL) => {}
        }
        Ok(())
    }
}

/// Waits for work: a commit, or the next time at which something falls due or a lease ends.
pub(crate) struct Work {
    changes: Changes,
    /// The last such time that was told: nobody needs to hear of it twice.
    told: Timestamp,
}

impl Work {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            changes: Changes::of(shared, Topic::Work),
            told: Timestamp::default(),
        }
    }

    async fn alarm(&self) -> Result<Option<Timestamp>, StoreError> {
        let shared = &self.changes.shared;
        let (namespace, told) = (shared.namespace, self.told);
        shared
            .read("wait for work", move |connection| {
                claim::next_time(connection, namespace, told)
            })
            .await
    }
}

#[async_trait]
impl Wakeups for Work {
    async fn next(&mut self) -> Result<(), StoreError> {
        let alarm = self.alarm().await?;
        let clock = Arc::clone(&self.changes.shared.options.clock);
        let due = async {
            match alarm {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.changes.changed() => {}
            () = due => self.told = alarm.unwrap_or(self.told),
            () = tokio::time::sleep(SLOW_POLL) => {}
        }
        Ok(())
    }
}
