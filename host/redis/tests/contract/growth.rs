//! Nothing on the server grows for ever, and no question is answered by looking at everything there (R4).

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use stem_core::broker::Wakeups;
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::names::Namespace;
use stem_core::state::EndState;
use stem_testkit::builders::{
    DAY, delayed, ending, publications, queue_name, queued_in, worker_name,
};
use stem_testkit::process::{LONG, Process};

use crate::life::live;
use crate::moved::Moved;
use crate::server::{Server, Usable as _, keys, process};

/// R4: of a life with dead workers, broadcasts, buckets, dead letters and deployments, however often it is lived.
#[tokio::test]
async fn nothing_is_left_of_what_is_long_over_but_counters() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    for _ in 0..3 {
        live(&here, &there, async |time| moved.clock.advance(time)).await;
    }
    for _ in 0..2 {
        moved.clock.advance(DAY * 32);
        here.sweep().await;
    }
    let mut left = keys(&moved.server);
    left.sort();
    assert_eq!(left, ["hours", "newest", "revision", "seq"]);
}

/// R4: from its first moment, so that no kill in between can leave it for ever.
#[tokio::test]
async fn what_goes_by_itself_has_a_lifetime() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    live(&here, &there, async |time| moved.clock.advance(time)).await;
    let all: Vec<Vec<u8>> = moved.server.ask(&["KEYS", "*"]);
    assert!(all.len() > 10, "{all:?}");
    for key in &all {
        let name = String::from_utf8_lossy(key).into_owned();
        let (_, name) = name.split_once("}:").expect("a namespace");
        let goes_by_itself = ["c:", "r:", "k:", "m:", "usage:", "commands"];
        if goes_by_itself.iter().any(|start| name.starts_with(start)) {
            assert!(lifetime(&moved.server, key) > 0, "{name}");
        }
    }
}

/// In milliseconds; less than nothing where there is none.
fn lifetime(server: &Server, key: &[u8]) -> i64 {
    let client = redis::Client::open(server.url()).expect("a good URL");
    let mut connection = client.get_connection().expect("the server runs");
    let asked = redis::cmd("PTTL").arg(key).query(&mut connection);
    asked.expect("the server answers")
}

/// Whatever is asked, by whoever: the server holds more than this namespace.
#[tokio::test]
async fn no_question_looks_at_every_key() {
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    live(&here, &there, async |time| moved.clock.advance(time)).await;
    let calls = moved.server.calls();
    assert!(calls["evalsha"] > 50, "{calls:?}");
    for name in ["keys", "scan", "randomkey", "dbsize", "flushdb"] {
        assert_eq!(calls.get(name), None, "{calls:?}");
    }
}

fn sum(calls: &BTreeMap<String, u64>) -> u64 {
    calls.values().sum()
}

/// How many commands a page of dead letters takes.
async fn cost_of_a_page(server: &Server, process: &Process) -> u64 {
    let page = Page {
        after: None,
        limit: 10,
        is_oldest_first: false,
    };
    let before = sum(&server.calls());
    let letters = process.dead_page(&DeadFilter::default(), &page).await;
    assert_eq!(letters.len(), 10);
    sum(&server.calls()) - before
}

async fn bury(process: &Process, number: usize) {
    process.add_all(&publications(number)).await;
    let endings = process.claim(number).await;
    let endings = endings.iter().map(|one| ending(one, EndState::Failed));
    process.settle_all(&endings.collect::<Vec<_>>()).await;
}

/// B10
#[tokio::test]
async fn a_page_of_dead_letters_costs_the_same_however_many_there_are() {
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    bury(&here, 20).await;
    // The first one tells the server the script.
    cost_of_a_page(&server, &here).await;
    let few = cost_of_a_page(&server, &here).await;
    bury(&here, 2_000).await;
    assert_eq!(cost_of_a_page(&server, &here).await, few);
}

/// B3: not the first ones alone.
#[tokio::test]
async fn every_lost_lease_is_found_however_many_there_are() {
    const NUMBER: usize = 2_500;
    let moved = Moved::start();
    let [here, there] = moved.processes(["here", "there"]).await;
    let published: HashSet<_> = here
        .add_all(&publications(NUMBER))
        .await
        .into_iter()
        .collect();
    assert_eq!(here.claim(NUMBER).await.len(), NUMBER);
    moved.clock.advance(LONG);
    let mut found = HashSet::new();
    for _ in 0..5 {
        found.extend(there.claim_ids(NUMBER).await);
    }
    assert_eq!(found, published);
}

/// Asks for work as a worker does that has nothing to do.
async fn wait_for_nothing(worker: &Process, wakeups: &mut dyn Wakeups) {
    loop {
        assert!(worker.claim(1).await.is_empty());
        wakeups.next().await.expect("the store answers");
    }
}

/// B6: waiting is no polling, also while something is to come later.
#[tokio::test]
async fn an_idle_worker_asks_seldom() {
    const SECONDS: u64 = 2;
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    here.add(&delayed(DAY)).await;
    let mut wakeups = here.work().await;
    let before = server.calls()["evalsha"];
    let waiting = wait_for_nothing(&here, &mut *wakeups);
    let waited = tokio::time::timeout(Duration::from_secs(SECONDS), waiting).await;
    assert!(waited.is_err(), "nothing comes");
    let asked = server.calls()["evalsha"] - before;
    assert!(asked <= 5 * SECONDS, "asked {asked} times");
}

/// Names that look like what lies on the server.
const NAMES: [&str; 7] = [
    "1:default",
    "default",
    "lane:0:default",
    "0-1",
    "workers",
    "a/b.c_d-e:f",
    "Default",
];

/// Publishes to each of these queues, and claims from it as a worker of the same name.
async fn use_names(mut process: Process) {
    for name in NAMES {
        process.worker = worker_name(name);
        let id = process.add(&queued_in(name)).await;
        let claimed = process.claim_from(&[queue_name(name)], 9).await;
        let ids: Vec<_> = claimed.iter().map(|one| one.receipt.id).collect();
        assert_eq!(ids, [id], "{name}");
    }
    assert_eq!(process.queues().await.len(), NAMES.len());
}

/// E5, B14: queues, workers and namespaces may be called anything that the rule allows, and never meet.
#[tokio::test]
async fn names_that_look_like_keys_meet_nothing() {
    let server = Server::start(&["--save", ""]);
    for namespace in ["e", "e:lane", "e:lane:0"] {
        let mut options = server.options();
        options.namespace = Namespace::new(namespace).expect("a good name");
        use_names(process("here", &options).await).await;
    }
}
