//! Who goes first: priority, then the order of publishing; waiting raises, and what comes back keeps its place or joins
//! at the end.

use std::time::Duration;

use stem_core::broker::AGEING;
use stem_core::outcome::Settlement;

use crate::builders::{delayed, publication, publications, urgent};
use crate::fixture::Fixture;
use crate::process::Process;

const NOW: Duration = Duration::ZERO;

/// B7
pub async fn a_higher_priority_goes_first(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [low, high, middle] = [0, 9, 5].map(urgent);
    here.add_all(&[low.clone(), high.clone(), middle.clone()])
        .await;
    assert_eq!(here.claim_ids(2).await, [high.id, middle.id]);
    assert_eq!(here.claim_ids(2).await, [low.id]);
}

/// B7
pub async fn a_lane_keeps_the_order_of_publishing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut ids = here.add_all(&publications(40)).await;
    for _ in 0..10 {
        ids.push(here.add(&publication()).await);
    }
    let mut claimed = there.claim_ids(20).await;
    claimed.extend(here.claim_ids(40).await);
    assert_eq!(claimed, ids);
}

/// B7
pub async fn an_envelope_gains_a_level_for_each_minute_that_it_waits(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [low, above, below] = [0, 5, 2].map(urgent);
    here.add(&low).await;
    fixture.pass(AGEING * 3).await;
    here.add_all(&[above.clone(), below.clone()]).await;
    assert_eq!(here.claim_ids(3).await, [above.id, low.id, below.id]);
}

/// B7
pub async fn no_envelope_starves(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let low = here.add(&urgent(0)).await;
    let mut minutes = 0;
    loop {
        here.add(&urgent(9)).await;
        if here.claim_ids(1).await == [low] {
            break;
        }
        fixture.pass(AGEING).await;
        minutes += 1;
    }
    assert!((9..=10).contains(&minutes), "{minutes} minutes");
}

/// B7: only the time since it could run counts.
pub async fn waiting_for_a_time_is_no_waiting_for_a_worker(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (late, fresh) = (delayed(AGEING * 10), urgent(1));
    here.add(&late).await;
    fixture.pass(AGEING * 10).await;
    here.add(&fresh).await;
    assert_eq!(here.claim_ids(2).await, [fresh.id, late.id]);
}

/// B7
pub async fn a_released_envelope_goes_before_those_that_wait(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ids = here.add_all(&publications(3)).await;
    here.settle_next(Settlement::Release).await;
    assert_eq!(here.claim_ids(3).await, ids);
}

/// B7
pub async fn a_rescued_envelope_goes_before_those_that_wait(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ids = here.add_all(&publications(3)).await;
    here.lose_one(fixture).await;
    assert_eq!(here.claim_ids(3).await, ids);
}

/// B7: coming back is no way past a higher priority.
pub async fn a_released_envelope_stays_in_its_lane(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let low = here.add(&urgent(0)).await;
    let delivery = here.claim_one().await;
    let high = here.add(&urgent(9)).await;
    here.settle(&delivery, Settlement::Release).await;
    assert_eq!(here.claim_ids(2).await, [high, low]);
}

/// B7
pub async fn what_comes_back_later_joins_at_the_end(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for settlement in [
        Settlement::Retry(NOW),
        Settlement::Snooze(NOW),
        Settlement::ReleaseAfterFault(NOW),
    ] {
        let ids = here.add_all(&publications(3)).await;
        here.settle_next(settlement).await;
        let claimed = here.claim(3).await;
        let order: Vec<_> = claimed.iter().map(|delivery| delivery.receipt.id).collect();
        assert_eq!(order, [ids[1], ids[2], ids[0]], "{settlement:?}");
        for delivery in claimed {
            here.settle(&delivery, Settlement::Ack).await;
        }
    }
}

/// B7
pub async fn a_delayed_envelope_joins_at_the_end_when_it_falls_due(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let late = here.add(&delayed(fixture.lease())).await;
    let early = here.add(&publication()).await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(here.claim_ids(2).await, [early, late]);
}

/// B7: the end of the lane is where it was when the envelope fell due, whether anybody claimed since or not.
pub async fn what_has_fallen_due_goes_before_what_comes_after(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let dead = here.bury(&publication()).await;
    let late = here.add(&delayed(fixture.lease())).await;
    fixture.pass(fixture.lease()).await;
    let fresh = here.add(&publication()).await;
    assert_eq!(here.claim_ids(3).await, [late, fresh]);
    let late = here.add(&delayed(fixture.lease())).await;
    fixture.pass(fixture.lease()).await;
    here.replay(&[dead]).await;
    assert_eq!(here.claim_ids(3).await, [late, dead]);
}

/// B6, B7
pub async fn what_falls_due_earlier_goes_first(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let second = here.add(&delayed(fixture.lease())).await;
    let first = here.add(&delayed(fixture.lease() / 2)).await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(here.claim_ids(2).await, [first, second]);
}

/// B6, B7: a retry keeps its priority.
pub async fn a_retried_envelope_stays_in_its_lane(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let high = here.add(&urgent(9)).await;
    here.settle_next(Settlement::Retry(NOW)).await;
    let low = here.add(&urgent(0)).await;
    assert_eq!(here.claim_ids(2).await, [high, low]);
}
