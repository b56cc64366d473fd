//! What cancelling promises: it reaches an envelope wherever it lies, and outlives whatever becomes of its worker.

use std::time::Duration;

use stem_core::broker::{Renewal, Settled};
use stem_core::envelope::Envelope;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::{CancelMode, Cancelling, Place};
use stem_core::state::{EndState, State};

use crate::builders::{
    delayed, envelope, fence, publication, publication_of, queued_in, report, settling,
};
use crate::clock::ManualClock;
use crate::fixture::Fixture;
use crate::process::{LONG, Process};

const NOW: Duration = Duration::ZERO;

/// W7, R2
pub async fn what_waits_is_cancelled_and_its_end_recorded(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let retried = here.add(&publication()).await;
    here.settle_next(Settlement::Retry(LONG)).await;
    let mut ids = here.add_all(&[publication(), delayed(LONG)]).await;
    ids.push(retried);
    for id in ids {
        let cancelled = there.cancel(id, CancelMode::Ask).await;
        assert_eq!(cancelled, Cancelling::Cancelled);
        assert_eq!(here.find(id).await, None);
        assert_eq!(here.state(id).await, Some(State::Cancelled));
    }
    assert_eq!(here.queues().await, []);
}

/// W7, R5
pub async fn the_record_says_what_was_cancelled_and_when(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let publication = queued_in("reports");
    here.add(&publication).await;
    let before = here.stores.clock.now();
    here.cancel(publication.id, CancelMode::Now).await;
    let record = here.record(publication.id).await.expect("it is kept");
    assert_eq!(record.task, Some(publication.task));
    assert_eq!(record.queue, Some(publication.queue));
    assert_eq!(record.enqueued_at, Some(ManualClock::START));
    let end = record.end.expect("it has ended");
    assert!((before..=here.stores.clock.now()).contains(&end.at));
    assert_eq!(end.state, EndState::Cancelled);
}

/// W7, R4, E4
pub async fn the_record_of_what_was_cancelled_is_kept_as_long_as_it_says(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let short = publication_of(&Envelope {
        result_retention: Some(fixture.lease()),
        ..envelope()
    });
    let ids = here.add_all(&[short, publication()]).await;
    for id in &ids {
        here.cancel(*id, CancelMode::Ask).await;
    }
    fixture.outlast(fixture.lease()).await;
    here.sweep().await;
    assert_eq!(here.record(ids[0]).await, None);
    assert!(here.record(ids[1]).await.is_some());
}

/// W7: what it did before stays known.
pub async fn a_cancelled_envelope_keeps_the_record_of_its_attempts(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    let mut retrying = settling(&delivery, Settlement::Retry(LONG));
    retrying.report = Some(report(&fence(&delivery)));
    here.settle_all(&[retrying]).await;
    here.cancel(id, CancelMode::Ask).await;
    let record = here.record(id).await.expect("it is kept");
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.end.map(|end| end.state), Some(EndState::Cancelled));
}

/// W7
pub async fn what_runs_is_marked_for_its_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    let asked = there.cancel(id, CancelMode::Ask).await;
    assert_eq!(asked, Cancelling::Asked);
    let renewal = here.renew(&delivery, LONG).await;
    assert_eq!(renewal, Renewal::Cancelled(CancelMode::Ask));
    here.end(&delivery, EndState::Cancelled).await;
    assert_eq!(there.state(id).await, Some(State::Cancelled));
}

/// W7, B4: it runs no more, and a worker that comes back late changes nothing.
pub async fn what_its_worker_has_lost_is_cancelled_at_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = here.lose_one(fixture).await;
    let cancelled = there.cancel(id, CancelMode::Ask).await;
    assert_eq!(cancelled, Cancelling::Cancelled);
    assert_eq!(here.end(&lost, EndState::Succeeded).await, Settled::Lost);
    assert_eq!(here.state(id).await, Some(State::Cancelled));
    assert_eq!(here.queues().await, []);
}

/// W7, B3: being cancelled takes nothing from a lease.
pub async fn the_lease_of_what_was_cancelled_lasts_on(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_for(fixture.lease()).await;
    there.cancel(id, CancelMode::Now).await;
    here.renew(&delivery, LONG).await;
    fixture.pass(fixture.lease()).await;
    assert!(there.claim(1).await.is_empty());
    assert!(matches!(there.place(id).await, Some(Place::Leased { .. })));
}

/// W7
pub async fn to_end_at_once_wins_over_to_ask(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (ask, now) = (CancelMode::Ask, CancelMode::Now);
    for (modes, strongest) in [([ask, ask], ask), ([ask, now], now), ([now, ask], now)] {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        for mode in modes {
            assert_eq!(here.cancel(id, mode).await, Cancelling::Asked);
        }
        let renewal = here.renew(&delivery, LONG).await;
        assert_eq!(renewal, Renewal::Cancelled(strongest), "{modes:?}");
    }
}

/// W7: revocations survive whatever becomes of the worker.
pub async fn a_cancellation_outlives_the_delivery(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    assert!(!here.claim_for(fixture.lease()).await.is_cancelled);
    there.cancel(id, CancelMode::Ask).await;
    fixture.pass(fixture.lease()).await;
    for settlement in [
        Settlement::Release,
        Settlement::Retry(NOW),
        Settlement::Snooze(NOW),
        Settlement::ReleaseAfterFault(NOW),
    ] {
        assert!(there.settle_next(settlement).await.is_cancelled);
    }
    assert!(here.claim_one().await.is_cancelled);
}

/// W7: its next delivery ends it, however long its attempt wanted it to wait.
pub async fn what_was_cancelled_while_it_ran_comes_back_at_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for settlement in [
        Settlement::Retry(LONG),
        Settlement::Snooze(LONG),
        Settlement::ReleaseAfterFault(LONG),
    ] {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        there.cancel(id, CancelMode::Ask).await;
        here.settle_all(&[settling(&delivery, settlement)]).await;
        let again = there.claim_one().await;
        assert!(again.is_cancelled, "{settlement:?}");
        there.end(&again, EndState::Cancelled).await;
    }
}

/// W7: with an answer for each, in their order.
pub async fn many_are_cancelled_at_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let dead = here.bury(&publication()).await;
    let running = here.add(&publication()).await;
    here.claim_one().await;
    let queued = here.add(&publication()).await;
    let ids = [EnvelopeId::new(), queued, dead, running];
    let answers = here.stores.queues.cancel(&ids, CancelMode::Ask).await;
    let (unknown, cancelled) = (Cancelling::Unknown, Cancelling::Cancelled);
    let expected = [unknown, cancelled, Cancelling::Dead, Cancelling::Asked];
    assert_eq!(answers.expect("the store answers"), expected);
    assert_eq!(here.counts().await, [0, 0, 1, 1]);
    assert_eq!(here.record(ids[0]).await, None);
}

/// W7: what was cancelled has ended, and ends once.
pub async fn a_cancelled_envelope_cannot_be_cancelled_again(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    here.cancel(id, CancelMode::Ask).await;
    let record = here.record(id).await;
    assert_eq!(there.cancel(id, CancelMode::Now).await, Cancelling::Unknown);
    assert_eq!(here.record(id).await, record);
}
