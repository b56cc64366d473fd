//! What a store on a cluster survives: slots that move, and nodes that die.

use std::collections::HashMap;
use std::time::Duration;

use stem_core::store_error::StoreErrorKind;
use stem_core::upkeep::Fact;
use stem_redis::Store;
use stem_testkit::builders::{publication, publications};
use stem_testkit::process::{Process, ROUNDS, within};
use stem_testkit::redis_server::free_port;

use crate::cluster::{Cluster, Slot};
use crate::faults::claim_in_the_end;
use crate::load::Load;
use crate::server::{Server, process, publish_in_the_end};
use crate::settings::refusal;

/// Tries to change a namespace whose slot is on its way, and says how many keys each node has of it afterwards.
async fn try_to_tear(cluster: &Cluster, slot: &Slot, process: &Process) -> [usize; 2] {
    let refused = process.stores.broker.publish(&[publication()]).await;
    let error = refused.expect_err("the slot is on its way");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(process.try_claim(1).await.is_err());
    [0, 1].map(|node| cluster.keys(slot, node))
}

/// B8: a node that has a part of a namespace changes nothing in it.
#[tokio::test]
async fn while_a_slot_is_on_its_way_nothing_is_torn() {
    let cluster = Cluster::shared();
    let mut options = cluster.options(0);
    options.timeout = Duration::from_millis(300);
    let here = process("here", &options).await;
    here.add_all(&publications(20)).await;
    let mut slot = cluster.slot(&options.namespace);
    cluster.open(&slot, 1);
    for moved in [0, 10] {
        let all: usize = [0, 1].map(|node| cluster.keys(&slot, node)).iter().sum();
        let keys = try_to_tear(cluster, &slot, &here).await;
        assert_eq!(keys, [all - moved, moved]);
        cluster.move_some(&slot, 1);
    }
    cluster.move_slot(&mut slot, 1);
    assert_eq!(here.claim_ids(99).await.len(), 20);
}

/// B1, B8, R2: every envelope ends once, wherever its slot was when.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slot_that_moves_under_load_loses_and_doubles_nothing() {
    let cluster = Cluster::shared();
    let options = cluster.options(0);
    let mut slot = cluster.slot(&options.namespace);
    let here = process("here", &options).await;
    here.add_all(&publications(500)).await;
    let load = Load::begin(&options).await;
    for to in [1, 2, 0] {
        load.progress(50).await;
        let steps = tokio::task::block_in_place(|| cluster.move_slot(&mut slot, to));
        assert!(steps > 50, "{steps}");
    }
    load.finish(&here).await;
}

/// B4: who waits is woken by what is published on the slot's new node, at once and not by a look now and then.
#[tokio::test]
async fn who_waits_is_woken_after_the_slot_has_moved() {
    let cluster = Cluster::shared();
    let options = cluster.options(1);
    let [here, there] = ["here", "there"].map(|name| process(name, &options));
    let (here, there) = (here.await, there.await);
    let mut wakeups = there.work().await;
    here.add(&publication()).await;
    cluster.move_slot(&mut cluster.slot(&options.namespace), 2);
    let woken = async {
        for _ in 0..=ROUNDS.0 {
            there.next_delivery(&mut *wakeups).await;
            here.add(&publication()).await;
        }
    };
    within(ROUNDS.1, woken).await;
}

/// B1, B13: a replica takes the place of a node that died, with all that was acknowledged.
#[tokio::test]
async fn a_node_that_dies_is_replaced_by_its_replica() {
    let mut cluster = Cluster::with_replica(&["--cluster-node-timeout", "2000"]);
    let mut options = cluster.options(0);
    options.wait_replicas = 1;
    let waiting = process("waiting", &options).await;
    let mut wakeups = waiting.work().await;
    waiting.add_all(&publications(50)).await;
    options.wait_replicas = 0;
    let here = process("here", &options).await;
    cluster.nodes[0].stop();
    publish_in_the_end(&here).await;
    claim_in_the_end(&waiting, &mut *wakeups).await;
    assert_eq!(here.counts().await, [50, 0, 1, 0]);
}

/// B14: a cluster has one database.
#[tokio::test]
async fn a_database_number_on_a_cluster_is_refused() {
    let mut options = Cluster::shared().options(0);
    options.url.0 = format!("{}3", options.url.0.trim_end_matches('0'));
    let (kind, message) = refusal(options).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    assert!(message.contains("one database"), "{message}");
}

/// B13: any of the nodes that a URL names will do, and other servers will not.
#[tokio::test]
async fn several_hosts_are_nodes_of_a_cluster() {
    let cluster = Cluster::shared();
    let mut options = cluster.options(0);
    let nobody = free_port();
    let single = Server::start(&["--save", ""]);
    let (node, single_port) = (cluster.nodes[2].port(), single.port());
    options.url.0 = format!("redis://127.0.0.1:{nobody},127.0.0.1:{node}");
    process("here", &options).await.add(&publication()).await;
    options.url.0 = format!("redis://127.0.0.1:{nobody},127.0.0.1:{single_port}");
    let (kind, message) = refusal(options).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    assert!(message.contains("nodes of a cluster"), "{message}");
}

/// B1: what it runs on, and what is waited for.
#[tokio::test]
async fn a_store_says_which_node_has_its_namespace() {
    let cluster = Cluster::shared();
    let store = Store::open(cluster.options(2))
        .await
        .expect("a store opens");
    let facts = store.stores().upkeep[0].describe().await;
    let facts: HashMap<&str, Fact> = facts.expect("it answers").into_iter().collect();
    let node = format!("127.0.0.1:{}", cluster.nodes[2].port());
    assert_eq!(facts["node"], Fact::Text(node));
    assert_eq!(facts["nodes of the cluster"], Fact::Count(3));
    assert_eq!(facts["replicas waited for"], Fact::Count(0));
}
