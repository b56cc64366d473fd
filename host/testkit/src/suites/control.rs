//! What the control channel promises: a command reaches every listener once, and a silent worker is shown as dead.

use std::time::Duration;

use futures::join;
use stem_core::control::{COMMAND_LIFETIME, Command, DEAD_AFTER, FORGOTTEN_AFTER, Heartbeat};
use stem_core::ids::EnvelopeId;
use stem_core::queues::CancelMode;

use crate::builders::heartbeat;
use crate::fixture::Fixture;
use crate::process::{Listener, Process, ROUNDS, within};

fn cancel() -> Command {
    Command::Cancel {
        id: EnvelopeId::new(),
        mode: CancelMode::Now,
    }
}

async fn listeners(processes: [&Process; 3]) -> [Listener; 3] {
    let [first, second, third] = processes;
    [
        first.listen().await,
        second.listen().await,
        third.listen().await,
    ]
}

/// B12
pub async fn a_command_reaches_every_listener_once_and_in_order(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut listeners = listeners([&here, &there, &there]).await;
    for batch in [
        vec![cancel(), Command::DeploymentsChanged, cancel()],
        vec![cancel()],
    ] {
        for command in &batch {
            here.broadcast(command).await;
        }
        for listener in &mut listeners {
            assert_eq!(listener.hear(batch.len()).await, batch);
        }
    }
}

/// B12, W7: `cancel --now` ends an attempt within 100 ms, so it cannot wait for a poll.
pub async fn every_command_wakes_who_listens(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut listener = there.listen().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            let command = cancel();
            let (heard, ()) = join!(listener.hear(1), here.broadcast(&command));
            assert_eq!(heard, [command]);
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// B12
pub async fn who_listens_later_hears_nothing_of_before(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.broadcast(&cancel()).await;
    let mut late = there.listen().await;
    let command = cancel();
    here.broadcast(&command).await;
    assert_eq!(late.hear(1).await, [command]);
}

/// L1
pub async fn a_command_expires(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut slow = here.listen().await;
    here.broadcast(&cancel()).await;
    fixture.pass(COMMAND_LIFETIME).await;
    let command = cancel();
    here.broadcast(&command).await;
    assert_eq!(slow.hear(1).await, [command]);
}

/// B12: who waits for a command that does not come is not held for ever.
pub async fn listening_to_silence_ends_by_itself(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut listener = here.listen().await;
    let heard = within(Duration::from_secs(20), listener.next()).await;
    assert_eq!(heard, []);
}

/// B14
pub async fn a_namespace_never_hears_the_commands_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    let (mut our_ear, mut their_ear) = (ours.listen().await, theirs.listen().await);
    let (our_word, their_word) = (cancel(), cancel());
    ours.broadcast(&our_word).await;
    theirs.broadcast(&their_word).await;
    assert_eq!(their_ear.hear(1).await, [their_word]);
    assert_eq!(our_ear.hear(1).await, [our_word]);
    ours.beat(&heartbeat("worker-1")).await;
    assert_eq!(theirs.workers().await, []);
}

/// W6
pub async fn workers_are_listed_by_name_with_their_last_heartbeat(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let (first, idle) = (heartbeat("worker-1"), heartbeat("worker-2"));
    let busy = Heartbeat {
        running: 60,
        ..idle.clone()
    };
    for heartbeat in [&idle, &first, &busy] {
        here.beat(heartbeat).await;
    }
    let workers = there.workers().await;
    let beats = workers.iter().map(|worker| &worker.heartbeat);
    assert!(beats.eq([&first, &busy]));
}

/// W6, B16
pub async fn a_worker_is_seen_by_the_stores_clock(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let before = here.stores.clock.now();
    here.beat(&heartbeat("worker-1")).await;
    let seen_at = here.workers().await[0].seen_at;
    assert!((before..=here.stores.clock.now()).contains(&seen_at));
    assert!(!here.workers().await[0].is_dead);
}

/// W6
pub async fn a_worker_that_left_is_not_listed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.beat(&heartbeat("worker-1")).await;
    for _ in 0..2 {
        there.leave("worker-1").await;
        assert_eq!(here.workers().await, []);
    }
    here.beat(&heartbeat("worker-1")).await;
    assert_eq!(there.workers().await.len(), 1);
}

/// W6
pub async fn a_worker_that_was_not_seen_is_dead_and_then_forgotten(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (heartbeat, moment) = (heartbeat("worker-1"), Duration::from_millis(1));
    for _ in 0..2 {
        here.beat(&heartbeat).await;
        fixture.pass(DEAD_AFTER).await;
        assert!(!here.workers().await[0].is_dead);
        fixture.pass(moment).await;
        assert!(here.workers().await[0].is_dead);
    }
    fixture.pass(FORGOTTEN_AFTER).await;
    assert_eq!(here.workers().await, []);
}
