//! Claims whose answers never arrive: what they leased goes back without a lost worker, and an answer has a size.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::join_all;
use stem_core::broker::{Delivery, Publication, Settled};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_testkit::builders::{DEFAULT_QUEUE, delayed, publication, publications, queue_name};
use stem_testkit::process::{Process, within};
use stem_testkit::proxy::Way;

use crate::moved::Moved;
use crate::server::{BACK, Line, Server, Usable as _, process};

fn ids(deliveries: &[Delivery]) -> Vec<EnvelopeId> {
    deliveries.iter().map(|one| one.receipt.id).collect()
}

/// Losses, attempts, and which delivery it is.
fn counts(delivery: &Delivery) -> (u32, u32, u32) {
    let number = delivery.receipt.delivery;
    (delivery.losses, delivery.attempts, number)
}

/// Claims over a connection that breaks while the answer comes.
async fn claim_in_vain(line: &Line, far: &Process, limit: usize) {
    // So that there is a connection.
    far.workers().await;
    line.proxy.cut_after(Way::ToClient, 100);
    let claimed = far.try_claim(limit).await;
    claimed.expect_err("the connection was cut");
}

/// B5: nobody was lost, however often it happens, and nothing waits for a lease to end.
#[tokio::test]
async fn what_an_answer_gave_that_never_arrived_is_given_again() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let published = near.add_all(&publications(3)).await;
    for _ in 0..6 {
        claim_in_vain(&line, &far, 3).await;
        assert_eq!(near.counts().await, [0, 0, 3, 0]);
    }
    let claimed = far.claim(3).await;
    assert_eq!(ids(&claimed), published);
    for delivery in claimed {
        assert_eq!(counts(&delivery), (0, 0, 7));
        assert_eq!(far.end(&delivery, EndState::Succeeded).await, Settled::Done);
    }
}

/// B5: and does not forgive what was lost before.
#[tokio::test]
async fn an_answer_that_never_arrived_leaves_the_count_of_losses_as_it_is() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    near.add(&publication()).await;
    near.claim_for(Duration::from_millis(1)).await;
    let mut wakeups = far.work().await;
    wakeups.next().await.expect("the store answers");
    claim_in_vain(&line, &far, 1).await;
    let delivery = within(BACK, far.next_delivery(&mut *wakeups)).await;
    assert_eq!(counts(&delivery), (1, 0, 3));
}

/// B5, W5: a worker that stops asks for nothing more.
#[tokio::test]
async fn who_leaves_gives_back_what_it_was_never_told_of() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let published = near.add_all(&publications(3)).await;
    claim_in_vain(&line, &far, 3).await;
    far.leave("far").await;
    let claimed = near.claim(3).await;
    assert_eq!(ids(&claimed), published);
    assert!(claimed.iter().all(|delivery| delivery.losses == 0));
}

/// B5: who was started anew under the same name has other lines.
#[tokio::test]
async fn what_a_worker_had_before_it_was_killed_stays_leased_and_counts_as_lost() {
    let moved = Moved::start();
    let [before, after] = moved.processes(["worker", "worker"]).await;
    before.add_all(&publications(2)).await;
    let queue = vec![queue_name(DEFAULT_QUEUE)];
    let held = before.claim_with(queue, 2, Duration::from_secs(15)).await;
    assert!(after.claim(2).await.is_empty());
    assert_eq!(after.settle(&held[0], Settlement::Ack).await, Settled::Done);
    moved.clock.advance(Duration::from_secs(15));
    let claimed = after.claim(2).await;
    assert_eq!((claimed.len(), claimed[0].losses), (1, 1));
}

/// B3: none of them takes back what another one gave.
#[tokio::test]
async fn claims_under_way_on_one_connection_keep_what_they_gave() {
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    let published = here.add_all(&publications(400)).await;
    let mut claimed = Vec::new();
    for _ in 0..10 {
        let claims = join_all((0..8).map(|_| here.claim(5))).await;
        claimed.extend(claims.into_iter().flatten());
    }
    let distinct: HashSet<_> = ids(&claimed).into_iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (400, published.len()));
    for delivery in &claimed {
        assert_eq!(here.settle(delivery, Settlement::Ack).await, Settled::Done);
    }
}

/// How many scripts the server has run.
fn runs(server: &Server) -> u64 {
    server.calls()["evalsha"]
}

async fn until_run(server: &Server, number: u64) {
    while runs(server) < number {
        tokio::task::yield_now().await;
    }
}

/// B3, B5: it was given up when the next one was sent, and leases nothing to nobody.
#[tokio::test]
async fn a_claim_that_arrives_after_a_newer_one_takes_nothing() {
    let mut line = Line::start().await;
    line.far.timeout = Duration::from_millis(500);
    let (far, near) = line.processes().await;
    line.proxy.set_latency(Duration::from_secs(3));
    let late = far.try_claim(3).await;
    late.expect_err("it is under way for longer");
    let before = runs(&line.server);
    line.proxy.set_latency(Duration::ZERO);
    assert!(far.claim(3).await.is_empty());
    near.add_all(&publications(3)).await;
    within(BACK, until_run(&line.server, before + 3)).await;
    assert_eq!(near.counts().await, [3, 0, 0, 0]);
}

/// Envelopes of a mebibyte each.
fn large(number: usize) -> Vec<Publication> {
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let large = |publication| Publication {
        bytes: bytes.clone(),
        ..publication
    };
    publications(number).into_iter().map(large).collect()
}

/// B2: while an answer is put together nobody else is served.
#[tokio::test]
async fn a_claim_gives_about_four_mebibytes_and_who_asked_is_woken_for_the_rest() {
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    let published = here.add_all(&large(10)).await;
    let mut wakeups = here.work().await;
    let mut claimed = ids(&here.claim(64).await);
    for expected in [8, 10] {
        let woken = wakeups.next().now_or_never();
        woken.expect("it is woken").expect("the store answers");
        claimed.extend(ids(&here.claim(64).await));
        assert_eq!(claimed.len(), expected);
    }
    assert_eq!(claimed, published);
}

/// B7: what has no room stays where it was, in each of its lanes.
#[tokio::test]
async fn what_has_no_room_in_an_answer_keeps_its_place() {
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    let mut batch = large(8);
    for (priority, publication) in [9, 0, 9, 0, 9, 0, 9, 0].into_iter().zip(&mut batch) {
        publication.priority = priority;
    }
    let published = here.add_all(&batch).await;
    here.add(&delayed(Duration::from_secs(3_600))).await;
    let high = ids(&here.claim(64).await);
    assert_eq!(high, [0, 2, 4, 6].map(|at| published[at]));
    let low = ids(&here.claim(64).await);
    assert_eq!(low, [1, 3, 5, 7].map(|at| published[at]));
}
