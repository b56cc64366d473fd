//! Servers that stand still for a while, and clients whose clocks are wrong: only the server's time counts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{Delivery, Renewal, Settled};
use stem_core::clock::{Clock, SystemClock, Timestamp};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::record::Report;
use stem_core::state::{EndState, State};
use stem_core::store_error::StoreErrorKind;
use stem_testkit::builders::{delayed, ended, first_fence, heartbeat, publication, publications};
use stem_testkit::process::{Process, within};

use crate::load::Load;
use crate::server::{BACK, DURABLE, Server, Usable as _, process};

const LEASE: Duration = Duration::from_millis(300);
/// Longer than any lease here.
const TIMEOUT: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Stops the server until a command has taken too long and every lease has ended, and lets it go on.
async fn stand_still(server: &Server, process: &Process) {
    server.pause();
    let asked = process.stores.queues.queues().await;
    let error = asked.expect_err("the server stands still");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    server.resume();
}

async fn claim_in_the_end(process: &Process, number: usize) -> Vec<Delivery> {
    let mut wakeups = process.work().await;
    let mut claimed = Vec::new();
    while claimed.len() < number {
        claimed.push(within(BACK, process.next_delivery(&mut *wakeups)).await);
    }
    claimed
}

async fn in_haste(server: &Server, names: [&str; 2]) -> [Process; 2] {
    let mut options = server.options();
    options.timeout = TIMEOUT;
    let [first, second] = names.map(|name| process(name, &options));
    [first.await, second.await]
}

/// B1, B3, B4, B5, B13: its worker has lost it, once, and no attempt is charged.
#[tokio::test]
async fn what_was_leased_while_the_server_stood_still_is_rescued_once() {
    let server = Server::start(&DURABLE);
    let [here, there] = in_haste(&server, ["here", "there"]).await;
    here.add_all(&publications(3)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(here.claim_for(LEASE).await);
    }
    stand_still(&server, &here).await;
    for (rescued, lost) in claim_in_the_end(&there, 3).await.iter().zip(&held) {
        assert_eq!((rescued.losses, rescued.attempts), (1, 0));
        assert_eq!(here.renew(lost, LEASE).await, Renewal::Lost);
        assert_eq!(here.end(lost, EndState::Failed).await, Settled::Lost);
    }
    assert_eq!(there.counts().await, [0, 0, 3, 0]);
}

/// B1, B13, R2: who works then goes on, and all is counted.
#[tokio::test]
async fn a_server_that_stands_still_again_and_again_loses_nothing() {
    let server = Server::start(&DURABLE);
    let mut options = server.options();
    options.timeout = TIMEOUT;
    let observer = process("observer", &options).await;
    let load = Load::begin(&options).await;
    for _ in 0..3 {
        load.progress(50).await;
        stand_still(&server, &process("witness", &options).await).await;
    }
    load.finish(&observer).await;
}

/// A clock that is an hour ahead, or an hour behind.
#[derive(Debug)]
struct Wrong {
    clock: Arc<dyn Clock>,
    is_ahead: bool,
}

#[async_trait]
impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        match self.is_ahead {
            true => self.clock.now() + HOUR,
            false => self.clock.now() - HOUR,
        }
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.clock.sleep(at.since(self.now())).await;
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
}

/// A process whose clock is wrong, and one whose clock is the server's.
async fn two_clocks(server: &Server, is_ahead: bool) -> (Process, Process) {
    let right = server.options();
    let mut wrong = right.clone();
    wrong.clock = Arc::new(Wrong {
        clock: SystemClock::shared(),
        is_ahead,
    });
    (
        process("wrong", &wrong).await,
        process("right", &right).await,
    )
}

/// B6, B16
#[tokio::test]
async fn a_wrong_clock_of_a_client_moves_no_due_time() {
    for is_ahead in [true, false] {
        let server = Server::start(&DURABLE);
        let (wrong, right) = two_clocks(&server, is_ahead).await;
        let begun = right.stores.clock.now();
        let id = wrong.add(&delayed(LEASE)).await;
        let first = claim_in_the_end(&right, 1).await.remove(0);
        assert_eq!(first.receipt.id, id);
        assert!(first.claimed_at >= begun + LEASE);
        wrong.settle(&first, Settlement::Retry(LEASE)).await;
        let second = claim_in_the_end(&wrong, 1).await.remove(0);
        assert!(second.claimed_at >= first.claimed_at + LEASE);
        assert!(second.claimed_at <= right.stores.clock.now());
    }
}

/// B3, B16
#[tokio::test]
async fn a_wrong_clock_of_a_client_moves_no_lease() {
    for is_ahead in [true, false] {
        let server = Server::start(&DURABLE);
        let (wrong, right) = two_clocks(&server, is_ahead).await;
        wrong.add(&publication()).await;
        let held = wrong.claim_for(LEASE).await;
        assert_eq!(wrong.renew(&held, LEASE * 2).await, Renewal::Held);
        let rescued = claim_in_the_end(&right, 1).await.remove(0);
        assert_eq!(rescued.losses, 1);
        assert!(rescued.claimed_at >= held.claimed_at + LEASE * 2);
        assert_eq!(wrong.renew(&held, LEASE).await, Renewal::Lost);
    }
}

async fn gone(process: &Process, id: EnvelopeId) {
    while process.record(id).await.is_some() {
        tokio::task::yield_now().await;
    }
}

fn kept_for(retention: Duration) -> Report {
    Report {
        retention,
        ..ended(&first_fence(), EndState::Succeeded)
    }
}

/// R4, W6, B16
#[tokio::test]
async fn a_wrong_clock_of_a_client_moves_no_expiry_and_no_heartbeat() {
    for is_ahead in [true, false] {
        let server = Server::start(&DURABLE);
        let (wrong, right) = two_clocks(&server, is_ahead).await;
        let [short, long] = [LEASE, HOUR / 2].map(kept_for);
        wrong.report(&short).await;
        wrong.report(&long).await;
        within(BACK, gone(&wrong, short.id)).await;
        assert!(wrong.record(long.id).await.is_some());
        wrong.beat(&heartbeat("worker-1")).await;
        assert!(!wrong.workers().await[0].is_dead);
        assert!(right.workers().await[0].seen_at <= right.stores.clock.now());
    }
}

/// B16: also what is only shown.
#[tokio::test]
async fn a_wrong_clock_of_a_client_shows_the_same_states() {
    for is_ahead in [true, false] {
        let server = Server::start(&DURABLE);
        let (wrong, _) = two_clocks(&server, is_ahead).await;
        let held = wrong.add(&delayed(HOUR / 2)).await;
        assert_eq!(wrong.state(held).await, Some(State::Scheduled));
        let running = wrong.add(&publication()).await;
        wrong.claim_one().await;
        assert_eq!(wrong.state(running).await, Some(State::Running));
        assert_eq!(wrong.counts().await, [0, 1, 1, 0]);
    }
}
