//! What replicas must have before it counts, and what a failover to one of them keeps (`wait_replicas`).

use std::collections::HashSet;
use std::time::Duration;

use stem_core::broker::{Publication, Published};
use stem_core::ids::EnvelopeId;
use stem_core::state::EndState;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_redis::Options;
use stem_testkit::builders::{ending, publication, publications};
use stem_testkit::process::{Process, within};
use tokio::sync::Notify;

use crate::server::{BACK, Server, Usable as _, process};

/// Settings of a server whose replicas have not to wait for others.
pub const PROMPT: [&str; 4] = ["--save", "", "--repl-diskless-sync-delay", "0"];

/// A server, and one that has all of it.
pub struct Pair {
    pub master: Server,
    pub replica: Server,
}

impl Pair {
    pub fn start() -> Self {
        let master = Server::start(&PROMPT);
        let of = format!("127.0.0.1 {}", master.port());
        let replica = Server::start(&["--save", "", "--replicaof", &of]);
        master.ask_until(&["INFO", "replication"], &["state=online"]);
        Self { master, replica }
    }

    /// Options for a store whose writes count once the replica has them.
    fn options(&self) -> Options {
        let mut options = self.master.options();
        options.wait_replicas = 1;
        options
    }
}

/// Publishes one that another handle may have published before.
async fn try_publish(
    process: &Process,
    publication: &Publication,
) -> Result<Published, StoreError> {
    let published = process
        .stores
        .broker
        .publish(std::slice::from_ref(publication))
        .await;
    published.map(|published| published[0])
}

/// B1: nor does it by being there already, for a connection that has written nothing.
#[tokio::test]
async fn what_no_replica_has_does_not_count() {
    let pair = Pair::start();
    let mut options = pair.options();
    options.timeout = Duration::from_millis(500);
    let here = process("here", &options).await;
    pair.replica.pause();
    let publication = publication();
    for process in [&here, &process("there", &options).await] {
        let refused = try_publish(process, &publication).await;
        let error = refused.expect_err("the replica has nothing");
        assert_eq!(error.kind(), StoreErrorKind::Unconfirmed);
    }
    pair.replica.resume();
    let again = async { while try_publish(&here, &publication).await.is_err() {} };
    within(BACK, again).await;
    assert_eq!(here.claim_ids(9).await, [publication.id]);
}

/// B1, B2: who waits for a replica holds up nobody who does not.
#[tokio::test]
async fn claims_and_look_ups_wait_for_no_replica() {
    let pair = Pair::start();
    let here = process("here", &pair.options()).await;
    here.add_all(&publications(2)).await;
    pair.replica.pause();
    let publication = publication();
    let claimed = async {
        let delivery = here.claim_one().await;
        here.find(delivery.receipt.id).await
    };
    tokio::select! {
        biased;
        published = try_publish(&here, &publication) => panic!("{published:?} came first"),
        found = claimed => assert!(found.is_some()),
    }
}

/// What was said to be kept.
#[derive(Default)]
struct Acknowledged {
    published: Vec<EnvelopeId>,
    ended: HashSet<EnvelopeId>,
}

impl Acknowledged {
    /// Publishes and ends envelopes until that fails; tells who waits for it when some are done.
    async fn until_refused(process: &Process, some: &Notify) -> Self {
        let mut acknowledged = Self::default();
        while acknowledged.add(process).await.is_ok() {
            if acknowledged.published.len() > 300 {
                some.notify_one();
            }
        }
        acknowledged
    }

    async fn add(&mut self, process: &Process) -> Result<(), StoreError> {
        let batch = publications(5);
        process.stores.broker.publish(&batch).await?;
        self.published.extend(batch.iter().map(|one| one.id));
        for delivery in process.try_claim(2).await? {
            let settling = [ending(&delivery, EndState::Succeeded)];
            process.stores.broker.settle(&settling).await?;
            self.ended.insert(delivery.receipt.id);
        }
        Ok(())
    }

    /// How many of them a server has not.
    async fn lost(&self, process: &Process) -> usize {
        let mut lost = 0;
        for id in &self.published {
            let end = process.recorded_end(*id).await;
            let is_kept = match self.ended.contains(id) {
                true => end == Some(EndState::Succeeded),
                false => end.is_some() || process.find(*id).await.is_some(),
            };
            lost += usize::from(!is_kept);
        }
        lost
    }
}

/// B1, R2: the master dies in the midst of it, and its replica takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_nothing_that_was_acknowledged() {
    let mut pair = Pair::start();
    let options = pair.options();
    let here = process("here", &options).await;
    let some = Notify::new();
    let (acknowledged, ()) = tokio::join!(Acknowledged::until_refused(&here, &some), async {
        some.notified().await;
        pair.master.stop();
    });
    let () = pair.replica.ask(&["REPLICAOF", "NO", "ONE"]);
    let mut after = pair.replica.options();
    after.namespace = options.namespace;
    let there = process("there", &after).await;
    assert!(acknowledged.published.len() > 300);
    assert_eq!(acknowledged.lost(&there).await, 0);
}
