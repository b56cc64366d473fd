//! What waiting for a result promises: the end is seen soon, in any process, and never missed.

use futures::join;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::queues::CancelMode;
use stem_core::record::Progress;
use stem_core::state::{EndState, State};

use crate::builders::{end, fence, half_way, publication};
use crate::executor::Gate;
use crate::fixture::Fixture;
use crate::process::{Process, ROUNDS, SOON, within};

/// Opens the gate when a look shows this progress.
fn open_at(gate: &Gate, lookup: &Lookup, expected: &Progress) {
    let record = lookup.record.as_ref();
    if record.and_then(|record| record.progress.as_ref()) == Some(expected) {
        gate.open();
    }
}

/// R3
pub async fn every_end_wakes_who_waits_for_it(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let id = here.add(&publication()).await;
            let delivery = here.claim_one().await;
            let ending = here.end(&delivery, EndState::Succeeded);
            let (lookup, _) = join!(there.wait(id), ending);
            let lookup = lookup.expect("it is known");
            assert_eq!(lookup.end(), Some(&end(EndState::Succeeded)));
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// R3
pub async fn every_kind_of_end_is_one(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for state in [EndState::Failed, EndState::Cancelled, EndState::Expired] {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        let waiting = within(SOON, there.wait(id));
        let (lookup, _) = join!(waiting, here.end(&delivery, state));
        assert_eq!(lookup.map(|lookup| lookup.state), Some(state.into()));
    }
}

/// R3, W7
pub async fn every_cancellation_wakes_who_waits_for_the_end(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let id = here.add(&publication()).await;
            let cancelling = here.cancel(id, CancelMode::Ask);
            let (lookup, _) = join!(there.wait(id), cancelling);
            let state = lookup.map(|lookup| lookup.state);
            assert_eq!(state, Some(State::Cancelled));
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// R3
pub async fn an_end_before_the_wait_is_not_missed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for state in [EndState::Succeeded, EndState::Failed] {
        let id = here.add(&publication()).await;
        here.end_next(state).await;
        let lookup = within(SOON, there.wait(id)).await.expect("it is known");
        assert_eq!(lookup.state, state.into());
        assert!(lookup.end().is_some());
    }
}

/// R3: a replay starts a new generation, and its end is the one that is waited for.
pub async fn a_replayed_envelope_is_waited_for_again(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.bury(&publication()).await;
    here.replay(&[id]).await;
    assert_eq!(
        there.look_up(id).await.map(|lookup| lookup.state),
        Some(State::Queued)
    );
    let delivery = here.claim_one().await;
    let waiting = within(SOON, there.wait(id));
    let (lookup, _) = join!(waiting, here.end(&delivery, EndState::Succeeded));
    let lookup = lookup.expect("it is known");
    assert_eq!(lookup.state, State::Succeeded);
    assert_eq!(lookup.record.map(|record| record.generation), Some(2));
}

/// R3
pub async fn a_wait_for_what_nobody_knows_ends_at_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let unknown = within(SOON, here.wait(EnvelopeId::new())).await;
    assert_eq!(unknown, None);
}

/// R3
pub async fn progress_is_seen_while_waiting(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    let progress = half_way(&*here.stores.clock);
    let seen = Gate::closed();
    let waiting = lookup::wait(&there.stores, id, |lookup| {
        open_at(&seen, lookup, &progress)
    });
    let running = async {
        here.save_progress(&fence(&delivery), &progress).await;
        seen.passed().await;
        here.end(&delivery, EndState::Succeeded).await
    };
    let (lookup, _) = within(SOON, async { join!(waiting, running) }).await;
    assert!(lookup.expect("the store answers").is_some());
}
