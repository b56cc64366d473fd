//! What is promised where the broker is one server and the records another: record first, then settle, and a crash
//! between the two loses nothing and runs nothing twice.
//!
//! Two namespaces of a server never see each other, so they stand for two servers.

use std::sync::Arc;

use futures::future::join_all;
use futures::join;
use stem_core::broker::{MAX_DELIVERIES, Published, Settled};
use stem_core::ids::EnvelopeId;
use stem_core::key_value::{Refusal, Writing};
use stem_core::lookup::{self, Lookup};
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::{CancelMode, Cancelling};
use stem_core::record::Report;
use stem_core::result_store::Reported;
use stem_core::state::{EndState, State};
use stem_core::two_stores;

use crate::builders::{
    derived, end, ended, failure, fence, publication, publications, put, writing,
};
use crate::executor::Gate;
use crate::faults::Outage;
use crate::fixture::Fixture;
use crate::process::{Process, ROUNDS, within};

/// A worker on both servers, and somebody on each server alone: the broker's, and the records'.
async fn servers(fixture: &dyn Fixture) -> [Process; 3] {
    let results = fixture.other_namespace().await;
    let joined = two_stores::join(fixture.stores().await, &results);
    [
        Process::named("here", joined),
        Process::named("broker", fixture.second_handle().await),
        Process::named("results", results),
    ]
}

/// Publishes, claims, records the end and dies before it settles.
async fn crash_between(
    [worker, _, results]: &[Process; 3],
    fixture: &dyn Fixture,
    state: EndState,
) -> EnvelopeId {
    let id = worker.add(&publication()).await;
    let delivery = worker.claim_for(fixture.lease()).await;
    let recorded = results.report(&ended(&fence(&delivery), state)).await;
    assert_eq!(recorded, Reported::Written);
    fixture.pass(fixture.lease()).await;
    id
}

/// R2
pub async fn records_lie_on_one_server_and_envelopes_on_the_other(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    let id = worker.add(&publication()).await;
    assert!(broker.find(id).await.is_some());
    assert_eq!(results.find(id).await, None);
    worker.end_next(EndState::Succeeded).await;
    assert_eq!(broker.find(id).await, None);
    assert_eq!(broker.record(id).await, None);
    assert!(results.record(id).await.is_some());
    assert!(!worker.stores.broker.capabilities().keeps_records);
}

/// R2, W8
pub async fn an_end_whose_settlement_was_lost_is_settled_without_running(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let [worker, broker, _] = &servers;
    for state in [EndState::Succeeded, EndState::Cancelled, EndState::Expired] {
        let id = crash_between(&servers, fixture, state).await;
        let fresh = worker.add(&publication()).await;
        assert_eq!(worker.claim_ids(2).await, [fresh]);
        assert_eq!(broker.find(id).await, None);
        assert_eq!(worker.state(id).await, Some(state.into()));
    }
}

/// R2, W8, B10
pub async fn a_failure_whose_settlement_was_lost_becomes_a_dead_letter(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let id = crash_between(&servers, fixture, EndState::Failed).await;
    let [worker, broker, _] = servers;
    assert!(worker.claim(1).await.is_empty());
    let letter = broker.letter(id).await;
    let letter = letter.expect("it is a dead letter");
    assert_eq!(letter.reason, DeadReason::AttemptsExhausted);
    assert_eq!(letter.error, Some(failure()));
    assert_eq!(worker.state(id).await, Some(State::Failed));
}

/// B5, W8: records that cannot be read are no worker lost.
pub async fn what_is_claimed_while_the_records_are_away_goes_back(fixture: &dyn Fixture) {
    let mut results = fixture.other_namespace().await;
    let outage = Outage::of(Arc::clone(&results.results));
    results.results = Arc::clone(&outage) as _;
    let worker = Process::named("here", two_stores::join(fixture.stores().await, &results));
    let ids = worker.add_all(&publications(3)).await;
    outage.set(true);
    for _ in 0..MAX_DELIVERIES {
        let claimed = worker.try_claim(3).await;
        assert!(claimed.is_err(), "nobody knows what has ended already");
    }
    outage.set(false);
    assert_eq!(worker.counts().await, [3, 0, 0, 0]);
    assert_eq!(worker.claim_ids(3).await, ids);
}

/// R1
pub async fn the_report_of_a_late_worker_is_refused_after_a_newer_claim(fixture: &dyn Fixture) {
    let [worker, _, results] = servers(fixture).await;
    let id = worker.add(&publication()).await;
    let lost = worker.lose_one(fixture).await;
    let held = worker.claim_one().await;
    assert_eq!(worker.end(&lost, EndState::Failed).await, Settled::Lost);
    assert_eq!(results.record(id).await, None);
    let settled = worker.end(&held, EndState::Succeeded).await;
    assert_eq!(settled, Settled::Done);
    let record = results.record(id).await.expect("its end is recorded");
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.end, Some(end(EndState::Succeeded)));
}

/// R2: the end was recorded before the settlement was lost, and settling again finishes what was begun.
pub async fn a_settlement_can_be_repeated_after_a_crash_between(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    let id = worker.add(&publication()).await;
    let delivery = worker.claim_one().await;
    let report = ended(&fence(&delivery), EndState::Succeeded);
    assert_eq!(results.report(&report).await, Reported::Written);
    let settled = worker.end(&delivery, EndState::Succeeded).await;
    assert_eq!(settled, Settled::Done);
    assert_eq!(broker.find(id).await, None);
    let record = results.record(id).await.expect("its end is recorded");
    assert_eq!(record.attempts.len(), 1);
}

/// R1, R3: an end that was recorded before a replay counts only for its generation.
pub async fn a_replayed_envelope_runs_again(fixture: &dyn Fixture) {
    let [worker, ..] = servers(fixture).await;
    let id = worker.bury(&publication()).await;
    worker.replay(&[id]).await;
    let delivery = worker.end_next(EndState::Succeeded).await;
    assert_eq!((delivery.receipt.id, delivery.generation), (id, 2));
    assert_eq!(worker.state(id).await, Some(State::Succeeded));
}

/// R3: the record of a failure comes before its dead letter, and that changes no record.
pub async fn every_dead_letter_wakes_who_waits_for_the_end(fixture: &dyn Fixture) {
    let servers = servers(fixture).await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let lookup = wait_for_death(&servers).await;
            assert_eq!(lookup.map(|lookup| lookup.state), Some(State::Failed));
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// Waits for an end that is recorded when the wait begins, and settled when it has seen that.
async fn wait_for_death([worker, broker, results]: &[Process; 3]) -> Option<Lookup> {
    let id = worker.add(&publication()).await;
    let delivery = worker.claim_one().await;
    results
        .report(&ended(&fence(&delivery), EndState::Failed))
        .await;
    let seen = Gate::closed();
    let waiting = lookup::wait(&worker.stores, id, |_| seen.open());
    let settling = async {
        seen.passed().await;
        let dead = Settlement::DeadLetter(DeadReason::Rejected);
        broker.settle(&delivery, dead).await
    };
    let (lookup, _) = join!(waiting, settling);
    lookup.expect("the store answers")
}

/// B15
pub async fn an_id_whose_record_lies_on_the_other_server_is_known(fixture: &dyn Fixture) {
    let [worker, ..] = servers(fixture).await;
    let (recorded, marked, fresh) = (publication(), derived(), publication());
    worker.add(&recorded).await;
    worker.end_next(EndState::Succeeded).await;
    worker.add(&marked).await;
    worker.settle_next(Settlement::Ack).await;
    let batch = [recorded, fresh.clone(), marked, fresh];
    let published = worker.publish(&batch).await;
    let (known, stored) = (Published::AlreadyKnown, Published::Stored);
    assert_eq!(published, [known, stored, known, known]);
}

/// W7, R2
pub async fn a_cancellation_is_recorded_on_the_other_server(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    let running = worker.add(&publication()).await;
    worker.claim_one().await;
    let waiting = worker.add(&publication()).await;
    let answers = [waiting, running].map(|id| worker.cancel(id, CancelMode::Ask));
    let expected = [Cancelling::Cancelled, Cancelling::Asked];
    assert_eq!(join_all(answers).await, expected);
    let recorded = results.recorded_end(waiting).await;
    assert_eq!(recorded, Some(EndState::Cancelled));
    assert_eq!(results.record(running).await, None);
    assert_eq!(broker.counts().await, [0, 0, 1, 0]);
}

/// W7, W8: cancelled on the record's side, and the crash came before the broker was told.
pub async fn what_was_recorded_as_cancelled_is_not_run(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    let id = worker.add(&publication()).await;
    let status = broker.find(id).await.expect("it waits");
    let report = Report::cancelled(&status, worker.stores.clock.now());
    assert_eq!(results.report(&report).await, Reported::Written);
    assert!(worker.claim(1).await.is_empty());
    assert_eq!(broker.find(id).await, None);
}

/// R4: each server is swept.
pub async fn both_servers_have_upkeep(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    let alone = broker.stores.upkeep.len() + results.stores.upkeep.len();
    assert_eq!(worker.stores.upkeep.len(), alone);
}

/// S2, R1: and are fenced as checkpoints are.
pub async fn buckets_lie_where_the_records_do(fixture: &dyn Fixture) {
    let [worker, broker, results] = servers(fixture).await;
    worker.add(&publication()).await;
    let lost = worker.lose_one(fixture).await;
    let held = worker.claim_one().await;
    for (delivery, expected) in [(held, Ok(())), (lost, Err(Refusal::LeaseLost))] {
        let fence = fence(&delivery);
        let writing = Writing { fence, ..writing() };
        let written = worker.change(&writing, &[put("a", "1")]).await;
        assert_eq!(written, expected);
    }
    assert_eq!(results.values(&["a"]).await, [Some("1".to_owned())]);
    assert_eq!(broker.buckets().await, []);
}
