//! Two files joined keep every promise that one keeps: the broker in the first, the records in the second.

mod fixture;

use fixture::InFile;
use stem_testkit::clock::ManualClock;
use stem_testkit::fixture::Joined;

fn joined() -> Joined<InFile, InFile> {
    let clock = ManualClock::shared();
    Joined {
        broker: InFile::on(&clock),
        results: InFile::on(&clock),
    }
}

stem_testkit::contract_suites!(joined());
