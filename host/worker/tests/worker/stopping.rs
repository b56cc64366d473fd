//! How a worker stops (W5), and how what runs is cancelled (W7).

use std::time::Duration;

use stem_core::control::Command;
use stem_core::lookup::look_up;
use stem_core::queues::CancelMode;
use stem_core::state::State;
use stem_testkit::executor::{Gate, Step};
use stem_worker::{Shutdown, Summary};

use crate::bench::{BOUND, Bench, script};
use crate::rig::Rig;

// === shutdown ===

/// W5: asked to stop, a guest winds up; its envelope goes back uncharged.
#[tokio::test]
async fn a_graceful_shutdown_releases_what_stops_and_charges_nothing() {
    let bench = Bench::start(script([Step::until_asked()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.stop(Shutdown::Graceful).await;
    let status = stores
        .queues
        .find(&[id])
        .await
        .expect("the store answers")
        .remove(0);
    let status = status.expect("it lives");
    assert_eq!((status.state(), status.attempts), (State::Queued, 0));
}

/// W5: a second signal ends at once what does not listen.
#[tokio::test]
async fn a_second_signal_ends_what_does_not_listen() {
    let bench = Bench::start(script([Step::until_ended()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.shutdown.send_replace(Shutdown::Graceful);
    bench.stop(Shutdown::Now).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Queued);
}

/// W5: what is nearly done is not interrupted.
#[tokio::test]
async fn a_graceful_shutdown_waits_for_what_finishes_by_itself() {
    let gate = Gate::closed();
    let bench = Bench::start(script([Step::echo().after(&gate)]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let stores = bench.stores.clone();
    bench.shutdown.send_replace(Shutdown::Graceful);
    gate.open();
    bench.stop(Shutdown::Graceful).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Succeeded);
}

/// W5, B5: what a claim has leased when the signal comes is released in order.
#[tokio::test]
async fn a_shutdown_during_a_claim_gives_back_what_was_claimed() {
    let gate = Gate::closed();
    let script = script([Step::until_asked()]);
    let bench = Bench::start_rigged(Rig::holding_claims(&gate), script, |_| {}).await;
    let id = bench.enqueue(1).await[0];
    let stores = bench.stores.clone();
    while bench.state(id).await != State::Running {
        tokio::task::yield_now().await;
    }
    bench.shutdown.send_replace(Shutdown::Graceful);
    tokio::task::yield_now().await;
    gate.open();
    bench.stop(Shutdown::Graceful).await;
    let lookup = look_up(&stores, id)
        .await
        .expect("the store answers")
        .expect("it is known");
    assert_eq!(lookup.state, State::Queued);
}

#[tokio::test]
async fn a_draining_worker_stops_when_nothing_is_left() {
    let bench = Bench::start(script([Step::echo()]), |options| options.is_draining = true).await;
    let stopped = tokio::time::timeout(BOUND, bench.running).await;
    assert_eq!(
        stopped.expect("in time").expect("no panic"),
        Summary {
            succeeded: 0,
            failed: 0
        }
    );
}

/// W5: a store that does not answer keeps nobody from being asked to stop.
#[tokio::test]
async fn a_shutdown_asks_what_runs_also_while_a_claim_is_not_answered() {
    let gate = Gate::closed();
    let script = script([Step::until_asked()]);
    let bench = Bench::start_rigged(Rig::holding_later_claims(&gate), script, |_| {}).await;
    let first = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let second = bench.enqueue(1).await[0];
    while bench.state(second).await != State::Running {
        tokio::task::yield_now().await;
    }
    bench.shutdown.send_replace(Shutdown::Graceful);
    let released = async {
        while bench.state(first).await != State::Queued {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, released).await.expect("asked");
}

/// W5: nor from being ended by a second signal, and the worker with it.
#[tokio::test]
async fn a_second_signal_does_not_wait_for_a_claim_that_is_never_answered() {
    let gate = Gate::closed();
    let script = script([Step::until_ended()]);
    let bench = Bench::start_rigged(Rig::holding_later_claims(&gate), script, |_| {}).await;
    let first = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    let second = bench.enqueue(1).await[0];
    while bench.state(second).await != State::Running {
        tokio::task::yield_now().await;
    }
    let stores = bench.stores.clone();
    bench.shutdown.send_replace(Shutdown::Graceful);
    bench.stop(Shutdown::Now).await;
    let lookup = look_up(&stores, first).await;
    let lookup = lookup.expect("the store answers").expect("it is known");
    assert_eq!(lookup.state, State::Queued);
}

// === cancelling ===

/// W7: commands are heard while modules are compiled.
#[tokio::test]
async fn a_cancelling_does_not_wait_for_new_deployments() {
    let gate = Gate::closed();
    let rig = Rig::holding_refreshes(&gate);
    let bench = Bench::start_rigged(rig, script([Step::until_asked()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    bench.clock.asleep(2).await;
    bench.tell(Command::DeploymentsChanged).await;
    while bench.executor.refreshes() == 0 {
        tokio::task::yield_now().await;
    }
    bench.cancel(id, CancelMode::Ask).await;
    assert_eq!(bench.end(id).await.state, State::Cancelled);
}

/// W7
#[tokio::test]
async fn a_cancelled_envelope_that_runs_is_stopped_by_command() {
    let bench = Bench::start(script([Step::until_asked()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    bench.cancel(id, CancelMode::Ask).await;
    assert_eq!(bench.end(id).await.state, State::Cancelled);
}

/// W7, B3: where the command is missed, the next renewal tells it.
#[tokio::test]
async fn a_cancelled_envelope_that_runs_is_stopped_by_its_renewal() {
    let bench = Bench::start(script([Step::until_ended()]), |_| {}).await;
    let id = bench.enqueue(1).await[0];
    bench.executor.started(1).await;
    bench
        .stores
        .queues
        .cancel(&[id], CancelMode::Now)
        .await
        .expect("the store answers");
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.end(id).await.state, State::Cancelled);
}
