//! A whole worker on the memory store with a scripted executor: slots, shutdown, cancelling, draining.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::client::{Client, Request};
use stem_core::clock::Clock;
use stem_core::control::Command;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{Lookup, look_up, wait};
use stem_core::names::{Namespace, QueueName, TaskName, WorkerName};
use stem_core::outcome::{Failure, FailureKind, Outcome};
use stem_core::payload::Payload;
use stem_core::policy::TaskPolicy;
use stem_core::queues::{CancelMode, EnvelopeStatus, Place};
use stem_core::state::State;
use stem_core::store_error::StoreError;
use stem_core::stores::Stores;
use stem_testkit::clock::ManualClock;
use stem_testkit::executor::{Gate, ScriptedExecutor, Step};
use stem_worker::{Options, Shutdown, Summary, Worker};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A worker, what it works on, and what stops it.
struct Bench {
    stores: Stores,
    executor: Arc<ScriptedExecutor>,
    clock: Arc<ManualClock>,
    shutdown: watch::Sender<Shutdown>,
    running: JoinHandle<Summary>,
}

const BOUND: Duration = Duration::from_secs(20);

impl Bench {
    async fn start(executor: ScriptedExecutor, adjust: impl FnOnce(&mut Options)) -> Self {
        Self::start_behind(None, executor, adjust).await
    }

    /// The same with a broker whose answers to claims wait for a gate.
    async fn start_behind(
        gate: Option<Gate>,
        executor: ScriptedExecutor,
        adjust: impl FnOnce(&mut Options),
    ) -> Self {
        let clock = ManualClock::shared();
        let store = stem_memory::Store::new(Namespace::new("test").expect("a name"), clock.clone());
        let mut stores = Stores::on_one(store, clock.clone());
        if let Some(gate) = gate {
            stores.broker = Arc::new(SlowClaims {
                broker: stores.broker,
                gate,
            });
        }
        let executor = Arc::new(executor);
        let name = WorkerName::new("w1").expect("a name");
        let mut options = Options::new(name, "here", vec![QueueName::new("q").expect("a name")]);
        options.slots = 4;
        adjust(&mut options);
        let (shutdown, told) = watch::channel(Shutdown::No);
        let worker = Worker::new(stores.clone(), executor.clone(), options).expect("threads start");
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

    async fn enqueue(&self, count: usize) -> Vec<EnvelopeId> {
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

    async fn end(&self, id: EnvelopeId) -> Lookup {
        let ended = tokio::time::timeout(BOUND, wait(&self.stores, id, |_| {})).await;
        ended
            .expect("it ends in time")
            .expect("the store answers")
            .expect("it is known")
    }

    async fn state(&self, id: EnvelopeId) -> State {
        look_up(&self.stores, id)
            .await
            .expect("the store answers")
            .expect("it is known")
            .state
    }

    async fn lease_left(&self, id: EnvelopeId) -> Duration {
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

    async fn stop(self, how: Shutdown) -> Summary {
        self.shutdown.send_replace(how);
        let stopped = tokio::time::timeout(BOUND, self.running).await;
        stopped
            .expect("it stops in time")
            .expect("it does not panic")
    }
}

/// A broker whose claims are done before they are answered.
struct SlowClaims {
    broker: Arc<dyn Broker>,
    gate: Gate,
}

#[async_trait]
impl Broker for SlowClaims {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        self.broker.publish(publications).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let claimed = self.broker.claim(claim).await?;
        if !claimed.is_empty() {
            self.gate.passed().await;
        }
        Ok(claimed)
    }

    async fn renew(&self, held: &[Receipt], lease: Duration) -> Result<Vec<Renewal>, StoreError> {
        self.broker.renew(held, lease).await
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        self.broker.settle(settlings).await
    }

    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.broker.work(queues).await
    }

    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }
}

fn script(steps: impl IntoIterator<Item = Step>) -> ScriptedExecutor {
    ScriptedExecutor::new().on("t", steps)
}

/// B1, R3
#[tokio::test]
async fn envelopes_are_run_and_their_results_come_back() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    for id in bench.enqueue(20).await {
        assert_eq!(bench.end(id).await.state, State::Succeeded);
    }
    let summary = bench.stop(Shutdown::Graceful).await;
    assert_eq!(
        summary,
        Summary {
            succeeded: 20,
            failed: 0
        }
    );
}

/// B2: a worker holds no more than its slots.
#[tokio::test]
async fn a_worker_claims_no_more_than_its_free_slots() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |options| {
        options.slots = 2
    })
    .await;
    let ids = bench.enqueue(5).await;
    bench.executor.started(2).await;
    let queues = bench
        .stores
        .queues
        .queues()
        .await
        .expect("the store answers");
    assert_eq!((queues[0].running, queues[0].queued), (2, 3));
    gate.open();
    for id in ids {
        bench.end(id).await;
    }
}

/// W5: asked to stop, a guest winds up; its envelope goes back uncharged.
#[tokio::test]
async fn a_graceful_shutdown_releases_what_stops_and_charges_nothing() {
    let bench = Bench::start(script([Step::until_asked()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.stop(Shutdown::Graceful).await;
    let status = stores
        .queues
        .find(&[id])
        .await
        .expect("the store answers")
        .remove(0);
    let status = status.expect("it lives");
    assert_eq!((status.state(), status.attempts), (State::Queued, 0));
}

/// W5: a second signal ends at once what does not listen.
#[tokio::test]
async fn a_second_signal_ends_what_does_not_listen() {
    let bench = Bench::start(script([Step::until_ended()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.shutdown.send_replace(Shutdown::Graceful);
    bench.stop(Shutdown::Now).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Queued);
}

/// W5: what is nearly done is not interrupted.
#[tokio::test]
async fn a_graceful_shutdown_waits_for_what_finishes_by_itself() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.shutdown.send_replace(Shutdown::Graceful);
    gate.open();
    bench.stop(Shutdown::Graceful).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Succeeded);
}

/// W5, B5: what a claim has leased when the signal comes is released in order.
#[tokio::test]
async fn a_shutdown_during_a_claim_gives_back_what_was_claimed() {
    let gate = Gate::closed();
    let script = script([Step::until_asked()]);
    let bench = Bench::start_behind(Some(gate.clone()), script, |_| {}).await;
    let id = bench.enqueue(1).await[0];
    let stores = bench.stores.clone();
    while bench.state(id).await != State::Running {
        tokio::task::yield_now().await;
    }
    bench.shutdown.send_replace(Shutdown::Graceful);
    tokio::task::yield_now().await;
    gate.open();
    bench.stop(Shutdown::Graceful).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Queued);
}

/// W7
#[tokio::test]
async fn a_cancelled_envelope_that_runs_is_stopped_by_command() {
    let bench = Bench::start(script([Step::until_asked()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let mode = CancelMode::Ask;
    bench
        .stores
        .queues
        .cancel(&[id], mode)
        .await
        .expect("the store answers");
    let command = Command::Cancel { id, mode };
    bench
        .stores
        .control
        .broadcast(&command)
        .await
        .expect("the store answers");
    assert_eq!(bench.end(id).await.state, State::Cancelled);
}

/// W7, B3: where the command is missed, the next renewal tells it.
#[tokio::test]
async fn a_cancelled_envelope_that_runs_is_stopped_by_its_renewal() {
    let bench = Bench::start(script([Step::until_ended()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    bench
        .stores
        .queues
        .cancel(&[id], CancelMode::Now)
        .await
        .expect("the store answers");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.end(id).await.state, State::Cancelled);
}

/// B3: leases are renewed from outside, however long the task runs.
#[tokio::test]
async fn a_task_that_outlasts_its_lease_keeps_it() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    for _ in 0..20 {
        bench.clock.advance(Duration::from_millis(2_500));
        // Renewed every 5 s, a lease of 15 s has never less than half of it left.
        while bench.lease_left(id).await < Duration::from_millis(7_500) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.state(id).await, State::Running);
    gate.open();
    assert_eq!(
        bench.end(id).await.record.expect("a record").attempts[0].delivery,
        1
    );
}

/// W4, B6
#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_when_its_delay_is_over() {
    let kind = FailureKind::Returned {
        code: "busy".to_owned(),
        details: Vec::new(),
    };
    let fail = Step::end(Outcome::Failed(Failure::retryable(kind, "busy")));
    let bench = Bench::start(script([fail, Step::echo()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    while bench.state(id).await != State::Retrying {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(TaskPolicy::default().retry.cap);
    let attempts = bench.end(id).await.record.expect("a record").attempts;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| attempt.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

/// W6
#[tokio::test]
async fn a_worker_is_listed_while_it_runs_and_gone_when_it_has_left() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    bench.end(bench.enqueue(1).await[0]).await;
    bench.clock.asleep(2).await;
    let workers = bench
        .stores
        .control
        .workers()
        .await
        .expect("the store answers");
    assert_eq!(workers[0].heartbeat.worker.as_str(), "w1");
    assert!(!workers[0].is_dead);
    let stores = bench.stores.clone();
    bench.stop(Shutdown::Graceful).await;
    assert_eq!(
        stores.control.workers().await.expect("the store answers"),
        []
    );
}

#[tokio::test]
async fn a_draining_worker_stops_when_nothing_is_left() {
    let bench = Bench::start(script([Step::echo()]), |options| options.is_draining = true).await;
    let stopped = tokio::time::timeout(BOUND, bench.running).await;
    assert_eq!(
        stopped.expect("in time").expect("no panic"),
        Summary {
            succeeded: 0,
            failed: 0
        }
    );
}

/// M3: a worker that is told of new deployments looks at once.
#[tokio::test]
async fn a_command_makes_the_executor_look_for_deployments() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    bench.end(bench.enqueue(1).await[0]).await;
    bench.clock.asleep(2).await;
    let command = Command::DeploymentsChanged;
    bench
        .stores
        .control
        .broadcast(&command)
        .await
        .expect("the store answers");
    let looked = async {
        while bench.executor.refreshes() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, looked)
        .await
        .expect("it looks in time");
}
