//! Networks that are slow, silent or closed: what is away is noticed, and used again when it is back.

use std::time::Duration;

use futures::future::join_all;
use futures::join;
use stem_core::broker::{Delivery, Renewal, Settled};
use stem_core::outcome::Settlement;
use stem_core::state::{EndState, State};
use stem_core::store_error::StoreErrorKind;
use stem_testkit::builders::{fence, half_way, publication, publications};
use stem_testkit::process::{Process, ROUNDS, within};

use crate::server::{BACK, Line, Server, Usable as _, publish_in_the_end};

const SECOND: Duration = Duration::from_secs(1);

/// B13: nobody says that it is gone.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_replaced() {
    let mut line = Line::start().await;
    line.far.timeout = SECOND;
    let (far, near) = line.processes().await;
    line.proxy.lose();
    let lost = far.stores.broker.publish(&[publication()]).await;
    let error = lost.expect_err("nothing arrives");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    publish_in_the_end(&far).await;
    assert_eq!(near.counts().await, [1, 0, 0, 0]);
}

/// Who listens to what is published, by the numbers of their connections.
fn listeners(server: &Server) -> Vec<String> {
    let clients: String = server.ask(&["CLIENT", "LIST", "TYPE", "PUBSUB"]);
    let number = |client: &str| client.split(' ').next().map(str::to_owned);
    clients.lines().filter_map(number).collect()
}

async fn until_somebody_else_listens(server: &Server, before: &[String]) {
    while listeners(server).iter().all(|one| before.contains(one)) {
        tokio::task::yield_now().await;
    }
}

/// Each publish wakes who waits over the network.
async fn assert_woken(here: &Process, there: &Process) {
    let mut wakeups = there.work().await;
    for _ in 0..ROUNDS.0 {
        let publication = publication();
        let waiting = there.next_delivery(&mut *wakeups);
        let (delivery, id) = join!(waiting, here.add(&publication));
        assert_eq!(delivery.receipt.id, id);
        there.settle(&delivery, Settlement::Ack).await;
    }
}

/// B6, B13: a subscription too, and who waits then hears of everything again.
#[tokio::test]
async fn a_half_open_subscription_is_replaced_and_who_waits_is_woken() {
    let mut line = Line::start().await;
    line.far.timeout = SECOND;
    let (far, near) = line.processes().await;
    let before = listeners(&line.server);
    line.proxy.lose();
    within(BACK, until_somebody_else_listens(&line.server, &before)).await;
    // The other connection was lost too.
    let claimed = far.try_claim(1).await;
    claimed.expect_err("nothing arrives");
    within(ROUNDS.1, assert_woken(&near, &far)).await;
}

/// Renews and reports for longer than a lease lasts.
async fn hold(process: &Process, delivery: &Delivery) {
    for _ in 0..12 {
        assert_eq!(process.renew(delivery, SECOND).await, Renewal::Held);
        let progress = half_way(&*process.stores.clock);
        process.save_progress(&fence(delivery), &progress).await;
    }
}

/// B3, R3
#[tokio::test]
async fn a_slow_network_carries_a_whole_life() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    line.proxy.set_latency(Duration::from_millis(30));
    let mut wakeups = far.work().await;
    let publication = publication();
    let waiting = far.next_delivery(&mut *wakeups);
    let (delivery, id) = join!(waiting, near.add(&publication));
    hold(&far, &delivery).await;
    let (lookup, settled) = join!(near.wait(id), far.end(&delivery, EndState::Succeeded));
    assert_eq!(settled, Settled::Done);
    let lookup = lookup.map(|lookup| lookup.state);
    assert_eq!(lookup, Some(State::Succeeded));
}

/// Three callers who ask again and again.
async fn ask_for_ever(process: &Process) {
    loop {
        let batches = [[publication()], [publication()], [publication()]];
        let asking = batches
            .each_ref()
            .map(|batch| process.stores.broker.publish(batch));
        join_all(asking).await;
    }
}

/// B13: however many ask, and however often.
#[tokio::test]
async fn a_server_that_refuses_is_not_asked_all_the_time() {
    let line = Line::start().await;
    let (far, _) = line.processes().await;
    line.proxy.set_refusing(true);
    line.proxy.cut();
    let before = line.proxy.connections();
    let asked = tokio::time::timeout(Duration::from_secs(2), ask_for_ever(&far)).await;
    asked.expect_err("they ask for ever");
    let tries = line.proxy.connections() - before;
    assert!((4..=40).contains(&tries), "{tries} tries");
    line.proxy.set_refusing(false);
    publish_in_the_end(&far).await;
}

/// Publishes as so many callers at once, none of whom is heard.
async fn fail_to_publish(process: &Process, number: usize) {
    let batch = publications(number);
    let publishing = batch
        .chunks(1)
        .map(|one| process.stores.broker.publish(one));
    for refused in join_all(publishing).await {
        let error = refused.expect_err("nothing arrives");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
}

/// B13: whoever asks has an answer in the time that a command may take, also while nobody can connect.
#[tokio::test]
async fn a_timeout_holds_however_many_wait_for_one_connection() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let mut line = Line::start().await;
    line.far.timeout = TIMEOUT;
    let (far, _) = line.processes().await;
    line.proxy.pause();
    line.proxy.cut();
    within(TIMEOUT * 20, fail_to_publish(&far, 60)).await;
    line.proxy.resume();
    publish_in_the_end(&far).await;
}

/// B13: all who wait for a connection are told when it cannot be made, and none of them tries for itself.
#[tokio::test]
async fn a_failure_to_connect_is_told_to_all_who_wait() {
    let line = Line::start().await;
    let (far, _) = line.processes().await;
    line.proxy.set_refusing(true);
    line.proxy.cut();
    let before = line.proxy.connections();
    within(BACK, fail_to_publish(&far, 100)).await;
    let tries = line.proxy.connections() - before;
    assert!(tries <= 10, "{tries} tries");
}
