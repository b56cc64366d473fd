//! A worker on a store whose disk is full, or that lets it in no more: it goes on (B9, B13).

use std::sync::Arc;
use std::time::Duration;

use stem_core::client::{Client, Request};
use stem_core::lookup::wait;
use stem_core::payload::Payload;
use stem_core::state::State;
use stem_core::store_error::StoreErrorKind;
use stem_core::stores::Stores;
use stem_testkit::builders::{DEFAULT_QUEUE, fresh_namespace, queue_name, task_name, worker_name};
use stem_testkit::clock::ManualClock;
use stem_testkit::executor::{ScriptedExecutor, Step};
use stem_testkit::faults::FailsFor;
use stem_worker::{Options, Shutdown, Worker};
use tokio::sync::watch;

/// Stores on which the next claims and settlements fail in this way.
fn failing(kind: StoreErrorKind, claims: u32, settlements: u32) -> Stores {
    let clock = ManualClock::shared();
    let store = stem_memory::Store::new(fresh_namespace(), Arc::clone(&clock) as _);
    let mut stores = Stores::on_one(store, clock);
    stores.broker = Arc::new(FailsFor::next(stores.broker, kind, claims, settlements));
    stores
}

fn worker(stores: &Stores) -> Worker {
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let queues = vec![queue_name(DEFAULT_QUEUE)];
    let options = Options::new(worker_name("w1"), "here", queues);
    Worker::new(stores.clone(), Arc::new(executor), options).expect("threads start")
}

/// How one envelope ends there.
async fn outcome(stores: Stores) -> State {
    let client = Client::new(stores.clone(), queue_name(DEFAULT_QUEUE));
    let mut request = Request::new(task_name("t"), Payload::new("application/json", "1"));
    request.is_unchecked = true;
    let id = client.enqueue(request).await.expect("it is stored").id;
    let (_shutdown, told) = watch::channel(Shutdown::No);
    let lookup = async {
        tokio::select! {
            lookup = wait(&stores, id, |_| {}) => lookup.expect("the store answers"),
            stopped = worker(&stores).run(told) => panic!("the worker gave up: {stopped:?}"),
        }
    };
    let lookup = tokio::time::timeout(Duration::from_secs(30), lookup).await;
    let lookup = lookup.expect("it ends in time").expect("it is known");
    lookup.state
}

/// B9, B13: the first wait for work fails, and more settlements than one that is hopeless is tried.
#[tokio::test]
async fn claiming_and_settling_go_on_while_the_store_is_full() {
    let stores = failing(StoreErrorKind::Full, 3, 6);
    assert_eq!(outcome(stores).await, State::Succeeded);
}

/// B13: as after a restart of a server that has forgotten its users, until somebody adds them again.
#[tokio::test]
async fn a_worker_goes_on_that_is_let_in_no_more() {
    let stores = failing(StoreErrorKind::NotPermitted, 3, 6);
    assert_eq!(outcome(stores).await, State::Succeeded);
}
