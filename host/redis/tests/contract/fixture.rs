//! The Redis store as the contract suites see it: a namespace of its own for every test, on a server that this process
//! starts, or on the one that `STEM_TEST_REDIS_URL` names, or on a cluster.

use std::time::Duration;

use async_trait::async_trait;
use stem_core::clock::SystemClock;
use stem_core::names::Namespace;
use stem_core::stores::Stores;
use stem_redis::{Options, Store};
use stem_testkit::builders::fresh_namespace;
use stem_testkit::fixture::{Ability, Fixture};

use crate::cluster::{self, Cluster};
use crate::server;

/// No test really waits for longer.
const SHORT: Duration = Duration::from_secs(5);

/// Two namespaces on one server. Every handle is opened anew, as another process would open it.
pub struct OnServer {
    url: String,
    ours: Namespace,
    theirs: Namespace,
}

impl OnServer {
    pub fn new() -> Self {
        Self {
            url: server::shared_url(),
            ours: fresh_namespace(),
            theirs: fresh_namespace(),
        }
    }

    /// Two namespaces on different nodes of the cluster, and the URL of the third.
    pub fn clustered() -> Self {
        let (cluster, node) = (Cluster::shared(), cluster::next_node());
        let [ours, theirs] = [cluster.options(node), cluster.options((node + 1) % 3)];
        Self {
            url: theirs.url.0,
            ours: ours.namespace,
            theirs: theirs.namespace,
        }
    }

    async fn open(&self, namespace: &Namespace) -> Stores {
        let options = Options::new(&self.url, namespace.clone(), SystemClock::shared());
        let store = Store::open(options).await.expect("a store opens");
        store.stores()
    }
}

#[async_trait]
impl Fixture for OnServer {
    fn abilities(&self) -> Vec<Ability> {
        vec![Ability::Durability]
    }

    async fn stores(&self) -> Stores {
        self.open(&self.ours).await
    }

    async fn second_handle(&self) -> Stores {
        self.open(&self.ours).await
    }

    async fn other_namespace(&self) -> Stores {
        self.open(&self.theirs).await
    }

    async fn pass(&self, time: Duration) {
        assert!(
            time < SHORT,
            "a promise that lets {time:?} pass needs a movable clock"
        );
        tokio::time::sleep(time).await;
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(150)
    }
}
