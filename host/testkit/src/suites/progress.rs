//! What progress promises: the newest of the attempt that runs is seen elsewhere, and nothing of one that does not.

use stem_core::record::Progress;
use stem_core::result_store::Reported;
use stem_core::state::{EndState, State};

use crate::builders::{fence, first_fence, half_way, publication};
use crate::fixture::Fixture;
use crate::process::Process;

/// R3: the record begins with it, where no attempt has ended yet.
pub async fn progress_is_seen_from_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let fence = fence(&here.claim_one().await);
    let progress = half_way(&*here.stores.clock);
    let saved = here.save_progress(&fence, &progress).await;
    assert_eq!(saved, Reported::Written);
    let record = there.record(id).await.expect("it begins with progress");
    assert_eq!(record.progress, Some(progress));
    assert_eq!((record.generation, record.end), (1, None));
    assert_eq!(there.state(id).await, Some(State::Running));
}

/// R3: only the newest is kept.
pub async fn progress_replaces_what_was_there(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    let half = half_way(&*here.stores.clock);
    let done = Progress {
        fraction: 1.0,
        note: String::new(),
        ..half.clone()
    };
    for progress in [half, done.clone()] {
        here.save_progress(&fence, &progress).await;
    }
    let record = here.record(fence.id).await.expect("it is kept");
    assert_eq!(record.progress, Some(done));
}

/// R5: progress is of an attempt that runs; what has ended has its result instead.
pub async fn a_record_that_has_ended_shows_no_progress(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for state in [EndState::Succeeded, EndState::Failed, EndState::Cancelled] {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        let progress = half_way(&*here.stores.clock);
        here.save_progress(&fence(&delivery), &progress).await;
        here.end(&delivery, state).await;
        let record = here.record(id).await.expect("it is kept");
        assert_eq!(record.progress, None, "{state:?}");
    }
}

/// R1
pub async fn progress_of_a_lost_delivery_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = fence(&here.lose_one(fixture).await);
    let held = there.claim_one().await;
    let progress = half_way(&*here.stores.clock);
    assert_eq!(here.save_progress(&lost, &progress).await, Reported::Stale);
    assert_eq!(there.record(id).await, None);
    there.end(&held, EndState::Succeeded).await;
    let late = there.save_progress(&fence(&held), &progress).await;
    assert_eq!(late, Reported::Stale);
}
