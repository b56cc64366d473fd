//! What a producer is told of what it enqueues, on the memory store.

use std::sync::Arc;
use std::time::Duration;

use stem_core::broker::Due;
use stem_core::client::{Client, Request};
use stem_core::stores::Stores;
use stem_testkit::builders::{DEFAULT_QUEUE, fresh_namespace, json, queue_name, task_name};
use stem_testkit::clock::ManualClock;

/// B6: what is due by now waits for a worker, and not for its time.
#[tokio::test]
async fn only_what_is_due_later_is_scheduled() {
    let clock = ManualClock::shared();
    let store = stem_memory::Store::new(fresh_namespace(), Arc::clone(&clock) as _);
    let client = Client::new(Stores::on_one(store, clock), queue_name(DEFAULT_QUEUE));
    let second = Duration::from_secs(1);
    for (due, is_scheduled) in [
        (Due::Now, false),
        (Due::After(Duration::ZERO), false),
        (Due::After(second), true),
        (Due::At(ManualClock::START - second), false),
        (Due::At(ManualClock::START), false),
        (Due::At(ManualClock::START + second), true),
    ] {
        let mut request = Request::new(task_name("t"), json("1"));
        (request.due, request.is_unchecked) = (due, true);
        let enqueued = client.enqueue(request).await.expect("it is stored");
        assert_eq!(enqueued.is_scheduled, is_scheduled, "{due:?}");
    }
}
