//! A cluster of the tests' own: three nodes on loopback ports, each with a third of the slots.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use stem_core::clock::SystemClock;
use stem_core::names::Namespace;
use stem_redis::Options;
use stem_testkit::builders::fresh_namespace;
use stem_testkit::redis_server::free_port;

use crate::replicas::PROMPT;
use crate::server::{Server, Usable as _};

const NODES: usize = 3;
const SLOTS: usize = 16_384;
/// How many keys are moved at once: few, so that a slot is on its way for long.
const MOVED_AT_ONCE: &str = "10";

/// The cluster of this test process.
static SHARED: LazyLock<Cluster> = LazyLock::new(|| Cluster::start(&[]));

/// Some masters, and perhaps a replica of the first one behind them.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

/// A slot and the key of a namespace in it.
pub struct Slot {
    number: String,
    /// Which node serves it.
    pub node: usize,
}

impl Cluster {
    /// The one that the tests of this process share.
    pub fn shared() -> &'static Self {
        &SHARED
    }

    /// Starts one whose nodes have these settings.
    pub fn start(settings: &[&str]) -> Self {
        let nodes = (0..NODES).map(|_| node(settings)).collect();
        let cluster = Self { nodes };
        for (index, node) in cluster.nodes.iter().enumerate() {
            let end = |index: usize| (SLOTS * index / NODES).to_string();
            let last = (SLOTS * (index + 1) / NODES - 1).to_string();
            let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", &end(index), &last]);
            let epoch = (index + 1).to_string();
            let () = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        cluster.meet();
        cluster
    }

    /// The same, with a replica of the first node.
    pub fn with_replica(settings: &[&str]) -> Self {
        let mut cluster = Self::start(settings);
        cluster.nodes.push(node(settings));
        cluster.meet();
        let of = cluster.name(0);
        let replica = &cluster.nodes[NODES];
        let () = replica.ask(&["CLUSTER", "REPLICATE", &of]);
        cluster.nodes[0].ask_until(&["INFO", "replication"], &["state=online"]);
        cluster
    }

    /// Makes all nodes known to each other.
    fn meet(&self) {
        for node in &self.nodes[1..] {
            let port = node.port().to_string();
            let bus: Vec<String> = node.ask(&["CONFIG", "GET", "cluster-port"]);
            let () = self.nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus[1]]);
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            node.ask_until(&["CLUSTER", "INFO"], &["cluster_state:ok", &known]);
        }
    }

    /// A namespace of its own on this node.
    pub fn namespace_on(&self, node: usize) -> Namespace {
        loop {
            let namespace = fresh_namespace();
            if self.slot(&namespace).node == node {
                return namespace;
            }
        }
    }

    /// Where a namespace lay at first.
    pub fn slot(&self, namespace: &Namespace) -> Slot {
        let key = format!("{{{namespace}}}:");
        let number: usize = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", &key]);
        let ends = |index: usize| SLOTS * (index + 1) / NODES;
        let node = (0..NODES).find(|index| number < ends(*index));
        Slot {
            number: number.to_string(),
            node: node.expect("every slot is some node's"),
        }
    }

    /// Options for a store in a namespace on this node, with the URL of another one.
    pub fn options(&self, node: usize) -> Options {
        let url = self.nodes[(node + 1) % NODES].url();
        Options::new(url, self.namespace_on(node), SystemClock::shared())
    }

    fn name(&self, node: usize) -> String {
        self.nodes[node].ask(&["CLUSTER", "MYID"])
    }

    /// Tells both nodes that a slot will move.
    pub fn open(&self, slot: &Slot, to: usize) {
        let set = ["CLUSTER", "SETSLOT", &slot.number];
        let (from_name, to_name) = (self.name(slot.node), self.name(to));
        let () = self.nodes[to].ask(&[&set[..], &["IMPORTING", &from_name]].concat());
        let () = self.nodes[slot.node].ask(&[&set[..], &["MIGRATING", &to_name]].concat());
    }

    /// How many keys a node has in a slot.
    pub fn keys(&self, slot: &Slot, node: usize) -> usize {
        self.nodes[node].ask(&["CLUSTER", "COUNTKEYSINSLOT", &slot.number])
    }

    /// Moves a slot, a few keys at a time, and says in how many steps.
    pub fn move_slot(&self, slot: &mut Slot, to: usize) -> usize {
        self.open(slot, to);
        let mut steps = 0;
        while self.move_some(slot, to) {
            steps += 1;
        }
        let name = self.name(to);
        for node in [to, slot.node] {
            let () = self.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot.number, "NODE", &name]);
        }
        slot.node = to;
        steps
    }

    /// Moves a few keys of a slot, unless none is left.
    pub fn move_some(&self, slot: &Slot, to: usize) -> bool {
        let from = &self.nodes[slot.node];
        let some = ["CLUSTER", "GETKEYSINSLOT", &slot.number, MOVED_AT_ONCE];
        // Ids are bytes that are no text.
        let keys: Vec<Vec<u8>> = from.ask(&some);
        if keys.is_empty() {
            return false;
        }
        let client = redis::Client::open(from.url()).expect("a good URL");
        let mut connection = client.get_connection().expect("the node runs");
        let mut moving = redis::cmd("MIGRATE");
        moving.arg("127.0.0.1").arg(self.nodes[to].port()).arg("");
        moving.arg(0).arg(5_000).arg("KEYS").arg(keys);
        let () = moving.query(&mut connection).expect("the keys move");
        true
    }
}

/// A node that knows no other yet.
fn node(settings: &[&str]) -> Server {
    let bus = free_port().to_string();
    let clustered = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    Server::start(&[&PROMPT, &clustered[..], settings].concat())
}

/// Takes the nodes of the shared cluster in turn.
pub fn next_node() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) % NODES
}
