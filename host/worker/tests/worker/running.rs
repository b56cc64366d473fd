//! What a worker does while it runs: slots, leases, retries, heartbeats, deployments.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stem_core::broker::Settling;
use stem_core::control::Command;
use stem_core::executor::{Execution, Run};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{Failure, FailureKind, Outcome};
use stem_core::policy::TaskPolicy;
use stem_core::state::State;
use stem_core::store_error::StoreErrorKind;
use stem_testkit::executor::{Gate, Step};
use stem_worker::{Shutdown, Summary};

use crate::bench::{BOUND, Bench, script};
use crate::rig::{Call, Rig};

/// B1, R3
#[tokio::test]
async fn envelopes_are_run_and_their_results_come_back() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    for id in bench.enqueue(20).await {
        assert_eq!(bench.end(id).await.state, State::Succeeded);
    }
    let summary = bench.stop(Shutdown::Graceful).await;
    assert_eq!(
        summary,
        Summary {
            succeeded: 20,
            failed: 0
        }
    );
}

/// B2: a worker holds no more than its slots.
#[tokio::test]
async fn a_worker_claims_no_more_than_its_free_slots() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |options| {
        options.slots = 2
    })
    .await;
    let ids = bench.enqueue(5).await;
    bench.executor.started(2).await;
    let queues = bench
        .stores
        .queues
        .queues()
        .await
        .expect("the store answers");
    assert_eq!((queues[0].running, queues[0].queued), (2, 3));
    gate.open();
    for id in ids {
        bench.end(id).await;
    }
}

/// B3: leases are renewed from outside, however long the task runs.
#[tokio::test]
async fn a_task_that_outlasts_its_lease_keeps_it() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    for _ in 0..20 {
        bench.clock.advance(Duration::from_millis(2_500));
        // Renewed every 5 s, a lease of 15 s has never less than half of it left.
        while bench.lease_left(id).await < Duration::from_millis(7_500) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.state(id).await, State::Running);
    gate.open();
    assert_eq!(
        bench.end(id).await.record.expect("a record").attempts[0].delivery,
        1
    );
}

/// B3: a renewal that fails is tried again long before the next one is due.
#[tokio::test]
async fn a_renewal_that_fails_is_tried_again() {
    let failures = AtomicU32::new(3);
    let rig = Rig::failing(move |call| match call {
        Call::Renew => failures
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .map_or(None, |_| Some(StoreErrorKind::Unavailable)),
        Call::Publish | Call::Settle(_) => None,
    });
    let bench = Bench::start_rigged(rig, script([Step::until_ended()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    bench.clock.asleep(2).await;
    bench.clock.advance(Duration::from_secs(5));
    let renewed = async {
        while bench.lease_left(id).await < Duration::from_secs(15) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, renewed).await.expect("renewed");
}

/// A guest that says that it waits for a core, again and again, until the gate is open.
fn crowded(gate: &Gate) -> Step {
    let crowded = |run: Run, gate: Gate| async move {
        while futures::poll!(std::pin::pin!(gate.passed())).is_pending() {
            run.context.waited(Duration::from_millis(101));
            tokio::task::yield_now().await;
        }
        Ok(Execution::ended(Outcome::Cancelled))
    };
    let gate = gate.clone();
    Step::call(move |run| crowded(run, gate.clone()))
}

/// W2: when guests wait more than 100 ms for a core the worker claims no more until they do not.
#[tokio::test]
async fn a_worker_whose_guests_wait_for_a_core_claims_no_more_until_they_do_not() {
    let gate = Gate::closed();
    let script = script([crowded(&gate), Step::echo()]);
    let bench = Bench::start(script, |options| options.threads = 2).await;
    bench.enqueue(1).await;
    let claiming_ends = async {
        loop {
            let id = bench.enqueue(1).await[0];
            let soon = Duration::from_millis(300);
            if tokio::time::timeout(soon, bench.end(id)).await.is_err() {
                return id;
            }
        }
    };
    let unclaimed = tokio::time::timeout(BOUND, claiming_ends).await;
    let unclaimed = unclaimed.expect("it claims no more");
    assert_eq!(bench.state(unclaimed).await, State::Queued);
    gate.open();
    assert_eq!(bench.end(unclaimed).await.state, State::Succeeded);
}

/// W4, B6
#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_when_its_delay_is_over() {
    let kind = FailureKind::Returned {
        code: "busy".to_owned(),
        details: Vec::new(),
    };
    let fail = Step::end(Outcome::Failed(Failure::retryable(kind, "busy")));
    let bench = Bench::start(script([fail, Step::echo()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    while bench.state(id).await != State::Retrying {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(TaskPolicy::default().retry.cap);
    let attempts = bench.end(id).await.record.expect("a record").attempts;
    assert_eq!(
        attempts
            .iter()
            .map(|attempt| attempt.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

/// W6
#[tokio::test]
async fn a_worker_is_listed_while_it_runs_and_gone_when_it_has_left() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    bench.end(bench.enqueue(1).await[0]).await;
    bench.clock.asleep(2).await;
    let workers = bench
        .stores
        .control
        .workers()
        .await
        .expect("the store answers");
    assert_eq!(workers[0].heartbeat.worker.as_str(), "w1");
    assert!(!workers[0].is_dead);
    let stores = bench.stores.clone();
    bench.stop(Shutdown::Graceful).await;
    assert_eq!(
        stores.control.workers().await.expect("the store answers"),
        []
    );
}

/// M3: a worker that is told of new deployments looks at once.
#[tokio::test]
async fn a_command_makes_the_executor_look_for_deployments() {
    let bench = Bench::start(script([Step::echo()]), |_| {}).await;
    bench.end(bench.enqueue(1).await[0]).await;
    bench.clock.asleep(2).await;
    bench.tell(Command::DeploymentsChanged).await;
    let looked = async {
        while bench.executor.refreshes() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, looked)
        .await
        .expect("it looks in time");
}

/// M3: also while what it was told of before is still being compiled.
#[tokio::test]
async fn a_second_command_to_look_is_not_held_up_by_the_first() {
    let gate = Gate::closed();
    let rig = Rig::holding_refreshes(&gate);
    let bench = Bench::start_rigged(rig, script([Step::echo()]), |_| {}).await;
    bench.end(bench.enqueue(1).await[0]).await;
    bench.clock.asleep(2).await;
    for looks in 1..=2 {
        bench.tell(Command::DeploymentsChanged).await;
        let looked = async {
            while bench.executor.refreshes() < looks {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(BOUND, looked).await;
        waited.expect("it looks in time");
    }
}

// === settling ===

/// B13: an envelope that cannot be settled holds up none that ended with it.
#[tokio::test]
async fn what_cannot_be_settled_holds_up_no_neighbour() {
    let gate = Gate::closed();
    let sick: Arc<OnceLock<EnvelopeId>> = Arc::default();
    let refused = Arc::clone(&sick);
    let rig = Rig::failing(move |call| match call {
        Call::Settle(batch) => {
            let is_sick = |one: &Settling| Some(&one.receipt.id) == refused.get();
            batch
                .iter()
                .any(is_sick)
                .then_some(StoreErrorKind::Unreadable)
        }
        Call::Publish | Call::Renew => None,
    });
    let bench = Bench::start_rigged(rig, script([Step::echo().after(&gate)]), |_| {}).await;
    let ids = bench.enqueue(4).await;
    sick.set(ids[1]).expect("set once");
    bench.executor.started(4).await;
    gate.open();
    for id in [ids[0], ids[2], ids[3]] {
        assert_eq!(bench.end(id).await.state, State::Succeeded);
    }
}
