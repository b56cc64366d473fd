//! Workers are killed in a loop, and every envelope still ends exactly once: none lost, none doubled, none charged.

use std::collections::BTreeSet;

use serde_json::json;
use stem_core::lookup::Lookup;
use stem_core::record::OutcomeWord;
use stem_core::state::State;
use stem_tests::host::{TestHost, text};
use stem_tests::store::StoreFile;

const ENVELOPES: u64 = 5_000;
const KILLS: u64 = 50;

/// Short leases, and as many losses as it takes: a `poison` is a failure of the test.
const KILLABLE: [&str; 4] = ["--lease", "1s", "--max-deliveries", "10000"];

/// Sleeps of 0 to 39 ms: long enough that every kill meets some at work.
fn sleepers(host: &TestHost, count: u64) -> Vec<String> {
    let fates = (0..count).map(|number| json!({"fate": "sleep", "ms": number % 40}));
    host.enqueue_each("misbehave", fates)
}

/// Nothing is left in the broker, and the record has one end of one charged attempt.
fn assert_ended_once(lookup: &Lookup) {
    assert_eq!(lookup.state, State::Succeeded, "{lookup:?}");
    assert!(lookup.status.is_none(), "still in the broker: {lookup:?}");
    let record = lookup.record.as_ref().expect("an end has a record");
    let succeeded = record
        .attempts
        .iter()
        .filter(|one| one.outcome == OutcomeWord::Succeeded);
    assert_eq!(succeeded.count(), 1, "{record:?}");
    assert!(
        record.attempts.iter().all(|one| one.number == 1),
        "charged: {record:?}"
    );
}

/// Which delivery ended it.
fn delivery(lookup: &Lookup) -> u32 {
    let attempt = lookup
        .record
        .as_ref()
        .and_then(|record| record.attempts.last());
    attempt.map_or(0, |attempt| attempt.delivery)
}

/// Each worker is killed when its share of the envelopes has ended, and before it has nothing left to do.
fn kill_workers(host: &TestHost) {
    for kill in 1..=KILLS {
        let worker = host.worker(&KILLABLE);
        let left = ENVELOPES - kill * ENVELOPES / (KILLS + 1);
        host.until("its share has ended", |host| host.alive() <= left);
        worker.kill();
    }
}

/// B1, B3, B4, B5, B8, R2, W8
#[test]
fn fifty_kills_lose_nothing_double_nothing_and_charge_nothing() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let ids = sleepers(&host, ENVELOPES);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len() as u64, ENVELOPES);
    kill_workers(&host);
    let _worker = host.worker(&KILLABLE);
    host.until("all have ended", |host| host.alive() == 0);
    let lookups = StoreFile::of(&host).look_up(&ids);
    lookups.iter().for_each(assert_ended_once);
    let redelivered = lookups.iter().filter(|lookup| delivery(lookup) > 1);
    let met = redelivered.count() as u64;
    assert!(met >= KILLS, "the kills met {met} at work");
}

/// B2, B4: no kills, and nothing is delivered twice.
#[test]
fn two_workers_on_one_file_share_the_work_and_none_of_it() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _one = host.worker(&["--name", "one"]);
    let _other = host.worker(&["--name", "other"]);
    let ids = sleepers(&host, 2_000);
    host.until("all have ended", |host| host.alive() == 0);
    let lookups = StoreFile::of(&host).look_up(&ids);
    lookups.iter().for_each(assert_ended_once);
    assert!(lookups.iter().all(|lookup| delivery(lookup) == 1));
    let records = lookups.iter().flat_map(|lookup| &lookup.record);
    let workers: BTreeSet<_> = records.map(|record| &record.attempts[0].worker).collect();
    assert_eq!(workers.len(), 2);
}

/// Whether the worker is listed as dead.
fn is_shown_as_dead(host: &TestHost, name: &str) -> bool {
    let workers = host.json(&["worker", "list"]);
    let mut all = workers.as_array().into_iter().flatten();
    all.any(|one| one["worker"] == name && one["dead"] == true)
}

/// B3, W6: the default lease of 15 s, and a second worker.
#[test]
fn what_a_killed_worker_held_runs_elsewhere_and_the_worker_is_shown_as_dead() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let lost = host.worker(&["--name", "lost"]);
    let spin = json!({"fate": "spin"});
    let held = host.enqueue("misbehave", &spin, &["--max-attempts", "1"]);
    host.until_state(&held, "running");
    lost.kill();
    let _worker = host.worker(&["--name", "other"]);
    let attempt = host.outcome(&held)["attempts"][0].clone();
    assert_eq!(text(&attempt["worker"]), "other", "{attempt}");
    assert_eq!(attempt["number"], 1, "{attempt}");
    host.until("it is shown as dead", |host| is_shown_as_dead(host, "lost"));
}
