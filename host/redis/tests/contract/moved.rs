//! The Redis store on a server whose clock only the test moves: months pass at once, and what has a lifetime goes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::names::Namespace;
use stem_core::stores::Stores;
use stem_redis::{Options, Store};
use stem_testkit::builders::fresh_namespace;
use stem_testkit::fixture::{Ability, Fixture};
use stem_testkit::process::Process;
use stem_testkit::redis_server::Server;
use stem_testkit::server_clock::ServerClock;

/// A server with a clock of its own.
pub struct Moved {
    pub server: Server,
    pub clock: ServerClock,
}

impl Moved {
    pub fn start() -> Arc<Self> {
        let clock = ServerClock::default();
        let server = Server::start_on(&clock, &["--save", ""]);
        Arc::new(Self { server, clock })
    }

    pub async fn open(&self, namespace: &Namespace) -> Stores {
        let options = Options::new(self.server.url(), namespace.clone(), self.clock.shared());
        let store = Store::open(options).await.expect("a store opens");
        store.stores()
    }

    /// Processes of these names in one namespace.
    pub async fn processes<const N: usize>(&self, names: [&str; N]) -> [Process; N] {
        let namespace = fresh_namespace();
        let opening = names.map(|name| async { Process::named(name, self.open(&namespace).await) });
        let opened = futures::future::join_all(opening).await;
        opened.try_into().ok().expect("one for each name")
    }
}

/// Two namespaces on such a server. Every handle is opened anew, as another process would open it.
pub struct OnMovedServer {
    moved: Arc<Moved>,
    ours: Namespace,
    theirs: Namespace,
}

impl OnMovedServer {
    pub fn on(moved: &Arc<Moved>) -> Self {
        Self {
            moved: Arc::clone(moved),
            ours: fresh_namespace(),
            theirs: fresh_namespace(),
        }
    }
}

#[async_trait]
impl Fixture for OnMovedServer {
    fn abilities(&self) -> Vec<Ability> {
        vec![Ability::MovableClock, Ability::Durability]
    }

    async fn stores(&self) -> Stores {
        self.moved.open(&self.ours).await
    }

    async fn second_handle(&self) -> Stores {
        self.stores().await
    }

    async fn other_namespace(&self) -> Stores {
        self.moved.open(&self.theirs).await
    }

    async fn pass(&self, time: Duration) {
        self.moved.clock.advance(time);
    }

    async fn outlast(&self, lifetime: Duration) {
        // A key is there in the millisecond in which its time is over.
        self.pass(lifetime + Duration::from_millis(1)).await;
    }

    /// So long really passes too before somebody who waits for it looks again.
    fn lease(&self) -> Duration {
        Duration::from_millis(20)
    }
}

stem_testkit::contract_suites!(OnMovedServer::on(&Moved::start()), lacking: [Sweeping]);
