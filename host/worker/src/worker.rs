//! A worker: claims for its free slots, starts attempts, and winds up in order (W2, W5).

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stem_core::broker::{Claim, DEFAULT_LEASE, Delivery, MAX_DELIVERIES, Settling, Wakeups};
use stem_core::client::Client;
use stem_core::executor::{Executor, Stop, StopReason};
use stem_core::names::{QueueName, WorkerName};
use stem_core::payload::DEFAULT_PAYLOAD_LIMIT;
use stem_core::store_error::StoreError;
use stem_core::stores::Stores;
use stem_core::units::ByteSize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::attempt::{self, Desk};
use crate::backoff::{Backoff, may_pass, until_answered};
use crate::contact::Contact;
use crate::duties;
use crate::guests::Guests;
use crate::heartbeat::Counts;
use crate::lease::Leases;
use crate::progress::ProgressBoard;
use crate::settler;

/// Attempts that run at once for each core, where nothing else is said (W2).
pub const SLOTS_PER_CORE: usize = 32;
/// How long free slots are gathered for a larger claim while the queue is deep.
const GATHERING: Duration = Duration::from_millis(1);
/// How long what was ended by force may take to be settled.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(5);
/// How long a claim may take to be answered after a worker was told to end at once.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Unique for each start.
    pub name: WorkerName,
    /// The machine, for people.
    pub host: String,
    /// Queues to take from: they take turns at being first.
    pub queues: Vec<QueueName>,
    /// Where envelopes go that a task enqueues, if nothing names a queue for them.
    pub default_queue: QueueName,
    /// How many attempts run at once.
    pub slots: usize,
    /// Threads that guests run on.
    pub threads: usize,
    /// How long a lease lasts unless it is renewed, every third of it (B3).
    pub lease: Duration,
    /// How long guests may take to wind up when the worker shuts down (W5).
    pub grace: Duration,
    /// Workers lost in a row before an envelope is poison (B5).
    pub max_deliveries: u32,
    /// The largest payload, result or checkpoint that is unpacked (E3).
    pub payload_limit: ByteSize,
    /// Whether the worker stops by itself when nothing is left to do now.
    pub is_draining: bool,
}

impl Options {
    /// A worker of this name with the defaults of the contract.
    pub fn new(name: WorkerName, host: impl Into<String>, queues: Vec<QueueName>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            name,
            host: host.into(),
            queues,
            default_queue: QueueName::new("default").expect("a good name"),
            slots: SLOTS_PER_CORE * cores,
            threads: cores,
            lease: DEFAULT_LEASE,
            grace: Duration::from_secs(30),
            max_deliveries: MAX_DELIVERIES,
            payload_limit: DEFAULT_PAYLOAD_LIMIT,
            is_draining: false,
        }
    }
}

/// Whether a worker is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It goes on.
    No,
    /// It claims no more, asks guests to stop, and ends what is left after the grace.
    Graceful,
    /// It ends what runs at once, and gives it back.
    Now,
}

/// What a worker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// Claims deliveries, runs their attempts and settles them.
pub struct Worker {
    stores: Stores,
    options: Options,
    desk: Arc<Desk>,
    guests: Arc<Guests>,
    leases: Arc<Leases>,
    counts: Arc<Counts>,
    contact: Arc<Contact>,
    slots: Arc<Semaphore>,
}

impl Worker {
    /// A worker that is ready to run; fails where its threads cannot be started.
    pub fn new(stores: Stores, executor: Arc<dyn Executor>, options: Options) -> io::Result<Self> {
        let client = Client::new(stores.clone(), options.default_queue.clone())
            .with_payload_limit(options.payload_limit);
        let desk = Desk {
            worker: options.name.clone(),
            clock: Arc::clone(&stores.clock),
            executor,
            results: Arc::clone(&stores.results),
            key_value: Arc::clone(&stores.key_value),
            client: Arc::new(client),
            lease: options.lease,
            progress: Arc::new(ProgressBoard::default()),
            max_deliveries: options.max_deliveries,
            payload_limit: options.payload_limit,
            waits: Arc::default(),
        };
        Ok(Self {
            guests: Arc::new(Guests::start(options.threads)?),
            slots: Arc::new(Semaphore::new(options.slots)),
            leases: Arc::default(),
            counts: Arc::default(),
            contact: Contact::new(Arc::clone(&stores.clock)),
            desk: Arc::new(desk),
            stores,
            options,
        })
    }

    /// Works until it is told to stop; then nothing is lost and nothing charged for it (W5).
    pub async fn run(self, mut shutdown: watch::Receiver<Shutdown>) -> Result<Summary, StoreError> {
        let (congested, congestion) = watch::channel(false);
        let mut duties = duties::start(&self, congested);
        let (ended, inbox) = mpsc::channel(self.options.slots.max(1));
        let mut settling = JoinSet::new();
        settling.spawn(settler::settle(
            Arc::clone(&self.stores.broker),
            Arc::clone(&self.leases),
            Arc::clone(&self.contact),
            inbox,
        ));
        let claimed = self.claim(&ended, congestion, shutdown.clone()).await;
        drop(ended);
        self.wind_up(&mut shutdown, &mut settling).await;
        duties.abort_all();
        if let Err(error) = self.stores.control.leave(&self.options.name).await {
            tracing::warn!(%error, cause = error.cause(), "leaving was not announced");
        }
        claimed.map(|()| self.summary())
    }

    /// Claims until the worker is told to stop.
    async fn claim(
        &self,
        ended: &mpsc::Sender<Settling>,
        mut congestion: watch::Receiver<bool>,
        mut shutdown: watch::Receiver<Shutdown>,
    ) -> Result<(), StoreError> {
        let mut backoff = Backoff::default();
        let mut queues = self.options.queues.clone();
        let mut work = tokio::select! {
            () = told(&mut shutdown, Shutdown::Graceful) => return Ok(()),
            work = until_answered(&self.contact, || self.stores.broker.work(&queues)) => work?,
        };
        let mut is_deep = false;
        loop {
            let mut free = tokio::select! {
                biased;
                () = told(&mut shutdown, Shutdown::Graceful) => return Ok(()),
                free = self.room(is_deep, &mut congestion) => free,
            };
            let wanted = free.num_permits();
            let claim = self.claim_once(&queues, wanted);
            let Some(claimed) = self.answered(claim, &mut shutdown).await else {
                return Ok(());
            };
            let claimed = claimed?;
            let is_failed = claimed.is_none();
            let claimed = claimed.unwrap_or_default();
            queues.rotate_left(1);
            is_deep = claimed.len() == wanted;
            self.start_all(claimed, &mut free, ended);
            drop(free);
            if self.options.is_draining && !is_deep && self.leases.count() == 0 {
                return Ok(());
            }
            tokio::select! {
                () = told(&mut shutdown, Shutdown::Graceful) => return Ok(()),
                () = self.pause(&mut backoff, work.as_mut(), is_failed), if !is_deep => {}
                () = std::future::ready(()), if is_deep => {}
            }
        }
    }

    /// The answer of a claim. A stop reaches what runs at once, and waits for the answer: what was leased must be
    /// started, so that it is released in order and its worker does not count as lost.
    async fn answered<T>(
        &self,
        claim: impl Future<Output = T>,
        shutdown: &mut watch::Receiver<Shutdown>,
    ) -> Option<T> {
        let mut claim = pin!(claim);
        tokio::select! {
            biased;
            answer = &mut claim => return Some(answer),
            () = told(shutdown, Shutdown::Graceful) => {}
        }
        self.leases.stop_all(Stop::Asked(StopReason::Shutdown));
        tokio::select! {
            biased;
            answer = &mut claim => return Some(answer),
            () = tokio::time::sleep(self.options.grace) => {}
            () = told(shutdown, Shutdown::Now) => {}
        }
        self.leases.stop_all(Stop::Now(StopReason::Shutdown));
        tokio::time::timeout(LAST_ANSWER, claim).await.ok()
    }

    /// Free slots that guests have cores for (B2, W2).
    async fn room(
        &self,
        is_deep: bool,
        congestion: &mut watch::Receiver<bool>,
    ) -> OwnedSemaphorePermit {
        let free = self.free_slots(is_deep).await;
        // The sender lives as long as the worker's duties: where it is gone, so is the reason to wait.
        let _ = congestion.wait_for(|is_congested| !is_congested).await;
        free
    }

    /// What the broker gives; nothing where it fails in a way that may pass.
    async fn claim_once(
        &self,
        queues: &[QueueName],
        limit: usize,
    ) -> Result<Option<Vec<Delivery>>, StoreError> {
        let claim = Claim {
            worker: self.options.name.clone(),
            queues: queues.to_vec(),
            limit,
            lease: self.options.lease,
        };
        let claiming = self.stores.broker.claim(&claim);
        match self.contact.ask("claim", claiming).await {
            Ok(deliveries) => Ok(Some(deliveries)),
            Err(error) if may_pass(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every slot that is free, as soon as one is (B2).
    ///
    /// Where the queue is deep, claims of one or two envelopes would cost more than their attempts: then half of the
    /// slots are awaited first, for a moment at most, so that long tasks do not hold up the slots beside them.
    async fn free_slots(&self, is_deep: bool) -> OwnedSemaphorePermit {
        if is_deep {
            let half = u32::try_from(self.options.slots / 2).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(GATHERING, self.slots.acquire_many(half)).await;
        }
        let one = Arc::clone(&self.slots).acquire_owned().await;
        let mut free = one.expect("the semaphore is never closed");
        let others = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        if let Ok(others) = Arc::clone(&self.slots).try_acquire_many_owned(others) {
            free.merge(others);
        }
        free
    }

    fn start_all(
        &self,
        deliveries: Vec<Delivery>,
        free: &mut OwnedSemaphorePermit,
        ended: &mpsc::Sender<Settling>,
    ) {
        let claimed = self.stores.clock.monotonic();
        for delivery in deliveries {
            let slot = free.split(1);
            let stop = self.leases.hold(delivery.receipt);
            let (desk, counts, ended) = (
                Arc::clone(&self.desk),
                Arc::clone(&self.counts),
                ended.clone(),
            );
            self.guests.spawn(async move {
                let settling = attempt::run(&desk, &delivery, claimed, stop).await;
                counts.count_report(settling.report.as_ref());
                desk.progress.forget(settling.receipt.id);
                // The settler lives until every attempt has sent its settlement.
                let _ = ended.send(settling).await;
                drop(slot);
            });
        }
    }

    /// Asks what runs to stop, ends it after the grace, and waits until all of it is settled.
    async fn wind_up(&self, shutdown: &mut watch::Receiver<Shutdown>, settling: &mut JoinSet<()>) {
        self.leases.stop_all(Stop::Asked(StopReason::Shutdown));
        tokio::select! {
            _ = settling.join_next() => return,
            () = tokio::time::sleep(self.options.grace) => {}
            () = told(shutdown, Shutdown::Now) => {}
        }
        self.leases.stop_all(Stop::Now(StopReason::Shutdown));
        if tokio::time::timeout(LAST_SETTLEMENTS, settling.join_next())
            .await
            .is_err()
        {
            let left = self.leases.count();
            tracing::warn!(
                left,
                "some attempts were not settled: their leases will end by themselves"
            );
        }
    }

    /// Waits for work, or for a store that failed.
    async fn pause(&self, backoff: &mut Backoff, work: &mut dyn Wakeups, is_failed: bool) {
        if is_failed {
            return backoff.pause().await;
        }
        match self.contact.ask("wait", work.next()).await {
            Ok(()) => backoff.reset(),
            Err(_) => backoff.pause().await,
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            succeeded: self.counts.succeeded.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(crate) fn guests(&self) -> &Arc<Guests> {
        &self.guests
    }

    pub(crate) fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    pub(crate) fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

/// Returns when the worker is told to stop at least this urgently; never where nobody is left to tell it.
async fn told(shutdown: &mut watch::Receiver<Shutdown>, least: Shutdown) {
    let is_told = |shutdown: &Shutdown| match least {
        Shutdown::No => true,
        Shutdown::Graceful => *shutdown != Shutdown::No,
        Shutdown::Now => *shutdown == Shutdown::Now,
    };
    if shutdown.wait_for(is_told).await.is_err() {
        std::future::pending::<()>().await;
    }
}
