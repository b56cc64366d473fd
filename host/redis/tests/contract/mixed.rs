//! A broker on Redis with its records in a SQLite file keeps every promise that one store keeps.

#[path = "../../../sqlite/tests/fixture/mod.rs"]
mod sqlite;

use stem_testkit::fixture::Joined;

use crate::moved::{Moved, OnMovedServer};
use sqlite::InFile;

fn mixed() -> Joined<OnMovedServer, InFile> {
    let moved = Moved::start();
    Joined {
        results: InFile::on(&moved.clock.shared()),
        broker: OnMovedServer::on(&moved),
    }
}

stem_testkit::contract_suites!(mixed(), lacking: [Sweeping]);
