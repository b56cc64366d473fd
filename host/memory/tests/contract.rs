//! The memory store keeps every promise of the contract.

mod fixture;

use fixture::InMemory;
use stem_testkit::clock::ManualClock;

stem_testkit::contract_suites!(InMemory::on(&ManualClock::shared()), lacking: [Durability]);
