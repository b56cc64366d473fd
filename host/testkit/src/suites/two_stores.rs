//! What is promised where the broker is one server and the records another: record first, then settle, and a crash
//! between the two loses nothing and runs nothing twice.
//!
//! Two namespaces of a server never see each other, so they stand for two servers.

use stem_core::broker::{Published, Settled};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::{CancelMode, Cancelling, Place};
use stem_core::result_store::Reported;
use stem_core::state::{EndState, State};
use stem_core::stores::Stores;
use stem_core::two_stores;

use crate::builders::{derived, ended, failure, fence, publication, settling};
use crate::fixture::Fixture;
use crate::process::Process;

/// A worker on both servers, and each server alone.
struct Servers {
    worker: Process,
    broker: Process,
    results: Process,
}

async fn servers(fixture: &dyn Fixture) -> Servers {
    let results: Stores = fixture.other_namespace().await;
    let joined = two_stores::join(fixture.stores().await, &results);
    Servers {
        worker: Process::named("here", joined),
        broker: Process::named("broker", fixture.second_handle().await),
        results: Process::named("results", results),
    }
}

impl Servers {
    /// Publishes, claims, records the end and dies before it settles.
    async fn crash_between(&self, fixture: &dyn Fixture, state: EndState) -> EnvelopeId {
        let id = self.worker.add(&publication()).await;
        let delivery = self.worker.claim_for(fixture.lease()).await;
        let recorded = self.results.report(&ended(&fence(&delivery), state)).await;
        assert_eq!(recorded, Reported::Written);
        fixture.pass(fixture.lease()).await;
        id
    }
}

/// R2
pub async fn records_lie_on_one_server_and_envelopes_on_the_other(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.worker.add(&publication()).await;
    assert!(servers.broker.find(id).await.is_some());
    assert_eq!(servers.results.find(id).await, None);
    servers
        .worker
        .end(&servers.worker.claim_one().await, EndState::Succeeded)
        .await;
    assert_eq!(servers.broker.find(id).await, None);
    assert_eq!(servers.broker.record(id).await, None);
    assert!(servers.results.record(id).await.is_some());
    let capabilities = servers.worker.stores.broker.capabilities();
    assert!(!capabilities.keeps_records);
}

/// R2, W8
pub async fn an_end_whose_settlement_was_lost_is_settled_without_running(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    for state in [EndState::Succeeded, EndState::Cancelled, EndState::Expired] {
        let id = servers.crash_between(fixture, state).await;
        let fresh = servers.worker.add(&publication()).await;
        assert_eq!(servers.worker.claim_ids(2).await, [fresh]);
        assert_eq!(servers.broker.find(id).await, None);
        let lookup = servers
            .worker
            .look_up(id)
            .await
            .expect("its end is recorded");
        assert_eq!(lookup.state, state.into());
    }
}

/// R2, W8, B10
pub async fn a_failure_whose_settlement_was_lost_becomes_a_dead_letter(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.crash_between(fixture, EndState::Failed).await;
    assert!(servers.worker.claim(1).await.is_empty());
    assert_eq!(servers.broker.place(id).await, Some(Place::Dead));
    let letters = servers.broker.stores.dead_letters.show(&[id]).await;
    let letter = letters.expect("the store answers").pop().flatten();
    let letter = letter.expect("it is a dead letter");
    assert_eq!(letter.reason, DeadReason::AttemptsExhausted);
    assert_eq!(letter.error, Some(failure()));
}

/// R1
pub async fn the_report_of_a_late_worker_is_refused_after_a_newer_claim(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.worker.add(&publication()).await;
    let lost = servers.worker.lose_one(fixture).await;
    let held = servers.worker.claim_one().await;
    assert_eq!(
        servers.worker.end(&lost, EndState::Failed).await,
        Settled::Lost
    );
    assert_eq!(servers.results.record(id).await, None);
    assert_eq!(
        servers.worker.end(&held, EndState::Succeeded).await,
        Settled::Done
    );
    let record = servers
        .results
        .record(id)
        .await
        .expect("its end is recorded");
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.end.map(|end| end.state), Some(EndState::Succeeded));
}

/// R2: the end was recorded before the settlement was lost, and settling again finishes what was begun.
pub async fn a_settlement_can_be_repeated_after_a_crash_between(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.worker.add(&publication()).await;
    let delivery = servers.worker.claim_one().await;
    servers
        .results
        .report(&ended(&fence(&delivery), EndState::Succeeded))
        .await;
    let settled = servers.worker.end(&delivery, EndState::Succeeded).await;
    assert_eq!(settled, Settled::Done);
    assert_eq!(servers.broker.find(id).await, None);
    let record = servers
        .results
        .record(id)
        .await
        .expect("its end is recorded");
    assert_eq!(record.attempts.len(), 1);
}

/// R1, R3: an end that was recorded before a replay counts only for its generation.
pub async fn a_replayed_envelope_runs_again(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.worker.bury(&publication()).await;
    servers.worker.replay(&[id]).await;
    let delivery = servers.worker.claim_one().await;
    assert_eq!((delivery.receipt.id, delivery.generation), (id, 2));
    servers.worker.end(&delivery, EndState::Succeeded).await;
    let lookup = servers
        .worker
        .look_up(id)
        .await
        .expect("its end is recorded");
    assert_eq!(lookup.state, State::Succeeded);
}

/// B15
pub async fn an_id_whose_record_lies_on_the_other_server_is_known(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let (recorded, fresh, marked) = (publication(), publication(), derived());
    servers.worker.add(&recorded).await;
    servers
        .worker
        .end(&servers.worker.claim_one().await, EndState::Succeeded)
        .await;
    servers.worker.add(&marked).await;
    let delivery = servers.worker.claim_one().await;
    servers
        .worker
        .settle_all(&[settling(&delivery, Settlement::Ack)])
        .await;
    let (known, stored) = (Published::AlreadyKnown, Published::Stored);
    let published = servers
        .worker
        .publish(&[recorded, fresh.clone(), marked, fresh])
        .await;
    assert_eq!(published, [known, stored, known, known]);
}

/// W7, R2
pub async fn a_cancellation_is_recorded_on_the_other_server(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let running = servers.worker.add(&publication()).await;
    servers.worker.claim_one().await;
    let waiting = servers.worker.add(&publication()).await;
    for (id, answer) in [
        (waiting, Cancelling::Cancelled),
        (running, Cancelling::Asked),
    ] {
        assert_eq!(servers.worker.cancel(id, CancelMode::Ask).await, answer);
    }
    let record = servers
        .results
        .record(waiting)
        .await
        .expect("its end is recorded");
    assert_eq!(record.end.map(|end| end.state), Some(EndState::Cancelled));
    assert_eq!(servers.results.record(running).await, None);
    assert_eq!(servers.broker.counts().await, [0, 0, 1, 0]);
}

/// W7, W8: cancelled on the record's side, and the crash came before the broker was told.
pub async fn what_was_recorded_as_cancelled_is_not_run(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = servers.worker.add(&publication()).await;
    let status = servers.broker.find(id).await.expect("it waits");
    let report = stem_core::record::Report::cancelled(&status, servers.worker.stores.clock.now());
    servers.results.report(&report).await;
    assert!(servers.worker.claim(1).await.is_empty());
    assert_eq!(servers.broker.find(id).await, None);
}

/// R4: each server is swept.
pub async fn both_servers_have_upkeep(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let alone = servers.broker.stores.upkeep.len() + servers.results.stores.upkeep.len();
    assert_eq!(servers.worker.stores.upkeep.len(), alone);
}
