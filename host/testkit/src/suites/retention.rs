//! What goes, and when: nothing in any store grows for ever, and what lives is never swept.

use std::time::Duration;

use stem_core::broker::{DERIVED_ID_RETENTION, Published};
use stem_core::control::Command;
use stem_core::outcome::Settlement;
use stem_core::record::{
    DEAD_LETTER_RETENTION, LIVE_RECORD_RETENTION, Report, TOMBSTONE_RETENTION,
};
use stem_core::result_store::{Fence, Reported};
use stem_core::state::{EndState, State};

use crate::builders::{
    DAY, delayed, derived, end, ended, ending, fence, first_fence, half_way, heartbeat,
    publication, report, settling,
};
use crate::fixture::Fixture;
use crate::process::{Process, SOON, within};

fn expiring(report: Report, retention: Duration) -> Report {
    Report {
        retention,
        ..report
    }
}

fn forgetful(fence: &Fence, state: EndState) -> Report {
    expiring(ended(fence, state), Duration::ZERO)
}

/// R4
pub async fn without_retention_only_the_end_stays(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for state in [EndState::Succeeded, EndState::Cancelled] {
        let fence = first_fence();
        here.report(&report(&fence)).await;
        here.save_checkpoint(&fence, "1").await;
        here.report(&forgetful(&fence, state)).await;
        let record = here.record(fence.id).await.expect("its end is kept");
        assert_eq!((record.attempts, record.progress), (vec![], None));
        let end = record.end.expect("its end is kept");
        assert_eq!((record.generation, end.state), (1, state));
        assert_eq!((end.result, end.error), (None, None));
        assert_eq!(here.checkpoint(fence.id).await, None);
    }
}

/// R4
pub async fn without_retention_the_end_stays_for_an_hour(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    here.report(&forgetful(&fence, EndState::Succeeded)).await;
    fixture.pass(TOMBSTONE_RETENTION - fixture.lease()).await;
    here.sweep().await;
    assert!(here.record(fence.id).await.is_some());
    fixture.outlast(fixture.lease()).await;
    here.sweep().await;
    assert_eq!(here.record(fence.id).await, None);
}

/// R4, B10: whatever its task keeps of other ends.
pub async fn a_failed_record_lives_as_long_as_its_dead_letter(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let mut ending = ending(&here.claim_one().await, EndState::Failed);
    ending.report = ending.report.map(|report| expiring(report, Duration::ZERO));
    here.settle_all(&[ending]).await;
    fixture.pass(DEAD_LETTER_RETENTION - fixture.lease()).await;
    here.sweep().await;
    let record = here.record(id).await.expect("its dead letter is there");
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.end, Some(end(EndState::Failed)));
    fixture.outlast(fixture.lease()).await;
    here.sweep().await;
    assert_eq!((here.record(id).await, here.letter(id).await), (None, None));
}

/// R4, B10: what is known of a dead letter is not lost while its replay waits.
pub async fn what_is_kept_of_a_dead_letter_lives_on_with_its_replay(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    here.save_checkpoint(&fence(&delivery), "1").await;
    here.end(&delivery, EndState::Failed).await;
    fixture.pass(DAY * 6).await;
    here.replay(&[id]).await;
    fixture.pass(DAY * 20).await;
    here.sweep().await;
    let record = here.record(id).await.expect("it lives");
    assert_eq!(record.attempts.len(), 1);
    assert!(here.checkpoint(id).await.is_some());
    assert_eq!(here.state(id).await, Some(State::Queued));
}

/// R4: what is put off for a year is still known then.
pub async fn what_is_kept_of_an_envelope_that_is_held_lives_on_with_it(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let year = DAY * 366;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    here.save_checkpoint(&fence(&delivery), "1").await;
    let mut snoozing = settling(&delivery, Settlement::Snooze(year));
    let report = report(&fence(&delivery));
    snoozing.report = Some(expiring(report, year + LIVE_RECORD_RETENTION));
    here.settle_all(&[snoozing]).await;
    fixture.pass(year + DAY).await;
    here.sweep().await;
    assert!(here.record(id).await.is_some());
    assert!(here.checkpoint(id).await.is_some());
}

/// R4
pub async fn a_record_goes_when_its_retention_is_over(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (short, long) = (first_fence(), first_fence());
    let retention = fixture.lease();
    here.report(&expiring(ended(&short, EndState::Succeeded), retention))
        .await;
    here.report(&ended(&long, EndState::Succeeded)).await;
    assert!(here.record(short.id).await.is_some());
    fixture.outlast(retention).await;
    here.sweep().await;
    assert_eq!(here.record(short.id).await, None);
    assert!(here.record(long.id).await.is_some());
}

/// R4: a retention counts from the last report.
pub async fn each_report_prolongs_its_record(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    let retention = fixture.lease();
    here.report(&expiring(report(&fence), retention)).await;
    here.report(&ended(&fence, EndState::Succeeded)).await;
    fixture.pass(retention).await;
    here.sweep().await;
    assert!(here.record(fence.id).await.is_some());
}

/// R4: a fence is forgotten with its record, so that nothing is left to grow.
pub async fn a_record_that_has_gone_is_gone_for_good(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    let retention = fixture.lease();
    here.report(&expiring(ended(&fence, EndState::Cancelled), retention))
        .await;
    fixture.outlast(retention).await;
    here.sweep().await;
    let anew = ended(&fence, EndState::Succeeded);
    assert_eq!(here.report(&anew).await, Reported::Written);
    let record = here.record(fence.id).await.expect("it is kept");
    assert_eq!(record.end, anew.end);
    assert_eq!(record.attempts.len(), 1);
}

/// R4
pub async fn what_never_ends_is_forgotten_in_the_end(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (running, saved, opened) = (first_fence(), first_fence(), first_fence());
    here.save_progress(&running, &half_way(&*here.stores.clock))
        .await;
    here.save_checkpoint(&saved, "1").await;
    let later = Fence {
        delivery: 2,
        ..opened
    };
    here.open(&later).await;
    fixture.outlast(LIVE_RECORD_RETENTION).await;
    here.sweep().await;
    assert_eq!(here.record(running.id).await, None);
    assert_eq!(here.checkpoint(saved.id).await, None);
    assert_eq!(here.report(&report(&opened)).await, Reported::Written);
}

/// R4, B9
pub async fn what_lives_is_never_swept(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ready = here.add(&publication()).await;
    let held = here.add(&delayed(DAY * 365)).await;
    here.set_paused(true).await;
    fixture.pass(DAY * 40).await;
    here.sweep().await;
    assert_eq!(here.counts().await, [1, 1, 0, 0]);
    here.set_paused(false).await;
    assert_eq!(here.claim_ids(2).await, [ready]);
    assert!(here.find(held).await.is_some());
}

/// R4: what is removed may leave a mark, which has its own time to go.
pub async fn nothing_stays_for_ever(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [ended, dead] = [derived(), derived()];
    here.add(&ended).await;
    here.end_next(EndState::Succeeded).await;
    here.bury(&dead).await;
    for _ in 0..2 {
        fixture.pass(LIVE_RECORD_RETENTION).await;
        here.sweep().await;
    }
    assert_eq!(here.record(dead.id).await, None);
    assert_eq!(here.find(dead.id).await, None);
    let again = here.publish(&[ended, dead]).await;
    assert_eq!(again, [Published::Stored; 2]);
}

/// R4: it says when there is nothing more to remove, also while there is something to keep.
pub async fn a_sweep_comes_to_an_end(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.broadcast(&Command::DeploymentsChanged).await;
    here.beat(&heartbeat("worker-1")).await;
    here.bury(&derived()).await;
    here.save_checkpoint(&first_fence(), "1").await;
    fixture.pass(LIVE_RECORD_RETENTION).await;
    here.broadcast(&Command::DeploymentsChanged).await;
    here.beat(&heartbeat("worker-2")).await;
    within(SOON, here.sweep()).await;
    assert_eq!(here.workers().await.len(), 1);
    assert_eq!(here.queues().await, []);
}

/// R4: nobody sees a mark, but it takes room.
pub async fn the_mark_of_a_derived_id_is_swept(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&derived()).await;
    here.settle_next(Settlement::Ack).await;
    assert_eq!(here.sweep_by(1).await, 0);
    fixture.outlast(DERIVED_ID_RETENTION).await;
    assert!(here.sweep_by(1).await > 0);
}

/// R4: a sweep works in steps, so that nobody waits long for a store that has much to remove.
pub async fn a_sweep_stops_where_it_is_told_to(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for _ in 0..30 {
        let report = ended(&first_fence(), EndState::Succeeded);
        here.report(&expiring(report, fixture.lease())).await;
    }
    fixture.outlast(fixture.lease()).await;
    let steps = here.sweep_by(5).await;
    assert!(
        (3..=30).contains(&steps),
        "{steps} steps of 5 for 30 records"
    );
}

/// R4, B10: what nobody has replayed goes in steps too.
pub async fn a_sweep_of_dead_letters_stops_where_it_is_told_to(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for _ in 0..30 {
        here.bury(&publication()).await;
    }
    fixture.outlast(DEAD_LETTER_RETENTION).await;
    let steps = here.sweep_by(5).await;
    assert!(
        (6..=60).contains(&steps),
        "{steps} steps of 5 for 30 dead letters and their records"
    );
    assert_eq!(here.counts().await, [0; 4]);
}
