//! What lies on the server: nothing more than is needed, and no more than it should be (R4).

use std::collections::HashMap;
use std::time::Duration;

use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_redis::{Options, Store};
use stem_testkit::builders::{fence, half_way, publications, urgent};
use stem_testkit::process::Process;

use crate::server::{Server, Usable as _};

async fn on(server: &Server) -> Process {
    named(&server.options(), "here").await
}

/// The keys of a server, behind their namespace.
fn keys(server: &Server) -> Vec<String> {
    // Ids are bytes that are no text.
    let keys: Vec<Vec<u8>> = server.ask(&["KEYS", "*"]);
    let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
    let behind = |key: String| key.split_once("}:").map(|(_, key)| key.to_owned());
    keys.into_iter().map(text).filter_map(behind).collect()
}

/// The one lane that there is, with its namespace.
fn lane(server: &Server) -> String {
    let mut lanes: Vec<String> = server.ask(&["KEYS", "*}:lane:*"]);
    assert_eq!(lanes.len(), 1);
    lanes.remove(0)
}

/// What begins with this.
fn count(keys: &[String], beginning: &str) -> usize {
    keys.iter().filter(|key| key.starts_with(beginning)).count()
}

/// R4: all that is left of what has ended is its record, and that has a lifetime.
#[tokio::test]
async fn what_has_ended_leaves_its_record_alone() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(20)).await;
    for delivery in here.claim(20).await {
        let progress = half_way(&*here.stores.clock);
        here.save_progress(&fence(&delivery), &progress).await;
        here.end(&delivery, EndState::Succeeded).await;
    }
    here.sweep().await;
    let mut left = keys(&server);
    left.retain(|key| !key.starts_with("r:") && !key.starts_with("usage:"));
    left.sort();
    assert_eq!(left, ["hours", "seq"]);
}

/// R4: lanes, groups and consumers go with what lay in them, however it ended.
#[tokio::test]
async fn a_lane_goes_with_its_content() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    for round in 0..10 {
        here.add(&urgent(round)).await;
        here.settle_next(Settlement::Release).await;
        assert_eq!(count(&keys(&server), "lane:"), 1);
        let delivery = here.claim_one().await;
        here.end(&delivery, EndState::Failed).await;
    }
    let left = keys(&server);
    assert_eq!(count(&left, "lane"), 0, "{left:?}");
    assert_eq!(count(&left, "leased"), 0, "{left:?}");
}

/// B9, R4: what nobody has read stays, and what was acknowledged does not.
#[tokio::test]
async fn a_busy_lane_keeps_only_what_is_not_settled() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(500)).await;
    for delivery in here.claim(400).await {
        here.settle(&delivery, Settlement::Ack).await;
    }
    let left = keys(&server);
    assert_eq!(server.ask::<usize>(&["XLEN", &lane(&server)]), 100);
    assert_eq!(count(&left, "e:"), 100);
}

/// R4: a waiting envelope takes no more than 600 bytes beside its payload.
#[tokio::test]
async fn a_waiting_envelope_takes_little() {
    const NUMBER: usize = 10_000;
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    // The first ones make what all the others use.
    here.add_all(&publications(100)).await;
    let before = used(&server);
    let batch = publications(NUMBER);
    let payload = r#"{"text":"a b a"}"#.len();
    here.add_all(&batch).await;
    let each = (used(&server) - before) / NUMBER;
    assert!(each <= 600 + payload, "{each} bytes");
}

fn used(server: &Server) -> usize {
    let text: String = server.ask(&["INFO", "memory"]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("it is said").parse().expect("a number")
}

const SHORT: Duration = Duration::from_millis(100);

/// One worker loses an envelope, and another takes it.
async fn take_over(dead: &Process, living: &Process) {
    let lost = dead.claim_for(SHORT).await;
    tokio::time::sleep(SHORT).await;
    let taken = living.claim_one().await;
    assert_eq!(taken.receipt.id, lost.receipt.id);
}

/// B3: nothing that is pending goes with a consumer, and a consumer that nobody needs goes.
#[tokio::test]
async fn a_dead_workers_consumer_goes_when_all_of_it_was_taken_over() {
    let server = Server::start(&["--save", ""]);
    let options = server.options();
    let [dead, living] = ["dead", "living"].map(|name| named(&options, name));
    let (dead, living) = (dead.await, living.await);
    dead.add_all(&publications(3)).await;
    let held = dead.claim_one().await;
    take_over(&dead, &living).await;
    assert_eq!(consumers(&server), ["dead", "living", "~"]);
    dead.settle(&held, Settlement::Ack).await;
    take_over(&dead, &living).await;
    assert_eq!(consumers(&server), ["living", "~"]);
}

async fn named(options: &Options, name: &str) -> Process {
    let store = Store::open(options.clone()).await.expect("a store opens");
    Process::named(name, store.stores())
}

fn consumers(server: &Server) -> Vec<String> {
    let about: Vec<HashMap<String, redis::Value>> =
        server.ask(&["XINFO", "CONSUMERS", &lane(server), "workers"]);
    let name = |consumer: HashMap<String, redis::Value>| {
        redis::from_redis_value(consumer["name"].clone()).expect("a name")
    };
    let mut names: Vec<String> = about.into_iter().map(name).collect();
    names.sort();
    names
}
