//! What leases promise: never more than was asked for, never two at once, and back when they end.

use std::collections::HashSet;

use futures::join;
use stem_core::broker::{DEFAULT_LEASE, MAX_DELIVERIES, Renewal, Settled};
use stem_core::outcome::Settlement;
use stem_core::queues::Place;
use stem_core::state::EndState;

use crate::builders::{publication, publications, queue_name, queued_in, urgent};
use crate::fixture::Fixture;
use crate::process::{LONG, Process};

/// B2
pub async fn a_claim_gives_no_more_than_it_asks_for(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add_all(&publications(5)).await;
    assert_eq!(here.claim(0).await.len(), 0);
    assert_eq!(here.claim(3).await.len(), 3);
    assert_eq!(here.claim(3).await.len(), 2);
    assert_eq!(here.claim(3).await.len(), 0);
}

/// B2: not for each lane.
pub async fn a_claim_from_many_lanes_gives_no_more_than_it_asks_for(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for priority in 0..=9 {
        here.add_all(&[urgent(priority), urgent(priority)]).await;
    }
    assert_eq!(here.claim(3).await.len(), 3);
    assert_eq!(here.counts().await, [17, 0, 3, 0]);
}

/// B2: over several queues too.
pub async fn a_claim_takes_from_its_queues_in_their_order(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [a, b, c] = ["a", "b", "c"].map(queued_in);
    let [from_a, from_b] = ["a", "b"].map(queue_name);
    here.add_all(&[a.clone(), b.clone(), c, queued_in("b")])
        .await;
    let deliveries = here.claim_from(&[from_b, from_a], 3).await;
    let queues: Vec<&str> = deliveries
        .iter()
        .map(|delivery| delivery.queue.as_str())
        .collect();
    assert_eq!(queues, ["b", "b", "a"]);
    assert_eq!(deliveries[0].receipt.id, b.id);
    assert_eq!(deliveries[2].receipt.id, a.id);
}

/// E2
pub async fn a_delivery_carries_what_was_published(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let publication = urgent(7);
    here.add(&publication).await;
    let delivery = here.claim_one().await;
    assert_eq!(delivery.receipt.id, publication.id);
    assert_eq!(delivery.task, publication.task);
    assert_eq!(delivery.queue, publication.queue);
    assert_eq!(delivery.bytes, publication.bytes);
}

/// E2, B5, B16
pub async fn a_first_delivery_has_nothing_counted_yet(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    let before = here.stores.clock.now();
    let delivery = here.claim_one().await;
    let after = here.stores.clock.now();
    assert!((before..=after).contains(&delivery.claimed_at));
    assert_eq!((delivery.receipt.delivery, delivery.generation), (1, 1));
    assert_eq!((delivery.attempts, delivery.losses), (0, 0));
    assert_eq!((delivery.snoozes, delivery.faults), (0, 0));
    assert!(!delivery.is_cancelled);
}

/// B3
pub async fn no_envelope_is_with_two_workers_at_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add_all(&publications(200)).await;
    let drain = async |process: &Process| {
        let mut ids = Vec::new();
        loop {
            let claimed = process.claim_ids(7).await;
            if claimed.is_empty() {
                return ids;
            }
            ids.extend(claimed);
        }
    };
    let (ours, theirs) = join!(drain(&here), drain(&there));
    let distinct: HashSet<_> = ours.iter().chain(&theirs).collect();
    assert_eq!((ours.len() + theirs.len(), distinct.len()), (200, 200));
}

/// B3
pub async fn a_leased_envelope_is_with_the_worker_that_claimed_it(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let claimed_at = here.claim_one().await.claimed_at;
    assert!(there.claim(1).await.is_empty());
    let leased = Place::Leased {
        worker: here.worker.clone(),
        until: claimed_at + LONG,
    };
    assert_eq!(there.place(id).await, Some(leased));
}

/// B3
pub async fn an_unsettled_delivery_returns_after_its_lease(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = publication();
    here.add(&publication).await;
    here.lose_one(fixture).await;
    let delivery = there.claim_one().await;
    assert_eq!(delivery.receipt.id, publication.id);
    assert_eq!(delivery.bytes, publication.bytes);
    assert!(here.claim(1).await.is_empty());
}

/// B3
pub async fn a_renewed_lease_lasts_on(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let delivery = here.claim_for(fixture.lease()).await;
    assert_eq!(here.renew(&delivery, LONG).await, Renewal::Held);
    fixture.pass(fixture.lease()).await;
    assert!(there.claim(1).await.is_empty());
    assert_eq!(here.renew(&delivery, LONG).await, Renewal::Held);
}

/// B3: a renewal counts from now on, so that it can shorten a lease too.
pub async fn a_renewed_lease_ends_when_it_was_renewed_to(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    here.renew(&delivery, fixture.lease()).await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(there.claim_ids(1).await, [id]);
}

/// B3
pub async fn renewing_makes_no_second_copy(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    let delivery = here.claim_for(fixture.lease()).await;
    for _ in 0..3 {
        assert_eq!(here.renew(&delivery, LONG).await, Renewal::Held);
    }
    assert_eq!(here.counts().await, [0, 0, 1, 0]);
    here.settle(&delivery, Settlement::Ack).await;
    fixture.pass(fixture.lease()).await;
    assert!(here.claim(1).await.is_empty());
    assert_eq!(here.queues().await, []);
}

/// B3: neither another worker gets it nor its own.
pub async fn what_is_renewed_is_with_nobody_else_however_long_it_runs(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let delivery = here.claim_for(DEFAULT_LEASE).await;
    for _ in 0..100 {
        fixture.pass(DEFAULT_LEASE / 3 * 2).await;
        assert_eq!(here.renew(&delivery, DEFAULT_LEASE).await, Renewal::Held);
        assert!(here.claim(1).await.is_empty());
        assert!(there.claim(1).await.is_empty());
    }
    assert_eq!(here.counts().await, [0, 0, 1, 0]);
    let settled = here.end(&delivery, EndState::Succeeded).await;
    assert_eq!(settled, Settled::Done);
    fixture.pass(DEFAULT_LEASE).await;
    assert!(there.claim(1).await.is_empty());
}

/// B3: what comes back is what was leased for a short time, whatever else its worker has.
pub async fn each_delivery_has_its_own_lease(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = here.add_all(&publications(3)).await;
    let long = here.claim_one().await;
    here.claim_for(fixture.lease()).await;
    here.claim_one().await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(there.claim_ids(3).await, [ids[1]]);
    assert_eq!(here.renew(&long, LONG).await, Renewal::Held);
}

/// B3, B4
pub async fn a_lost_lease_cannot_be_renewed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = here.lose_one(fixture).await;
    let held = there.claim_one().await;
    let place = there.place(id).await;
    assert_eq!(here.renew(&lost, LONG * 2).await, Renewal::Lost);
    assert_eq!(there.place(id).await, place);
    there.settle(&held, Settlement::Ack).await;
    assert_eq!(there.renew(&held, LONG).await, Renewal::Lost);
    assert_eq!(there.counts().await, [0; 4]);
}

/// B3: each receipt has its own answer.
pub async fn many_leases_are_renewed_at_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add_all(&publications(3)).await;
    let deliveries = here.claim(3).await;
    here.settle(&deliveries[1], Settlement::Ack).await;
    let receipts: Vec<_> = deliveries.iter().map(|delivery| delivery.receipt).collect();
    let renewals = here.stores.broker.renew(&receipts, LONG).await;
    let expected = [Renewal::Held, Renewal::Lost, Renewal::Held];
    assert_eq!(renewals.expect("the store answers"), expected);
}

/// B4, B5
pub async fn no_two_deliveries_have_the_same_number(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    here.lose_one(fixture).await;
    let dead = Settlement::DeadLetter(stem_core::outcome::DeadReason::Rejected);
    let retry = Settlement::Retry(std::time::Duration::ZERO);
    for (number, settlement) in [(2, Settlement::Release), (3, retry), (4, dead)] {
        let delivery = here.claim_one().await;
        assert_eq!(delivery.receipt.delivery, number);
        here.settle(&delivery, settlement).await;
    }
    here.replay(&[id]).await;
    assert_eq!(here.claim_one().await.receipt.delivery, 5);
}

/// B5: and nothing is charged for it.
pub async fn a_lost_worker_is_counted(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    for losses in 0..3 {
        let delivery = here.lose_one(fixture).await;
        assert_eq!((delivery.losses, delivery.attempts), (losses, 0));
    }
}

/// B5
pub async fn an_outcome_or_a_release_starts_the_count_of_losses_again(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let now = std::time::Duration::ZERO;
    for settlement in [
        Settlement::Retry(now),
        Settlement::Snooze(now),
        Settlement::Release,
        Settlement::ReleaseAfterFault(now),
    ] {
        here.add(&publication()).await;
        here.lose_one(fixture).await;
        here.settle_next(settlement).await;
        let delivery = here.claim_one().await;
        assert_eq!(delivery.losses, 0, "{settlement:?}");
        here.settle(&delivery, Settlement::Ack).await;
    }
}

/// B5: what is poison is the worker's to say; so it is told how often.
pub async fn an_envelope_that_was_lost_too_often_is_still_handed_out(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    for _ in 0..MAX_DELIVERIES {
        here.lose_one(fixture).await;
    }
    let delivery = here.claim_one().await;
    assert_eq!((delivery.receipt.id, delivery.losses), (id, MAX_DELIVERIES));
}
