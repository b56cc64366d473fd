//! Two servers joined keep every promise that one keeps: the broker on the first, the records on the second.

use stem_testkit::fixture::Joined;

use crate::fixture::OnServer;

fn joined() -> Joined<OnServer, OnServer> {
    Joined {
        broker: OnServer::new(),
        results: OnServer::new(),
    }
}

stem_testkit::contract_suites!(joined(), lacking: [MovableClock, Sweeping]);
