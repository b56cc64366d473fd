//! How a worker that waits learns of work: soon, in any process, and without asking all the time.

use std::time::Duration;

use async_trait::async_trait;
use futures::join;
use stem_core::broker::Wakeups;
use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_core::store_error::StoreError;

use crate::builders::{delayed, publication};
use crate::fixture::Fixture;
use crate::process::{Process, ROUNDS, within};

/// How long a lost lease may take to be found: promised are 2 s.
const RESCUED: Duration = Duration::from_secs(40);

/// Counts how often it wakes.
struct Counted(Box<dyn Wakeups>, u32);

#[async_trait]
impl Wakeups for Counted {
    async fn next(&mut self) -> Result<(), StoreError> {
        self.1 += 1;
        // A wait that never waits must not keep the test from ending.
        tokio::task::yield_now().await;
        self.0.next().await
    }
}

/// B1, B6
pub async fn every_publish_wakes_a_waiting_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut wakeups = there.work().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let publication = publication();
            let waiting = there.next_delivery(&mut *wakeups);
            let (delivery, id) = join!(waiting, here.add(&publication));
            assert_eq!(delivery.receipt.id, id);
            there.settle(&delivery, Settlement::Ack).await;
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B6
pub async fn a_delayed_envelope_wakes_a_waiting_worker_when_it_falls_due(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut wakeups = there.work().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let due = here.stores.clock.now() + fixture.lease();
            here.add(&delayed(fixture.lease())).await;
            let waiting = there.next_delivery(&mut *wakeups);
            let (delivery, ()) = join!(waiting, fixture.pass_for_who_waits(fixture.lease()));
            assert!(delivery.claimed_at >= due);
            there.settle(&delivery, Settlement::Ack).await;
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B6
pub async fn a_retried_envelope_wakes_a_waiting_worker_when_it_falls_due(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let mut delivery = here.claim_one().await;
    let mut wakeups = there.work().await;
    let rounds = async {
        for attempts in 1..=ROUNDS.0 {
            here.settle(&delivery, Settlement::Retry(fixture.lease()))
                .await;
            let waiting = there.next_delivery(&mut *wakeups);
            (delivery, _) = join!(waiting, fixture.pass_for_who_waits(fixture.lease()));
            assert_eq!(delivery.attempts, attempts);
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B3
pub async fn a_lease_that_ends_is_found_by_a_waiting_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    here.claim_for(fixture.lease()).await;
    let mut wakeups = there.work().await;
    let waiting = within(RESCUED, there.next_delivery(&mut *wakeups));
    let (delivery, ()) = join!(waiting, fixture.pass_for_who_waits(fixture.lease()));
    assert_eq!((delivery.receipt.id, delivery.losses), (id, 1));
}

/// B6
pub async fn every_release_wakes_a_waiting_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let mut delivery = here.claim_one().await;
    let mut wakeups = there.work().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let waiting = there.next_delivery(&mut *wakeups);
            let releasing = here.settle(&delivery, Settlement::Release);
            (delivery, _) = join!(waiting, releasing);
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B11
pub async fn every_resumed_queue_wakes_a_waiting_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut wakeups = there.work().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            here.set_paused(true).await;
            let id = here.add(&publication()).await;
            let waiting = there.next_delivery(&mut *wakeups);
            let (delivery, ()) = join!(waiting, here.set_paused(false));
            assert_eq!(delivery.receipt.id, id);
            there.settle(&delivery, Settlement::Ack).await;
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B10
pub async fn every_replay_wakes_a_waiting_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = [here.bury(&publication()).await];
    let mut wakeups = there.work().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let waiting = there.next_delivery(&mut *wakeups);
            let (delivery, replayed) = join!(waiting, here.replay(&ids));
            assert_eq!(replayed, [true]);
            there.end(&delivery, EndState::Failed).await;
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B3, B6: not even while there is work that nobody may take.
pub async fn an_idle_wait_is_no_busy_loop(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    here.claim_for(fixture.lease()).await;
    here.add(&delayed(fixture.lease())).await;
    here.set_paused(true).await;
    let mut wakeups = Counted(here.work().await, 0);
    fixture.pass(fixture.lease()).await;
    let waiting = here.next_delivery(&mut wakeups);
    let waited = tokio::time::timeout(Duration::from_millis(1_500), waiting).await;
    assert!(waited.is_err(), "the queue is paused");
    assert!(wakeups.1 <= 10, "woken {} times", wakeups.1);
}

/// B3, B6: a worker that has no slot free takes nothing, and is not told of it again and again.
pub async fn what_nobody_claims_wakes_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    here.claim_for(fixture.lease()).await;
    let mut wakeups = Counted(here.work().await, 0);
    here.add_all(&[publication(), delayed(fixture.lease())])
        .await;
    fixture.pass(fixture.lease()).await;
    let waiting = async { while wakeups.next().await.is_ok() {} };
    let waited = tokio::time::timeout(Duration::from_millis(1_500), waiting).await;
    assert!(waited.is_err(), "the store answers");
    assert!(wakeups.1 <= 10, "woken {} times", wakeups.1);
}
