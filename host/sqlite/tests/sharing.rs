//! What several processes that share a file promise each other: wake-ups, turns, room, and an end to everything.
//!
//! Two handles on one file share nothing but the file, so they are as two processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rusqlite::Connection;
use stem_core::broker::{Broker, Claim, Settling};
use stem_core::clock::{Clock, SystemClock};
use stem_core::control::Control;
use stem_core::dead_letters::DeadLetters;
use stem_core::names::Namespace;
use stem_core::outcome::Settlement;
use stem_core::queues::Queues;
use stem_core::result_store::ResultStore;
use stem_core::state::EndState;
use stem_core::store_error::StoreErrorKind;
use stem_core::units::ByteSize;
use stem_core::upkeep::Upkeep;
use stem_sqlite::{Options, Store};
use stem_testkit::builders::{
    DAY, delayed, derived, ending, heartbeat, publication, publications, queue_name, settling,
    worker_name,
};
use stem_testkit::clock::ManualClock;
use tempfile::TempDir;

/// Twenty times the 50 ms that are promised would be less than the 2 s that a busy machine is granted; twenty rounds
/// in ten seconds are too quick for the poll behind the watch.
const ROUNDS: (usize, Duration) = (20, Duration::from_secs(10));

struct File(TempDir, Namespace);

impl File {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder for the test");
        Self(folder, Namespace::new("shared").expect("a good name"))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("stem.db")
    }

    fn options(&self, clock: Arc<dyn Clock>) -> Options {
        Options::new(self.path(), self.1.clone(), clock)
    }

    async fn open(&self) -> Arc<Store> {
        let options = self.options(SystemClock::shared());
        Store::open(options).await.expect("a store opens")
    }
}

fn claim(limit: usize) -> Claim {
    Claim {
        worker: worker_name("worker-1"),
        queues: vec![queue_name("default")],
        limit,
        lease: Duration::from_secs(15),
    }
}

/// R3, W7: what another process commits is heard at once.
#[tokio::test]
async fn each_topic_wakes_who_waits_in_another_process() {
    let file = File::new();
    let (here, there) = (file.open().await, file.open().await);
    let mut work = there.work(&[]).await.expect("it answers");
    let mut changes = there.changes().await.expect("it answers");
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            here.publish(&[publication()])
                .await
                .expect("it is published");
            work.next().await.expect("it answers");
            let delivery = here.claim(&claim(1)).await.expect("it answers").remove(0);
            let ending = ending(&delivery, EndState::Succeeded);
            here.settle(&[ending]).await.expect("it is settled");
            changes.next().await.expect("it answers");
        }
    };
    tokio::time::timeout(ROUNDS.1, rounds)
        .await
        .expect("in time");
}

/// No writer starves another, and no call fails, however busy both are.
#[tokio::test]
async fn two_busy_writers_take_turns() {
    let file = File::new();
    let (here, there) = (file.open().await, file.open().await);
    let busy = |store: Arc<Store>| async move {
        for _ in 0..100 {
            let batch = publications(20);
            store.publish(&batch).await.expect("it is published");
            let deliveries = store.claim(&claim(20)).await.expect("it answers");
            let acks: Vec<Settling> = deliveries
                .iter()
                .map(|delivery| settling(delivery, Settlement::Ack))
                .collect();
            store.settle(&acks).await.expect("it is settled");
        }
    };
    futures::join!(busy(Arc::clone(&here)), busy(there));
    assert!(here.claim(&claim(1)).await.expect("it answers").is_empty());
}

/// B9
#[tokio::test]
async fn at_the_reserve_publishing_stops_and_the_rest_goes_on() {
    let file = File::new();
    let store = file.open().await;
    store
        .publish(&publications(2))
        .await
        .expect("there is room");
    let full = Store::open(Options {
        reserve: ByteSize::mib(1 << 30),
        ..file.options(SystemClock::shared())
    });
    let full = full.await.expect("a store opens");
    let error = full
        .publish(&[publication()])
        .await
        .expect_err("there is no room");
    assert_eq!(error.kind(), StoreErrorKind::Full);
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(cause.is_some_and(|cause| cause.contains("free space there")));
    let delivery = full.claim(&claim(1)).await.expect("it answers").remove(0);
    let settled = full.settle(&[ending(&delivery, EndState::Succeeded)]).await;
    assert!(settled.is_ok());
}

/// R4: after everything has had its time, every table that grows is empty.
#[tokio::test]
async fn nothing_is_left_when_everything_has_expired() {
    let (file, clock) = (File::new(), ManualClock::shared());
    let options = file.options(Arc::clone(&clock) as _);
    let store = Store::open(options).await.expect("a store opens");
    let long = bytes::Bytes::from(vec![7; 10_000]);
    let mut published = vec![
        publication(),
        derived(),
        delayed(DAY),
        derived(),
        publication(),
    ];
    published
        .iter_mut()
        .for_each(|publication| publication.bytes = long.clone());
    store.publish(&published).await.expect("it is published");
    for (delivery, state) in [
        EndState::Succeeded,
        EndState::Failed,
        EndState::Failed,
        EndState::Cancelled,
    ]
    .into_iter()
    .zip(store.claim(&claim(9)).await.expect("it answers"))
    .map(|(state, delivery)| (delivery, state))
    {
        store
            .settle(&[ending(&delivery, state)])
            .await
            .expect("it is settled");
    }
    store
        .beat(&heartbeat("worker-1"))
        .await
        .expect("it answers");
    clock.advance(DAY);
    let last = store.claim(&claim(9)).await.expect("it answers").remove(0);
    store
        .settle(&[settling(&last, Settlement::Ack)])
        .await
        .expect("it is settled");
    for _ in 0..2 {
        clock.advance(DAY * 8);
        while store.sweep(3).await.expect("it answers") > 0 {}
    }
    assert_eq!(rows(&file.path()), []);
}

/// The tables that hold a row, but for the two that have one for ever.
fn rows(path: &Path) -> Vec<(String, i64)> {
    let connection = Connection::open(path).expect("a database");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('sequence', 'namespaces')";
    let mut tables = connection.prepare(sql).expect("a statement");
    let names = tables
        .query_map([], |row| row.get::<_, String>(0))
        .expect("tables");
    let count = |name: &String| {
        let sql = format!("SELECT count(*) FROM {name}");
        connection
            .query_row(&sql, [], |row| row.get(0))
            .expect("a count")
    };
    names
        .map(|name| name.expect("a name"))
        .map(|name| (name.clone(), count(&name)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// What was asked of a store before it was dropped is committed.
#[tokio::test]
async fn what_was_published_is_there_for_the_next_one() {
    let file = File::new();
    let first = file.open().await;
    let batches = (0..20).map(|_| publications(5)).collect::<Vec<_>>();
    let published = join_all(batches.iter().map(|batch| first.publish(batch))).await;
    assert!(published.iter().all(Result::is_ok));
    drop(first);
    let second = file.open().await;
    let deliveries = second.claim(&claim(1_000)).await.expect("it answers");
    assert_eq!(deliveries.len(), 100);
}

/// B10: long envelopes lie apart from the others, and come back like them.
#[tokio::test]
async fn a_long_envelope_comes_back_whole_each_time() {
    let file = File::new();
    let store = file.open().await;
    let mut long = publication();
    long.bytes = (0..100_000_u32).map(|number| number as u8).collect();
    store
        .publish(std::slice::from_ref(&long))
        .await
        .expect("it is published");
    let first = store.claim(&claim(1)).await.expect("it answers").remove(0);
    assert_eq!(first.bytes, long.bytes);
    store
        .settle(&[ending(&first, EndState::Failed)])
        .await
        .expect("it is settled");
    let letter = store.show(&[long.id]).await.expect("it answers").remove(0);
    assert_eq!(letter.map(|letter| letter.bytes), Some(long.bytes.clone()));
    store.replay(&[long.id]).await.expect("it is replayed");
    let found = store.find(&[long.id]).await.expect("it answers").remove(0);
    assert_eq!(found.map(|found| found.bytes), Some(long.bytes.clone()));
    let second = store.claim(&claim(1)).await.expect("it answers").remove(0);
    assert_eq!(second.bytes, long.bytes);
}
