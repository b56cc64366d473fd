//! What a producer is told of what it enqueues, on the memory store.

use std::sync::Arc;
use std::time::Duration;

use stem_core::broker::Due;
use stem_core::children::{Child, Parent, Refusal};
use stem_core::client::{Client, EnqueueError, LONGEST_DELAY, Request};
use stem_core::envelope::EnvelopeError;
use stem_core::stores::Stores;
use stem_testkit::builders::{
    DEFAULT_QUEUE, envelope, fresh_namespace, json, queue_name, task_name,
};
use stem_testkit::clock::ManualClock;

fn client() -> Client {
    let clock = ManualClock::shared();
    let store = stem_memory::Store::new(fresh_namespace(), Arc::clone(&clock) as _);
    Client::new(Stores::on_one(store, clock), queue_name(DEFAULT_QUEUE))
}

fn request(due: Due) -> Request {
    let mut request = Request::new(task_name("t"), json("1"));
    (request.due, request.is_unchecked) = (due, true);
    request
}

/// B6: what is due by now waits for a worker, and not for its time.
#[tokio::test]
async fn only_what_is_due_later_is_scheduled() {
    let client = client();
    let second = Duration::from_secs(1);
    for (due, is_scheduled) in [
        (Due::Now, false),
        (Due::After(Duration::ZERO), false),
        (Due::After(second), true),
        (Due::At(ManualClock::START - second), false),
        (Due::At(ManualClock::START), false),
        (Due::At(ManualClock::START + second), true),
    ] {
        let enqueued = client.enqueue(request(due)).await.expect("it is stored");
        assert_eq!(enqueued.is_scheduled, is_scheduled, "{due:?}");
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

/// B6: a time that a store could not count with is refused, and nothing runs before its time.
#[tokio::test]
async fn what_would_wait_for_more_than_a_hundred_years_is_refused() {
    let client = client();
    let longest = Due::After(LONGEST_DELAY);
    let taken = client.enqueue(request(longest)).await;
    assert!(taken.expect("it is stored").is_scheduled);
    for due in [
        Due::After(LONGEST_DELAY + MILLISECOND),
        Due::After(Duration::MAX),
        Due::At(ManualClock::START + LONGEST_DELAY + MILLISECOND),
    ] {
        let refused = client.enqueue(request(due)).await;
        let problem = refused.expect_err("it is refused");
        let is_too_late = matches!(problem, EnqueueError::Envelope(EnvelopeError::TooLate));
        assert!(is_too_late, "{problem}");
    }
}

/// B6: a guest is told the same.
#[tokio::test]
async fn a_child_that_would_wait_for_more_than_a_hundred_years_is_refused() {
    let child = |due| Child {
        request: request(due),
        key: None,
    };
    let children = vec![child(Due::Now), child(Due::After(Duration::MAX))];
    let parent = Parent::of(&envelope());
    let answers = client().enqueue_children(&parent, children).await;
    assert!(answers[0].is_ok());
    let refused = answers[1].as_ref().expect_err("it is refused");
    assert_eq!(
        *refused,
        Refusal::Invalid(EnvelopeError::TooLate.to_string())
    );
}
