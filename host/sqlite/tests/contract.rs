//! The SQLite store keeps every promise of the contract.

mod fixture;

use fixture::InFile;
use stem_testkit::clock::ManualClock;

stem_testkit::contract_suites!(InFile::on(&ManualClock::shared()));
