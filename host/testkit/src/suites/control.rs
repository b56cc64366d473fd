//! What the control channel promises: a command reaches every listener once, and a silent worker is shown as dead.

use std::time::Duration;

use stem_core::control::{
    COMMAND_LIFETIME, Command, Commands, DEAD_AFTER, FORGOTTEN_AFTER, Heartbeat, WorkerStatus,
};
use stem_core::ids::EnvelopeId;
use stem_core::queues::CancelMode;

use crate::builders::{heartbeat, worker_name};
use crate::fixture::Fixture;
use crate::process::{Process, SOON, within};

fn cancel() -> Command {
    Command::Cancel {
        id: EnvelopeId::new(),
        mode: CancelMode::Now,
    }
}

async fn broadcast(process: &Process, command: &Command) {
    let sent = process.stores.control.broadcast(command).await;
    sent.expect("the store answers");
}

/// The next commands, however many calls it takes until there are so many.
async fn hear(listener: &mut dyn Commands, number: usize) -> Vec<Command> {
    let hearing = async {
        let mut heard = Vec::new();
        while heard.len() < number {
            heard.extend(listener.next().await.expect("the store answers"));
        }
        heard
    };
    within(SOON, hearing).await
}

async fn beat(process: &Process, heartbeat: &Heartbeat) {
    let sent = process.stores.control.beat(heartbeat).await;
    sent.expect("the store answers");
}

async fn workers(process: &Process) -> Vec<WorkerStatus> {
    let workers = process.stores.control.workers().await;
    workers.expect("the store answers")
}

/// B12
pub async fn a_command_reaches_every_listener_once_and_in_order(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut listeners = [
        here.listen().await,
        there.listen().await,
        there.listen().await,
    ];
    let mut commands = vec![cancel(), Command::DeploymentsChanged, cancel()];
    for command in &commands {
        broadcast(&here, command).await;
    }
    for listener in &mut listeners {
        assert_eq!(hear(&mut **listener, 3).await, commands);
    }
    commands = vec![cancel()];
    broadcast(&there, &commands[0]).await;
    for listener in &mut listeners {
        assert_eq!(hear(&mut **listener, 1).await, commands);
    }
}

/// B12, W7: a cancellation with `now` ends an attempt within 100 ms, so it cannot wait for a poll.
pub async fn every_command_wakes_who_listens(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut listener = there.listen().await;
    let rounds = async {
        for _ in 0..20 {
            let command = cancel();
            let hearing = hear(&mut *listener, 1);
            let (heard, ()) = futures::join!(hearing, broadcast(&here, &command));
            assert_eq!(heard, [command]);
        }
    };
    within(Duration::from_secs(10), rounds).await;
}

/// B12
pub async fn who_listens_later_hears_nothing_of_before(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    broadcast(&here, &cancel()).await;
    let mut late = there.listen().await;
    let command = cancel();
    broadcast(&here, &command).await;
    assert_eq!(hear(&mut *late, 1).await, [command]);
}

/// L1
pub async fn a_command_expires(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut slow = here.listen().await;
    broadcast(&here, &cancel()).await;
    fixture.pass(COMMAND_LIFETIME).await;
    let command = cancel();
    broadcast(&here, &command).await;
    assert_eq!(hear(&mut *slow, 1).await, [command]);
}

/// B12: who waits for a command that does not come is not held for ever.
pub async fn listening_to_silence_ends_by_itself(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut listener = here.listen().await;
    let heard = within(Duration::from_secs(20), listener.next()).await;
    assert_eq!(heard.expect("the store answers"), []);
}

/// B14
pub async fn a_namespace_never_hears_the_commands_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    let (mut our_ear, mut their_ear) = (ours.listen().await, theirs.listen().await);
    let (our_word, their_word) = (cancel(), cancel());
    broadcast(&ours, &our_word).await;
    broadcast(&theirs, &their_word).await;
    assert_eq!(hear(&mut *their_ear, 1).await, [their_word]);
    assert_eq!(hear(&mut *our_ear, 1).await, [our_word]);
    beat(&ours, &heartbeat("worker-1")).await;
    assert_eq!(workers(&theirs).await, []);
}

/// W6
pub async fn workers_are_listed_by_name_with_their_last_heartbeat(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let (first, second) = (heartbeat("worker-1"), heartbeat("worker-2"));
    let before = here.stores.clock.now();
    beat(&here, &second).await;
    beat(&here, &first).await;
    let busier = Heartbeat {
        running: 60,
        ..second
    };
    beat(&here, &busier).await;
    let workers = workers(&there).await;
    let listed: Vec<_> = workers
        .iter()
        .map(|worker| worker.heartbeat.clone())
        .collect();
    assert_eq!(listed, [first, busier]);
    let now = here.stores.clock.now();
    assert!(
        workers
            .iter()
            .all(|worker| (before..=now).contains(&worker.seen_at))
    );
    assert!(workers.iter().all(|worker| !worker.is_dead));
}

/// W6
pub async fn a_worker_that_left_is_not_listed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    beat(&here, &heartbeat("worker-1")).await;
    for _ in 0..2 {
        let left = there.stores.control.leave(&worker_name("worker-1")).await;
        left.expect("the store answers");
        assert_eq!(workers(&here).await, []);
    }
    beat(&here, &heartbeat("worker-1")).await;
    assert_eq!(workers(&there).await.len(), 1);
}

/// W6
pub async fn a_worker_that_was_not_seen_is_dead_and_then_forgotten(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    beat(&here, &heartbeat("worker-1")).await;
    fixture.pass(DEAD_AFTER).await;
    assert!(!workers(&here).await[0].is_dead);
    fixture.pass(Duration::from_millis(1)).await;
    assert!(workers(&here).await[0].is_dead);
    beat(&here, &heartbeat("worker-1")).await;
    assert!(!workers(&here).await[0].is_dead);
    fixture
        .pass(FORGOTTEN_AFTER + Duration::from_millis(1))
        .await;
    assert_eq!(workers(&here).await, []);
}
