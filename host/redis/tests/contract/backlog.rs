//! Thousands that come back at once: each run of a script looks at a bounded number of them, and their order holds.

use std::time::Duration;

use stem_core::broker::{Delivery, Publication};
use stem_core::ids::EnvelopeId;
use stem_core::state::EndState;
use stem_testkit::builders::{
    DEFAULT_QUEUE, delayed, publication, publications, queue_name, queued_in,
};
use stem_testkit::process::Process;

use crate::moved::Moved;
use crate::server::Usable as _;

const LEASE: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

/// How often scripts were run, and how often a command was called.
fn calls(moved: &Moved, command: &str) -> [u64; 2] {
    let calls = moved.server.calls();
    ["evalsha", command].map(|name| calls.get(name).copied().unwrap_or_default())
}

/// The same since then.
fn calls_since(moved: &Moved, command: &str, before: [u64; 2]) -> [u64; 2] {
    let [runs, called] = calls(moved, command);
    [runs - before[0], called - before[1]]
}

async fn lease(process: &Process, number: usize) -> Vec<Delivery> {
    process.add_all(&publications(number)).await;
    let queue = vec![queue_name(DEFAULT_QUEUE)];
    process.claim_with(queue, number, LEASE).await
}

/// B3: at what lives on nobody looks again before it may end.
#[tokio::test]
async fn leases_that_were_renewed_are_looked_at_a_part_at_a_time_and_once() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let held = lease(&here, 3_200).await;
    let receipts: Vec<_> = held.iter().map(|delivery| delivery.receipt).collect();
    let renewed = here.stores.broker.renew(&receipts, LEASE * 4).await;
    renewed.expect("the store answers");
    moved.clock.advance(LEASE);
    let before = calls(&moved, "hmget");
    assert!(there.claim(1).await.is_empty());
    // 64 leases a look.
    assert_eq!(calls_since(&moved, "hmget", before), [4, 50]);
    moved.clock.advance(LEASE);
    let before = calls(&moved, "hmget");
    assert!(there.claim(1).await.is_empty());
    assert_eq!(calls_since(&moved, "hmget", before), [1, 0]);
}

/// B3: who was renewed for a short time does not make the others look short.
#[tokio::test]
async fn each_batch_is_looked_at_again_when_its_own_first_lease_ends() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let held = lease(&here, 640).await;
    for (number, delivery) in held.iter().enumerate() {
        let times = if number == 0 { 2 } else { 4 };
        here.renew(delivery, LEASE * times).await;
    }
    moved.clock.advance(LEASE);
    assert!(there.claim(1).await.is_empty());
    moved.clock.advance(LEASE);
    let before = calls(&moved, "hmget");
    assert_eq!(there.claim_ids(9).await, [held[0].receipt.id]);
    assert_eq!(calls_since(&moved, "hmget", before), [1, 1]);
}

/// B3, B11: whoever asks brings back what was lost, a part at a time.
#[tokio::test]
async fn thousands_that_were_lost_are_counted_and_given_at_once() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let held = lease(&here, 2_500).await;
    moved.clock.advance(LEASE);
    let before = calls(&moved, "hmget");
    assert_eq!(there.counts().await, [2_500, 0, 0, 0]);
    let [runs, looks] = calls_since(&moved, "hmget", before);
    assert!(runs > looks / 17, "{looks} looks in {runs} runs");
    let claimed = there.claim(3_000).await;
    let ids =
        |it: &[Delivery]| -> Vec<EnvelopeId> { it.iter().map(|one| one.receipt.id).collect() };
    assert_eq!(ids(&claimed), ids(&held));
    assert!(claimed.iter().all(|delivery| delivery.losses == 1));
}

fn all_delayed(number: usize) -> Vec<Publication> {
    (0..number).map(|_| delayed(SECOND)).collect()
}

/// B2, B6, B7: all of them, in their order, and before what was published later.
#[tokio::test]
async fn thousands_that_fall_due_at_once_are_given_at_once_and_in_order() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let mut due = all_delayed(2_500);
    due[2_400].priority = 9;
    here.add_all(&due).await;
    moved.clock.advance(SECOND);
    let late = here.add(&publication()).await;
    let claimed = there.claim_ids(3_000).await;
    assert_eq!(claimed.len(), 2_501);
    assert_eq!((claimed[0], claimed[2_500]), (due[2_400].id, late));
}

/// Queues that each have so many that fall due.
async fn queues_with_due(process: &Process, number: usize) -> Vec<String> {
    let names: Vec<String> = (0..10).map(|number| format!("queue-{number}")).collect();
    for name in &names {
        let mut due = all_delayed(number);
        due.iter_mut().for_each(|one| one.queue = queue_name(name));
        process.add_all(&due).await;
    }
    names
}

/// B7: one run serves all queues of a publish together.
#[tokio::test]
async fn a_publish_brings_in_what_is_due_a_part_at_a_time() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let names = queues_with_due(&here, 250).await;
    moved.clock.advance(SECOND);
    let before = calls(&moved, "xadd");
    let late: Vec<_> = names.iter().map(|name| queued_in(name)).collect();
    here.add_all(&late).await;
    // In packs of 16.
    assert_eq!(calls_since(&moved, "xadd", before), [3, 10 * 16 + 10]);
    let claimed = there.claim_from(&[queue_name("queue-7")], 251).await;
    assert_eq!(claimed[250].receipt.id, late[7].id);
}

/// B3, B6: what comes back in one queue keeps nobody in another waiting.
#[tokio::test]
async fn a_backlog_of_one_queue_holds_up_no_other() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    here.add_all(&all_delayed(2_500)).await;
    moved.clock.advance(SECOND);
    let other = here.add(&queued_in("other")).await;
    let before = calls(&moved, "xadd");
    let queues = [DEFAULT_QUEUE, "other"].map(queue_name);
    let claimed = there.claim_from(&queues, 1).await;
    assert_eq!(claimed[0].receipt.id, other);
    // A thousand of them, in packs of 16.
    assert_eq!(calls_since(&moved, "xadd", before)[1], 63);
}

/// B7, B10: a replayed one goes behind all that fell due before.
#[tokio::test]
async fn what_is_replayed_overtakes_nothing_that_is_due() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let dead = here.add(&publication()).await;
    here.end_next(EndState::Failed).await;
    here.add_all(&all_delayed(1_500)).await;
    moved.clock.advance(SECOND);
    assert_eq!(there.replay(&[dead]).await, [true]);
    let claimed = there.claim_ids(1_501).await;
    assert_eq!(claimed.last(), Some(&dead));
}
