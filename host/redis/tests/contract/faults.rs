//! What a store survives: scripts that are forgotten, a server that dies, pauses, or comes back empty.

use std::time::Duration;

use stem_core::broker::{Settled, Wakeups};
use stem_core::control::Command;
use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_core::store_error::StoreErrorKind;
use stem_testkit::builders::{publication, publications};
use stem_testkit::process::{Process, within};

use crate::load::Load;
use crate::server::{BACK, DURABLE, Server, Usable as _, process, publish_in_the_end};

/// B13: a server knows no script for ever.
#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let server = Server::start(&DURABLE);
    let here = process("here", &server.options()).await;
    here.add(&publication()).await;
    let () = server.ask(&["SCRIPT", "FLUSH"]);
    let delivery = here.claim_one().await;
    let () = server.ask(&["SCRIPT", "FLUSH"]);
    let settled = here.end(&delivery, EndState::Succeeded).await;
    assert_eq!(settled, Settled::Done);
}

/// B1, B13: what was published, claimed and recorded is there again, and workers go on by themselves.
#[tokio::test]
async fn a_server_that_was_killed_loses_nothing() {
    let mut server = Server::start(&DURABLE);
    let here = process("here", &server.options()).await;
    here.add_all(&publications(3)).await;
    let ended = here.end_next(EndState::Succeeded).await;
    let held = here.claim_one().await;
    server.restart();
    publish_in_the_end(&here).await;
    assert_eq!(here.counts().await, [2, 0, 1, 0]);
    assert_eq!(here.settle(&held, Settlement::Ack).await, Settled::Done);
    let id = ended.receipt.id;
    assert_eq!(here.recorded_end(id).await, Some(EndState::Succeeded));
}

/// B1, B5, B13, R2: under load, again and again; all is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_nothing_that_it_acknowledged() {
    let mut server = Server::start(&DURABLE);
    let options = server.options();
    let observer = process("observer", &options).await;
    let load = Load::begin(&options).await;
    for _ in 0..5 {
        load.progress(50).await;
        tokio::task::block_in_place(|| server.restart());
    }
    publish_in_the_end(&observer).await;
    load.finish(&observer).await;
}

/// Claims one, as a worker does that waits in between and tries again what fails.
pub async fn claim_in_the_end(process: &Process, wakeups: &mut dyn Wakeups) {
    let claimed = async {
        while process.try_claim(1).await.unwrap_or_default().is_empty() {
            let _ = wakeups.next().await;
        }
    };
    within(BACK, claimed).await;
}

/// B13
#[tokio::test]
async fn who_waits_while_the_server_is_restarted_is_woken_afterwards() {
    let mut server = Server::start(&DURABLE);
    let options = server.options();
    let here = process("here", &options).await;
    let there = process("there", &options).await;
    let mut wakeups = there.work().await;
    server.restart();
    publish_in_the_end(&here).await;
    claim_in_the_end(&there, &mut *wakeups).await;
}

/// B13: a worker that had something then loses it, and goes on.
#[tokio::test]
async fn a_server_that_comes_back_empty_is_used_as_it_is() {
    let mut server = Server::start(&DURABLE);
    let here = process("here", &server.options()).await;
    here.add_all(&publications(2)).await;
    let held = here.claim_one().await;
    server.restart_empty();
    publish_in_the_end(&here).await;
    assert_eq!(here.settle(&held, Settlement::Ack).await, Settled::Lost);
    assert_eq!(here.counts().await, [1, 0, 0, 0]);
}

/// B12, B13: commands have the time as their number, which no server forgets.
#[tokio::test]
async fn commands_are_heard_after_a_server_came_back_empty() {
    let mut server = Server::start(&DURABLE);
    let here = process("here", &server.options()).await;
    let mut listener = here.listen().await;
    for _ in 0..5 {
        here.broadcast(&Command::DeploymentsChanged).await;
    }
    listener.hear(5).await;
    server.restart_empty();
    publish_in_the_end(&here).await;
    here.broadcast(&Command::DeploymentsChanged).await;
    assert_eq!(listener.hear(1).await.len(), 1);
}

/// B12, B13: also where it remembers older ones, and none is heard twice.
#[tokio::test]
async fn commands_are_heard_after_a_server_came_back_with_an_older_copy() {
    let mut server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    let mut listener = here.listen().await;
    here.broadcast(&Command::DeploymentsChanged).await;
    let () = server.ask(&["SAVE"]);
    for _ in 0..5 {
        here.broadcast(&Command::DeploymentsChanged).await;
    }
    listener.hear(6).await;
    server.restart();
    publish_in_the_end(&here).await;
    here.broadcast(&Command::DeploymentsChanged).await;
    assert_eq!(listener.hear(1).await.len(), 1);
}

/// B13: every command has its time.
#[tokio::test]
async fn a_server_that_does_not_answer_is_away() {
    let server = Server::start(&DURABLE);
    let mut options = server.options();
    options.timeout = Duration::from_millis(200);
    let here = process("here", &options).await;
    let () = server.ask(&["CLIENT", "PAUSE", "1000"]);
    let refused = here.stores.broker.publish(&[publication()]).await;
    let error = refused.expect_err("the server is paused");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    publish_in_the_end(&here).await;
}

/// Publishes until it is refused.
async fn fill(process: &Process) -> StoreErrorKind {
    loop {
        let published = process.stores.broker.publish(&publications(200)).await;
        if let Err(error) = published {
            return error.kind();
        }
    }
}

/// B9, B13: publishing stops before the server is full, and what drains it goes on.
#[tokio::test]
async fn a_full_server_refuses_publishing_and_still_drains() {
    let server = Server::start(&["--save", "", "--maxmemory", "8mb"]);
    let here = process("here", &server.options()).await;
    assert_eq!(fill(&here).await, StoreErrorKind::Full);
    let deliveries = here.claim(10_000).await;
    assert!(deliveries.len() >= 1_000);
    for delivery in &deliveries {
        let settled = here.settle(delivery, Settlement::Ack).await;
        assert_eq!(settled, Settled::Done);
    }
    publish_in_the_end(&here).await;
}
