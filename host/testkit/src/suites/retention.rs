//! What goes, and when: nothing in any store grows for ever, and what lives is never swept.

use std::time::Duration;

use stem_core::broker::Published;
use stem_core::control::Command;
use stem_core::payload::StoredPayload;
use stem_core::record::{LIVE_RECORD_RETENTION, Report, TOMBSTONE_RETENTION};
use stem_core::result_store::{Fence, Reported};
use stem_core::state::EndState;

use crate::builders::{
    DAY, delayed, derived, ended, first_fence, half_way, heartbeat, json, publication,
    publications, report,
};
use crate::fixture::Fixture;
use crate::process::Process;

fn forgetful(fence: &Fence, state: EndState) -> Report {
    Report {
        retention: Duration::ZERO,
        ..ended(fence, state)
    }
}

async fn save_checkpoint(process: &Process, fence: &Fence) {
    let checkpoint = StoredPayload::pack(json("1"));
    let saved = process
        .stores
        .results
        .save_checkpoint(fence, &checkpoint)
        .await;
    assert_eq!(saved.expect("the store answers"), Reported::Written);
}

/// R4
pub async fn without_retention_only_the_end_stays(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for state in [EndState::Succeeded, EndState::Failed] {
        let fence = first_fence();
        here.report(&report(&fence)).await;
        save_checkpoint(&here, &fence).await;
        here.report(&forgetful(&fence, state)).await;
        let record = here.record(fence.id).await.expect("its end is kept");
        let end = record.end.expect("its end is kept");
        assert_eq!((record.generation, end.state), (1, state));
        assert_eq!((record.attempts, record.progress), (vec![], None));
        assert_eq!((end.result, end.error), (None, None));
        let checkpoint = here.stores.results.load_checkpoint(fence.id).await;
        assert_eq!(checkpoint.expect("the store answers"), None);
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
    fixture.pass(fixture.lease()).await;
    here.sweep().await;
    assert_eq!(here.record(fence.id).await, None);
}

/// R4
pub async fn a_record_goes_when_its_retention_is_over(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (short, long) = (first_fence(), first_fence());
    let retention = fixture.lease();
    here.report(&Report {
        retention,
        ..ended(&short, EndState::Succeeded)
    })
    .await;
    here.report(&ended(&long, EndState::Succeeded)).await;
    assert!(here.record(short.id).await.is_some());
    fixture.pass(retention).await;
    here.sweep().await;
    assert_eq!(here.record(short.id).await, None);
    assert!(here.record(long.id).await.is_some());
}

/// R4: a retention counts from the last report.
pub async fn each_report_prolongs_its_record(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    let retention = fixture.lease();
    here.report(&Report {
        retention,
        ..report(&fence)
    })
    .await;
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
    here.report(&Report {
        retention,
        ..ended(&fence, EndState::Failed)
    })
    .await;
    fixture.pass(retention).await;
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
    let (running, saved) = (first_fence(), first_fence());
    let progress = half_way(&*here.stores.clock);
    let reported = here.stores.results.save_progress(&running, &progress).await;
    assert_eq!(reported.expect("the store answers"), Reported::Written);
    save_checkpoint(&here, &saved).await;
    fixture.pass(LIVE_RECORD_RETENTION).await;
    here.sweep().await;
    assert_eq!(here.record(running.id).await, None);
    let checkpoint = here.stores.results.load_checkpoint(saved.id).await;
    assert_eq!(checkpoint.expect("the store answers"), None);
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

/// R4: one of everything that a store keeps; after 31 days and a sweep there is nothing to sweep, and nothing left.
pub async fn nothing_stays_for_ever(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [ended, dead] = [derived(), derived()];
    here.add(&ended).await;
    here.end(&here.claim_one().await, EndState::Succeeded).await;
    here.bury(&dead).await;
    let control = &here.stores.control;
    control
        .beat(&heartbeat("worker-1"))
        .await
        .expect("the store answers");
    control
        .broadcast(&Command::DeploymentsChanged)
        .await
        .expect("the store answers");
    save_checkpoint(&here, &first_fence()).await;
    for _ in 0..2 {
        // What is removed may leave a mark, which has its own time to go.
        fixture.pass(LIVE_RECORD_RETENTION).await;
        here.sweep().await;
    }
    assert_eq!(
        (here.queues().await, here.dead(&<_>::default()).await),
        (vec![], vec![])
    );
    assert_eq!(here.record(dead.id).await, None);
    assert_eq!(here.publish(&[ended, dead]).await, [Published::Stored; 2]);
}

/// R4: a sweep works in steps, so that nobody waits long for a store that has much to remove.
pub async fn a_sweep_stops_where_it_is_told_to(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let retention = fixture.lease();
    for publication in publications(30) {
        let fence = Fence {
            id: publication.id,
            ..first_fence()
        };
        here.report(&Report {
            retention,
            ..ended(&fence, EndState::Succeeded)
        })
        .await;
    }
    fixture.pass(retention).await;
    let mut sweeps = 0;
    for upkeep in &here.stores.upkeep {
        while upkeep.sweep(5).await.expect("the store answers") > 0 {
            sweeps += 1;
        }
    }
    assert!(
        (3..=30).contains(&sweeps),
        "{sweeps} sweeps of 5 for 30 records"
    );
}
