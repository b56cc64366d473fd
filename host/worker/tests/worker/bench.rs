//! A worker on the memory store, and what a test does to it.

use std::sync::Arc;
use std::time::Duration;

use stem_core::client::{Client, Request};
use stem_core::clock::Clock;
use stem_core::control::Command;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{Lookup, look_up, wait};
use stem_core::names::{Namespace, QueueName, TaskName, WorkerName};
use stem_core::payload::Payload;
use stem_core::queues::{CancelMode, EnvelopeStatus, Place};
use stem_core::state::State;
use stem_core::stores::Stores;
use stem_testkit::clock::ManualClock;
use stem_testkit::executor::{ScriptedExecutor, Step};
use stem_worker::{Options, Shutdown, Summary, Worker};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::rig::{Rig, Rigged, RiggedExecutor};

/// A worker, what it works on, and what stops it.
pub struct Bench {
    pub stores: Stores,
    pub executor: Arc<ScriptedExecutor>,
    pub clock: Arc<ManualClock>,
    pub shutdown: watch::Sender<Shutdown>,
    pub running: JoinHandle<Summary>,
}

pub const BOUND: Duration = Duration::from_secs(20);

impl Bench {
    pub async fn start(executor: ScriptedExecutor, adjust: impl FnOnce(&mut Options)) -> Self {
        Self::start_rigged(Rig::default(), executor, adjust).await
    }

    /// The same on a broker that does as the test says.
    pub async fn start_rigged(
        rig: Rig,
        executor: ScriptedExecutor,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let clock = ManualClock::shared();
        let store = stem_memory::Store::new(Namespace::new("test").expect("a name"), clock.clone());
        let mut stores = Stores::on_one(store, clock.clone());
        stores.broker = Arc::new(Rigged {
            broker: stores.broker,
            rig: rig.clone(),
        });
        let executor = Arc::new(executor);
        let rigged = Arc::new(RiggedExecutor {
            executor: Arc::clone(&executor),
            rig,
        });
        let name = WorkerName::new("w1").expect("a name");
        let mut options = Options::new(name, "here", vec![QueueName::new("q").expect("a name")]);
        options.slots = 4;
        adjust(&mut options);
        let (shutdown, told) = watch::channel(Shutdown::No);
        let worker = Worker::new(stores.clone(), rigged, options).expect("threads start");
        let running = tokio::runtime::Handle::current()
            .spawn(async move { worker.run(told).await.expect("the store stays") });
        Self {
            stores,
            executor,
            clock,
            shutdown,
            running,
        }
    }

    pub async fn enqueue(&self, count: usize) -> Vec<EnvelopeId> {
        let client = Client::new(self.stores.clone(), QueueName::new("q").expect("a name"));
        let task = TaskName::new("t").expect("a name");
        let payload = Payload::new("application/json", "1");
        let mut request = Request::new(task, payload);
        request.is_unchecked = true;
        let requests = vec![request; count];
        let enqueued = client
            .enqueue_all(requests)
            .await
            .expect("the store takes them");
        enqueued.into_iter().map(|enqueued| enqueued.id).collect()
    }

    pub async fn end(&self, id: EnvelopeId) -> Lookup {
        let ended = tokio::time::timeout(BOUND, wait(&self.stores, id, |_| {})).await;
        ended
            .expect("it ends in time")
            .expect("the store answers")
            .expect("it is known")
    }

    pub async fn state(&self, id: EnvelopeId) -> State {
        look_up(&self.stores, id)
            .await
            .expect("the store answers")
            .expect("it is known")
            .state
    }

    pub async fn lease_left(&self, id: EnvelopeId) -> Duration {
        let status = self
            .stores
            .queues
            .find(&[id])
            .await
            .expect("the store answers")
            .remove(0);
        let Some(EnvelopeStatus {
            place: Place::Leased { until, .. },
            ..
        }) = status
        else {
            panic!("it runs, and is not {status:?}");
        };
        until.since(self.clock.now())
    }

    /// Cancels an envelope, and tells the worker.
    pub async fn cancel(&self, id: EnvelopeId, mode: CancelMode) {
        let cancelled = self.stores.queues.cancel(&[id], mode).await;
        cancelled.expect("the store answers");
        self.tell(Command::Cancel { id, mode }).await;
    }

    pub async fn tell(&self, command: Command) {
        let told = self.stores.control.broadcast(&command).await;
        told.expect("the store answers");
    }

    pub async fn stop(self, how: Shutdown) -> Summary {
        self.shutdown.send_replace(how);
        let stopped = tokio::time::timeout(BOUND, self.running).await;
        stopped
            .expect("it stops in time")
            .expect("it does not panic")
    }
}

/// An executor that takes these steps, one after the other.
pub fn script(steps: impl IntoIterator<Item = Step>) -> ScriptedExecutor {
    ScriptedExecutor::new().on("t", steps)
}
