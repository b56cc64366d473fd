//! What settling promises: with a lease whole, without one not at all, and an envelope is in one place at a time.

use std::time::Duration;

use futures::join;
use stem_core::broker::{Delivery, Settled, Settling};
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::Place;
use stem_core::state::EndState;

use crate::builders::{ended, fence, publication, publications, settling};
use crate::fixture::Fixture;
use crate::process::{LONG, Process, SOON, within};

const NOW: Duration = Duration::ZERO;

/// One settlement of each kind.
const EVERY: [Settlement; 6] = [
    Settlement::Ack,
    Settlement::Retry(NOW),
    Settlement::Snooze(NOW),
    Settlement::DeadLetter(DeadReason::Rejected),
    Settlement::Release,
    Settlement::ReleaseAfterFault(NOW),
];

/// Settlements that hold an envelope back, and whether it shows as a retry.
const LATER: [(Settlement, bool); 3] = [
    (Settlement::Retry(LONG), true),
    (Settlement::Snooze(LONG), false),
    (Settlement::ReleaseAfterFault(LONG), false),
];

fn reporting(delivery: &Delivery, settlement: Settlement) -> Settling {
    Settling {
        report: Some(ended(&fence(delivery), EndState::Succeeded)),
        ..settling(delivery, settlement)
    }
}

/// B4, R1
pub async fn settling_with_a_lost_lease_changes_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for settlement in EVERY {
        let id = here.add(&publication()).await;
        let lost = here.lose_one(fixture).await;
        let held = there.claim_one().await;
        let status = there.find(id).await;
        let settled = here.settle_all(&[reporting(&lost, settlement)]).await;
        assert_eq!(settled, [Settled::Lost], "{settlement:?}");
        assert_eq!(there.find(id).await, status, "{settlement:?}");
        assert_eq!(there.record(id).await, None, "{settlement:?}");
        assert_eq!(there.settle(&held, Settlement::Ack).await, Settled::Done);
    }
}

/// B4: also within one batch.
pub async fn a_delivery_is_settled_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for settlement in EVERY {
        here.add(&publication()).await;
        let delivery = here.claim_one().await;
        let twice = [
            settling(&delivery, settlement),
            settling(&delivery, Settlement::Ack),
        ];
        let settled = here.settle_all(&twice).await;
        assert_eq!(settled, [Settled::Done, Settled::Lost], "{settlement:?}");
        assert_eq!(here.settle(&delivery, Settlement::Ack).await, Settled::Lost);
        for left in here.claim(1).await {
            here.settle(&left, Settlement::Ack).await;
        }
    }
}

/// B4
pub async fn each_settlement_of_a_batch_stands_alone(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let lost = here.lose_one(fixture).await;
    there.claim_one().await;
    here.add_all(&publications(2)).await;
    let [first, last] = here.claim(2).await.try_into().expect("two were claimed");
    let batch = [first, lost, last].map(|delivery| settling(&delivery, Settlement::Ack));
    let settled = here.settle_all(&batch).await;
    assert_eq!(settled, [Settled::Done, Settled::Lost, Settled::Done]);
    assert_eq!(here.counts().await, [0, 0, 1, 0]);
}

/// B4: numbers decide, not clocks: nobody else has it, so its worker may still settle it.
pub async fn a_lease_that_ended_and_was_not_taken_can_be_settled(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.lose_one(fixture).await;
    assert_eq!(
        here.end(&delivery, EndState::Succeeded).await,
        Settled::Done
    );
    assert_eq!(here.find(id).await, None);
}

/// B5
pub async fn only_a_retry_charges_an_attempt(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    here.lose_one(fixture).await;
    for (settlement, charged) in [
        (Settlement::Snooze(NOW), 0),
        (Settlement::Release, 0),
        (Settlement::ReleaseAfterFault(NOW), 0),
        (Settlement::Retry(NOW), 0),
        (Settlement::Retry(NOW), 1),
        (Settlement::Release, 2),
    ] {
        let delivery = here.settle_next(settlement).await;
        assert_eq!(delivery.attempts, charged, "before {settlement:?}");
    }
    assert_eq!(here.claim_one().await.attempts, 2);
}

/// B5
pub async fn snoozes_are_counted(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    for snoozes in 0..3 {
        let delivery = here.claim_one().await;
        assert_eq!(delivery.snoozes, snoozes);
        here.settle(&delivery, Settlement::Snooze(NOW)).await;
    }
    here.settle_next(Settlement::Retry(NOW)).await;
    assert_eq!(here.claim_one().await.snoozes, 3);
}

/// B5
pub async fn host_faults_are_counted_until_an_outcome(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for outcome in [Settlement::Retry(NOW), Settlement::Snooze(NOW)] {
        here.add(&publication()).await;
        for faults in 0..3 {
            let delivery = here.claim_one().await;
            assert_eq!(delivery.faults, faults);
            here.settle(&delivery, Settlement::ReleaseAfterFault(NOW))
                .await;
        }
        here.settle_next(outcome).await;
        let delivery = here.claim_one().await;
        assert_eq!(delivery.faults, 0, "{outcome:?}");
        here.settle(&delivery, Settlement::Ack).await;
    }
}

/// B6, B16
pub async fn what_is_to_come_back_later_is_not_delivered_before(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for (settlement, retries) in LATER {
        let id = here.add(&publication()).await;
        let before = here.stores.clock.now();
        here.settle_next(settlement).await;
        let after = here.stores.clock.now();
        assert!(here.claim(1).await.is_empty(), "{settlement:?}");
        let Some(Place::Held { until, is_retry }) = here.place(id).await else {
            panic!("{settlement:?}: it waits for its time");
        };
        assert!((before + LONG..=after + LONG).contains(&until));
        assert_eq!(is_retry, retries, "{settlement:?}");
    }
}

/// B6
pub async fn what_is_to_come_back_later_comes_back(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let delay = fixture.lease();
    let returning = [
        Settlement::Retry(delay),
        Settlement::Snooze(delay),
        Settlement::ReleaseAfterFault(delay),
    ];
    here.add_all(&publications(3)).await;
    for (delivery, settlement) in here.claim(3).await.iter().zip(returning) {
        here.settle(delivery, settlement).await;
    }
    fixture.pass(delay).await;
    assert_eq!(here.claim(3).await.len(), 3);
}

/// B8
pub async fn a_settled_envelope_is_in_one_place(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for (settlement, counts) in [
        (Settlement::Ack, [0, 0, 0, 0]),
        (Settlement::Retry(LONG), [0, 1, 0, 0]),
        (Settlement::Snooze(LONG), [0, 2, 0, 0]),
        (Settlement::ReleaseAfterFault(LONG), [0, 3, 0, 0]),
        (Settlement::DeadLetter(DeadReason::Rejected), [0, 3, 0, 1]),
        (Settlement::Release, [1, 3, 0, 1]),
    ] {
        here.add(&publication()).await;
        here.settle_next(settlement).await;
        assert_eq!(here.counts().await, counts, "{settlement:?}");
    }
}

/// R2
pub async fn an_end_and_its_record_are_seen_together(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for (state, place) in [
        (EndState::Succeeded, None),
        (EndState::Failed, Some(Place::Dead)),
        (EndState::Cancelled, None),
        (EndState::Expired, None),
    ] {
        let id = here.add(&publication()).await;
        here.end_next(state).await;
        assert_eq!(there.place(id).await, place);
        assert_eq!(there.recorded_end(id).await, Some(state));
    }
}

/// R2: whoever looks while an envelope ends finds it in the broker, or its end, or both.
pub async fn an_envelope_that_ends_is_never_unknown(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for _ in 0..20 {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        let watching = async {
            while there.state(id).await.expect("it is known").end().is_none() {
                tokio::task::yield_now().await;
            }
        };
        let ending = here.end(&delivery, EndState::Succeeded);
        within(SOON, async { join!(watching, ending) }).await;
    }
}
