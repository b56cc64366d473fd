//! Two servers joined keep every promise that one keeps: the broker on the first, the records on the second.

use stem_testkit::fixture::Joined;

use crate::moved::{Moved, OnMovedServer};

/// One clock for both: two namespaces of one server never see each other.
fn joined() -> Joined<OnMovedServer, OnMovedServer> {
    let moved = Moved::start();
    Joined {
        broker: OnMovedServer::on(&moved),
        results: OnMovedServer::on(&moved),
    }
}

stem_testkit::contract_suites!(joined(), lacking: [Sweeping]);
