//! A worker on a store whose disk is full: it goes on, so that the store drains (B9).

use std::sync::Arc;
use std::time::Duration;

use stem_core::client::{Client, Request};
use stem_core::lookup::wait;
use stem_core::payload::Payload;
use stem_core::state::State;
use stem_core::stores::Stores;
use stem_testkit::builders::{DEFAULT_QUEUE, fresh_namespace, queue_name, task_name, worker_name};
use stem_testkit::clock::ManualClock;
use stem_testkit::executor::{ScriptedExecutor, Step};
use stem_testkit::faults::FullFor;
use stem_worker::{Options, Shutdown, Worker};
use tokio::sync::watch;

/// Stores on which the next claims and settlements fail.
fn full_for(claims: u32, settlements: u32) -> Stores {
    let clock = ManualClock::shared();
    let store = stem_memory::Store::new(fresh_namespace(), Arc::clone(&clock) as _);
    let mut stores = Stores::on_one(store, clock);
    stores.broker = Arc::new(FullFor::next(stores.broker, claims, settlements));
    stores
}

fn worker(stores: &Stores) -> Worker {
    let executor = ScriptedExecutor::new().on("t", [Step::echo()]);
    let queues = vec![queue_name(DEFAULT_QUEUE)];
    let options = Options::new(worker_name("w1"), "here", queues);
    Worker::new(stores.clone(), Arc::new(executor), options).expect("threads start")
}

/// B9, B13: the first wait for work fails, and more settlements than one that is hopeless is tried.
#[tokio::test]
async fn claiming_and_settling_go_on_while_the_store_is_full() {
    let stores = full_for(3, 6);
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
    assert_eq!(lookup.state, State::Succeeded);
}
