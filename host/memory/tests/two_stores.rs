//! Two memory servers joined keep every promise that one keeps: the broker on the first, the records on the second.

mod fixture;

use fixture::InMemory;
use stem_testkit::clock::ManualClock;
use stem_testkit::fixture::Joined;

fn joined() -> Joined<InMemory, InMemory> {
    let clock = ManualClock::shared();
    Joined {
        broker: InMemory::on(&clock),
        results: InMemory::on(&clock),
    }
}

stem_testkit::contract_suites!(joined(), lacking: [Durability]);
