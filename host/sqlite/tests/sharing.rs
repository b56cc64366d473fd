//! What several processes that share a file promise each other: wake-ups, turns, room, and an end to everything.
//!
//! Two handles on one file share nothing but the file, so they are as two processes.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use stem_core::broker::{Broker, Publication, Settling};
use stem_core::clock::{Clock, SystemClock};
use stem_core::key_value::{KeyValue as _, KeyValueError};
use stem_core::names::Namespace;
use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::stores::Stores;
use stem_core::units::ByteSize;
use stem_sqlite::{Options, Store};
use stem_testkit::builders::{
    DAY, delayed, derived, fresh_namespace, heartbeat, publication, publications, put, removal,
    settling, writing,
};
use stem_testkit::clock::ManualClock;
use stem_testkit::process::{Process, ROUNDS, within};
use tempfile::TempDir;

struct File(TempDir, Namespace);

impl File {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder for the test");
        Self(folder, fresh_namespace())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("stem.db")
    }

    fn options(&self, clock: Arc<dyn Clock>) -> Options {
        Options::new(self.path(), self.1.clone(), clock)
    }

    /// As if there were no more room on its disk than has to stay free.
    fn at_its_reserve(&self) -> Options {
        Options {
            reserve: ByteSize::mib(1 << 30),
            ..self.options(SystemClock::shared())
        }
    }

    async fn process(&self) -> Process {
        process(self.options(SystemClock::shared())).await
    }
}

async fn process(options: Options) -> Process {
    let clock = Arc::clone(&options.clock);
    let store = Store::open(options).await.expect("a store opens");
    Process::named("worker-1", Stores::on_one(store, clock))
}

fn long(publication: Publication) -> Publication {
    Publication {
        bytes: (0..100_000_u32).map(|number| number as u8).collect(),
        ..publication
    }
}

fn cause(error: &StoreError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// B6, R3
#[tokio::test]
async fn each_topic_wakes_who_waits_in_another_process() {
    let file = File::new();
    let (here, there) = (file.process().await, file.process().await);
    let mut work = there.work().await;
    let changes = there.stores.results.changes().await;
    let mut changes = changes.expect("the store answers");
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            here.add(&publication()).await;
            work.next().await.expect("the store answers");
            here.end_next(EndState::Succeeded).await;
            changes.next().await.expect("the store answers");
        }
    };
    within(ROUNDS.1, rounds).await;
}

/// No writer starves another, and no call fails, however busy both are.
#[tokio::test]
async fn two_busy_writers_take_turns() {
    let file = File::new();
    let (here, there) = (file.process().await, file.process().await);
    let busy = async |process: &Process| {
        for _ in 0..100 {
            process.add_all(&publications(20)).await;
            let deliveries = process.claim(20).await;
            let ack = |delivery| settling(delivery, Settlement::Ack);
            let acks: Vec<Settling> = deliveries.iter().map(ack).collect();
            process.settle_all(&acks).await;
        }
    };
    futures::join!(busy(&here), busy(&there));
    assert_eq!(here.queues().await, []);
}

/// B9
#[tokio::test]
async fn at_the_reserve_publishing_stops_and_the_rest_goes_on() {
    let file = File::new();
    file.process().await.add(&publication()).await;
    let full = file.at_its_reserve();
    let store = Store::open(full.clone()).await.expect("a store opens");
    let refused = store.publish(&[publication()]).await;
    let error = refused.expect_err("there is no room");
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert!(cause(&error).contains("free space there"), "{error:?}");
    let drained = process(full).await.end_next(EndState::Succeeded).await;
    assert_eq!(drained.receipt.delivery, 1);
}

/// B9: what a task keeps has to leave the rest of the disk to what drains the store.
#[tokio::test]
async fn at_the_reserve_a_bucket_takes_nothing_more_and_gives_room_back() {
    let file = File::new();
    let here = file.process().await;
    here.fill(&[put("a", "1")]).await;
    let full = file.at_its_reserve();
    let store = Store::open(full).await.expect("a store opens");
    let refused = store.change(&writing(), &[put("b", "1")]).await;
    let Err(KeyValueError::Store(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert!(store.change(&writing(), &[removal("a")]).await.is_ok());
    assert_eq!(here.buckets().await, []);
}

/// R4: after everything has had its time, every table that grows is empty.
#[tokio::test]
async fn nothing_is_left_when_everything_has_expired() {
    let (file, clock) = (File::new(), ManualClock::shared());
    let here = process(file.options(Arc::clone(&clock) as _)).await;
    for publication in [publication(), derived(), long(derived()), delayed(DAY)] {
        here.add(&publication).await;
    }
    here.beat(&heartbeat("worker-1")).await;
    for state in [EndState::Succeeded, EndState::Failed, EndState::Failed] {
        here.end_next(state).await;
    }
    clock.advance(DAY);
    here.settle_next(Settlement::Ack).await;
    assert!(rows(&file.path()).len() > 5);
    for _ in 0..2 {
        clock.advance(DAY * 16);
        here.sweep().await;
    }
    assert_eq!(rows(&file.path()), []);
}

/// The tables that hold a row, but for the two that have some for ever.
fn rows(path: &Path) -> Vec<(String, i64)> {
    let connection = Connection::open(path).expect("a database");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table'
        AND name NOT IN ('sequence', 'namespaces')";
    let mut tables = connection.prepare(sql).expect("a statement");
    let names = tables.query_map([], |row| row.get::<_, String>(0));
    let count = |name: &String| {
        let sql = format!("SELECT count(*) FROM {name}");
        let count = connection.query_row(&sql, [], |row| row.get(0));
        count.expect("a table can be counted")
    };
    names
        .expect("the tables")
        .map(|name| name.expect("a name"))
        .map(|name| (name.clone(), count(&name)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// B1: what was asked of a store before it was dropped is committed.
#[tokio::test]
async fn what_was_published_is_there_for_the_next_one() {
    let file = File::new();
    let first = file.process().await;
    let batches: Vec<_> = (0..20).map(|_| publications(5)).collect();
    let publishing = batches.iter().map(|batch| first.publish(batch));
    futures::future::join_all(publishing).await;
    drop(first);
    assert_eq!(file.process().await.claim(1_000).await.len(), 100);
}

/// B1, B10: long envelopes lie apart from the others, and come back like them.
#[tokio::test]
async fn a_long_envelope_comes_back_whole_each_time() {
    let file = File::new();
    let here = file.process().await;
    let long = long(publication());
    here.add(&long).await;
    assert_eq!(
        here.settle_next(Settlement::Release).await.bytes,
        long.bytes
    );
    assert_eq!(here.end_next(EndState::Failed).await.bytes, long.bytes);
    let letter = here.letter(long.id).await.map(|letter| letter.bytes);
    assert_eq!(letter.as_ref(), Some(&long.bytes));
    here.replay(&[long.id]).await;
    let found = here.find(long.id).await.map(|found| found.bytes);
    assert_eq!(found.as_ref(), Some(&long.bytes));
    assert_eq!(here.claim_one().await.bytes, long.bytes);
}
