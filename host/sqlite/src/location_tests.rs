//! Which places are refused, and when a full disk is full no more.

use std::sync::Arc;

use stem_core::broker::{Broker, Claim, Publication, Settling};
use stem_core::outcome::Settlement;
use stem_core::store_error::StoreError;
use stem_testkit::builders::{
    DAY, DEFAULT_QUEUE, fresh_namespace, publication, queue_name, settling, worker_name,
};
use stem_testkit::clock::ManualClock;
use tempfile::TempDir;

use super::*;
use crate::store::{Options, Store};

#[test]
fn a_network_file_system_is_known_by_its_number() {
    assert_eq!(network(0x6969), Some("NFS"));
    assert_eq!(network(0xff53_4d42), Some("CIFS"));
    assert_eq!(
        network(i64::from(0xff53_4d42_u32.cast_signed())),
        Some("CIFS")
    );
    assert_eq!(network(0xef53), None, "ext4");
}

#[test]
fn a_database_in_memory_is_refused() {
    for path in ["", ":memory:"] {
        let problem = prepare(Path::new(path)).expect_err("refused");
        assert_eq!(problem.kind, StoreErrorKind::Refused, "{path}");
    }
}

/// A store with a reserve of 1 MiB whose disk was found full, on a clock that stands still: so that stays.
async fn on_a_full_disk(folder: &TempDir) -> Arc<Store> {
    let path = folder.path().join("stem.db");
    let options = Options {
        reserve: ByteSize::mib(1),
        ..Options::new(path, fresh_namespace(), ManualClock::shared())
    };
    let store = Store::open(options).await.expect("a store opens");
    let reserve = &store.shared.reserve;
    let seen = (reserve.clock.monotonic(), ByteSize(0));
    *reserve.seen.lock().expect("nobody panics") = Some(seen);
    store
}

async fn drain(store: &Store) -> Result<(), StoreError> {
    let claim = Claim {
        worker: worker_name("worker-1"),
        queues: vec![queue_name(DEFAULT_QUEUE)],
        limit: 100,
        lease: DAY,
    };
    let deliveries = store.claim(&claim).await?;
    let ack = |delivery| settling(delivery, Settlement::Ack);
    let acks: Vec<Settling> = deliveries.iter().map(ack).collect();
    store.settle(&acks).await.map(drop)
}

/// B9: the file itself has filled the disk, and does not shrink.
#[tokio::test]
async fn publishing_goes_on_when_the_workers_have_drained_a_full_disk() {
    let folder = TempDir::new().expect("a folder for the test");
    let store = on_a_full_disk(&folder).await;
    let large = Publication {
        bytes: vec![0; 3 << 20].into(),
        ..publication()
    };
    let publish = move |step: &crate::writer::Step<'_>| {
        crate::publish::publish(step, std::slice::from_ref(&large))
    };
    store.write("publish", publish).await.expect("it is stored");
    let refused = store.publish(&[publication()]).await;
    let error = refused.expect_err("the disk is full");
    assert_eq!(error.kind(), StoreErrorKind::Full);
    drain(&store).await.expect("a full store drains");
    let published = store.publish(&[publication()]).await;
    published.expect("there is room within the file");
}
