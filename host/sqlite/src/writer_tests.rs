//! What becomes of the steps of one group where one fails or is given up.

use std::sync::Mutex;
use std::sync::mpsc;

use futures::{FutureExt, join};
use stem_core::clock::SystemClock;
use stem_core::names::Namespace;
use stem_core::store_error::StoreErrorKind;
use tempfile::TempDir;

use super::*;
use crate::store::{Options, Store};

const ADD: &str = "INSERT INTO paused (namespace, queue) VALUES (1, ?1)";

async fn store(folder: &TempDir) -> Arc<Store> {
    let namespace = Namespace::new("test").expect("a good name");
    let path = folder.path().join("stem.db");
    let opened = Store::open(Options::new(path, namespace, SystemClock::shared())).await;
    opened.expect("a store opens")
}

/// Holds the writer up until the gate opens, so that what is asked meanwhile is one group.
fn held_up(store: &Store) -> (mpsc::Sender<()>, impl Future<Output = ()>) {
    let (gate, passed) = mpsc::channel();
    let passed = Mutex::new(passed);
    let wait = store.write("wait", move |_| {
        let passed = passed.lock().map_err(|_| Problem::stopped())?;
        // The gate opens by being dropped: then it is open however often this step runs.
        let _ = passed.recv();
        Ok(())
    });
    (gate, wait.map(drop))
}

async fn count(store: &Store) -> i64 {
    let count = store.read("count", |connection| {
        let sql = "SELECT count(*) FROM paused";
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    });
    count.await.expect("it answers")
}

#[tokio::test]
async fn a_step_that_fails_takes_no_other_with_it() {
    let folder = TempDir::new().expect("a folder for the test");
    let store = store(&folder).await;
    let (gate, waiting) = held_up(&store);
    let good = |queue: &'static str| store.write("add", move |step| step.execute(ADD, [queue]));
    let bad = store.write("fail", |step| -> Stepped<()> {
        step.execute(ADD, ["never"])?;
        Err(Problem::new(StoreErrorKind::Refused, "no"))
    });
    let opening = async move { drop(gate) };
    let (_, one, failed, other, ()) = join!(waiting, good("one"), bad, good("other"), opening);
    assert!(one.is_ok() && failed.is_err() && other.is_ok());
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn a_step_that_nobody_waits_for_any_more_is_not_begun() {
    let folder = TempDir::new().expect("a folder for the test");
    let store = store(&folder).await;
    let (gate, waiting) = held_up(&store);
    let mut waiting = std::pin::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    let given_up = store.write("add", |step| step.execute(ADD, ["never"]));
    assert!(given_up.now_or_never().is_none());
    drop(gate);
    waiting.await;
    let after = store.write("add", |step| step.execute(ADD, ["after"]));
    assert!(after.await.is_ok());
    assert_eq!(count(&store).await, 1);
}
