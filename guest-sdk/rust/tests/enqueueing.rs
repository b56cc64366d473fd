//! Tasks that enqueue, tested natively: what they ask for, what they are told, and what becomes of an attempt that is
//! refused.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use stem_guest::testing::Enqueued;
use stem_guest::{Child, Context, EnqueueError, Interruption, Payload};

fn enqueued(child: Child) -> Enqueued {
    let ctx = Context::for_test();
    let id = ctx.enqueue(child).expect("recorded");
    let enqueued = ctx.recorded().enqueued.remove(0);
    assert_eq!(enqueued.id, id);
    enqueued
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    given.iter().map(owned).collect()
}

#[test]
fn a_child_says_what_is_run() {
    let child = Child::new("mail.send", json!({"to": "ada"}));
    let enqueued = enqueued(child.with_key("ada").with_header("lang", "en"));
    assert_eq!(enqueued.task, "mail.send");
    assert_eq!(enqueued.payload, json!({"to": "ada"}).into());
    assert_eq!(enqueued.key.as_deref(), Some("ada"));
    assert_eq!(enqueued.headers, pairs(&[("lang", "en")]));
    assert_eq!(enqueued.options, []);
}

#[test]
fn a_child_says_how_it_is_run() {
    let child = Child::new("mail.send", ())
        .with_queue("mail")
        .with_delay(Duration::from_millis(1_500))
        .with_priority(9)
        .with_max_attempts(3);
    let said = [("queue", "mail"), ("delay", "1500ms"), ("priority", "9")];
    let said = [&said[..], &[("max-attempts", "3")]].concat();
    assert_eq!(enqueued(child).options, pairs(&said));
}

#[test]
fn any_serde_type_goes_as_json_and_a_payload_as_it_is() {
    assert_eq!(enqueued(Child::new("t", "text")).payload.body, b"\"text\"");
    assert_eq!(enqueued(Child::new("t", [1, 2])).payload.body, b"[1,2]");
    let picture = Payload::new("image/png", [1, 2]);
    assert_eq!(enqueued(Child::new("t", picture.clone())).payload, picture);
    let timed = enqueued(Child::new("t", ()).with_time("2026-11-20T08:00:00Z"));
    assert_eq!(timed.options[0].0, "at");
}

/// B15
#[test]
fn children_with_one_key_are_one() {
    let ctx = Context::for_test();
    let child = |key| Child::new("t", 1).with_key(key);
    let ids = ctx.enqueue_all([child("a"), child("b"), child("a")]);
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
    let unkeyed = ctx.enqueue_all([Child::new("t", 1), Child::new("t", 1)]);
    assert_ne!(unkeyed[0], unkeyed[1]);
    assert_eq!(ctx.recorded().enqueued.len(), 4);
}

#[test]
fn a_child_that_cannot_be_encoded_is_refused_in_its_place() {
    let odd = BTreeMap::from([(vec![1], 1)]);
    let ctx = Context::for_test();
    let answers = ctx.enqueue_all([Child::new("t", 1), Child::new("t", odd), Child::new("t", 2)]);
    assert!(matches!(&answers[1], Err(EnqueueError::Invalid(why)) if why.contains("encoded")));
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(ctx.recorded().enqueued.len(), 2);
}

/// How an attempt ends that meets this.
fn ended(error: EnqueueError) -> String {
    let ctx = Context::for_test().with_enqueue_error(error);
    let enqueue = || -> Result<String, Interruption> { Ok(ctx.enqueue(Child::new("t", 1))?) };
    let ended = enqueue().expect_err("refused").to_string();
    assert_eq!(ctx.recorded().enqueued, []);
    ended
}

#[test]
fn what_another_try_cannot_help_is_rejected() {
    let task = "mail.send".to_owned();
    let message = "the deployment does not grant enqueueing `mail.send`";
    let rejected = |kind: &str, message: &str| format!("rejected: enqueue-{kind}: {message}");
    let not_granted = ended(EnqueueError::NotGranted { task });
    assert_eq!(not_granted, rejected("not-granted", message));
    let invalid = ended(EnqueueError::Invalid("odd".to_owned()));
    let message = "the child cannot be enqueued: odd";
    assert_eq!(invalid, rejected("invalid", message));
    let limited = ended(EnqueueError::Limited("much".to_owned()));
    let message = "the child was not enqueued: much";
    assert_eq!(limited, rejected("limited", message));
}

#[test]
fn what_may_pass_is_tried_again() {
    let unavailable = ended(EnqueueError::Unavailable("full".to_owned()));
    let message = "failed: enqueue-unavailable: the child could not be enqueued: full";
    assert_eq!(unavailable, message);
    let other = ended(EnqueueError::Other("odd".to_owned()));
    let message = "failed: enqueue-failed: enqueueing the child failed: odd";
    assert_eq!(other, message);
}
