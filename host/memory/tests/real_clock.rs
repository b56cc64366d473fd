//! The memory store keeps every promise on the machine's clock too, with leases of a fraction of a second: so the suites
//! hold for stores whose time is a server's.

use std::time::Duration;

use async_trait::async_trait;
use stem_core::clock::SystemClock;
use stem_core::names::Namespace;
use stem_core::stores::Stores;
use stem_memory::Server;
use stem_testkit::builders::fresh_namespace;
use stem_testkit::fixture::{Ability, Fixture};

/// No test really waits for longer.
const SHORT: Duration = Duration::from_secs(5);

struct OnRealTime {
    server: Server,
    ours: Namespace,
    theirs: Namespace,
}

impl OnRealTime {
    fn new() -> Self {
        Self {
            server: Server::new(SystemClock::shared()),
            ours: fresh_namespace(),
            theirs: fresh_namespace(),
        }
    }
}

#[async_trait]
impl Fixture for OnRealTime {
    fn abilities(&self) -> Vec<Ability> {
        vec![Ability::Sweeping]
    }

    async fn stores(&self) -> Stores {
        self.server.store(self.ours.clone()).stores()
    }

    async fn second_handle(&self) -> Stores {
        self.stores().await
    }

    async fn other_namespace(&self) -> Stores {
        self.server.store(self.theirs.clone()).stores()
    }

    async fn pass(&self, time: Duration) {
        assert!(
            time < SHORT,
            "a promise that lets {time:?} pass needs a movable clock"
        );
        tokio::time::sleep(time).await;
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(100)
    }
}

stem_testkit::contract_suites!(OnRealTime::new(), lacking: [MovableClock, Durability]);
