//! Workers on one file.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use stem_core::lookup::Lookup;
use stem_tests::host::{TestHost, text};
use stem_tests::store::TestStore;

use crate::ledger::assert_ended_once;
use crate::scale::Scale;
use crate::trial::{SHORT_LEASE, Trial};

/// B1, B3, B4, B5, B8, R2, W6, W8: with retries, delays and priorities.
#[test]
fn every_envelope_ends_once_whatever_is_killed() {
    let scale = Scale::asked_or(Scale {
        kills: 50,
        envelopes: 5_000,
        pause: Duration::ZERO,
        sleep: 10,
    });
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let mut trial = Trial::new(&host, &SHORT_LEASE, scale);
    for _ in 0..scale.kills {
        trial.kill_one();
        trial.run_down();
    }
    let met = trial.conclude("SQLite") as u64;
    assert!(met >= scale.kills, "the kills met {met} at work");
}

/// Which delivery ended it.
fn delivery(lookup: &Lookup) -> u32 {
    let attempt = lookup
        .record
        .as_ref()
        .and_then(|record| record.attempts.last());
    attempt.map_or(0, |attempt| attempt.delivery)
}

/// B2, B4: no kills, and nothing is delivered twice.
#[test]
fn two_workers_on_one_file_share_the_work_and_none_of_it() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _one = host.worker(&["--name", "one"]);
    let _other = host.worker(&["--name", "other"]);
    let fates = (0..2_000).map(|number| json!({"fate": "sleep", "ms": number % 40}));
    let ids = host.enqueue_each("misbehave", fates);
    host.until("all have ended", |host| host.alive() == 0);
    let lookups = TestStore::of(&host).look_up(&ids);
    lookups
        .iter()
        .for_each(|lookup| assert_ended_once(lookup, 0));
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
