//! `deterministic`: clocks and random numbers that are the same in every attempt of an envelope (S2).

use std::time::Duration;

use crate::common::granting::{Vault, granted};
use crate::common::{Attempt, PATIENCE, block_on, guest, result};
use serde_json::Value;
use stem_core::executor::Execution;
use stem_core::ids::EnvelopeId;

const FIXED: &str = "[grants]\nstubs = [\"wasi:config\"]\ndeterministic = true";
const FREE: &str = "[grants]\nstubs = [\"wasi:config\"]";
/// When the tests' envelopes were enqueued.
const ENQUEUED_US: u64 = 1_795_000_000_000_000;
const SLEEP: Duration = Duration::from_millis(300);

async fn run(policy: &str, id: EnvelopeId, question: &str) -> Execution {
    let tell = granted(&guest("tell"), policy, Vault::with(&[])).await;
    Attempt::json(question)
        .of(id)
        .run(&tell.expect("good"))
        .await
}

/// What chance and time tell an attempt of this envelope that sleeps for a while.
fn chance(policy: &str, id: EnvelopeId) -> (Value, Execution) {
    let question = format!(r#"{{"tell":"chance","ms":{}}}"#, SLEEP.as_millis());
    let execution = block_on(run(policy, id, &question));
    (
        serde_json::from_str(&result(&execution)).expect("JSON"),
        execution,
    )
}

/// S2
#[test]
fn every_attempt_of_an_envelope_sees_the_same_time_and_the_same_random_numbers() {
    let (one, other) = (EnvelopeId::new(), EnvelopeId::new());
    let told = chance(FIXED, one).0;
    assert_eq!(told, chance(FIXED, one).0);
    assert_ne!(told["random"], chance(FIXED, other).0["random"]);
    let wall = told["wall_us"].as_u64().expect("a number");
    assert!((ENQUEUED_US..ENQUEUED_US + 1_000).contains(&wall), "{told}");
}

/// S2: a task that waits for something still does.
#[test]
fn a_sleep_lasts_as_long_as_it_says_and_both_clocks_have_moved_by_it() {
    let (told, execution) = chance(FIXED, EnvelopeId::new());
    assert!(execution.usage.wall >= SLEEP, "{:?}", execution.usage);
    assert!(
        execution.usage.wall < SLEEP + PATIENCE,
        "{:?}",
        execution.usage
    );
    let slept = u64::try_from(SLEEP.as_micros()).expect("short");
    for moved in ["slept_us", "wall_moved_us"] {
        let moved = told[moved].as_u64().expect("a number");
        assert!((slept..slept + 100).contains(&moved), "{told}");
    }
}

/// S2
#[test]
fn whoever_waits_by_reading_a_clock_comes_to_its_end() {
    let question = r#"{"tell":"wait","ms":50}"#;
    let execution = block_on(run(FIXED, EnvelopeId::new(), question));
    assert_eq!(result(&execution), "\"done\"");
}

/// S2: no clock says how long something took, so that nothing can be learnt from it.
#[test]
fn a_guest_cannot_measure_how_long_its_own_work_takes() {
    let measure = |policy: &str, rounds: u64| {
        let question = format!(r#"{{"tell":"measure","rounds":{rounds}}}"#);
        let measured = result(&block_on(run(policy, EnvelopeId::new(), &question)));
        measured.parse::<u64>().expect("a number")
    };
    assert_eq!(
        [measure(FIXED, 1), measure(FIXED, 5_000_000)],
        [1_000, 1_000]
    );
    assert!(measure(FREE, 5_000_000) > 100_000);
}

/// S2
#[test]
fn without_the_grant_a_task_has_the_machines_clocks_and_numbers() {
    let id = EnvelopeId::new();
    let (told, again) = (chance(FREE, id).0, chance(FREE, id).0);
    assert_ne!(told["random"], again["random"]);
    assert_ne!(told["wall_us"], again["wall_us"]);
    assert!(
        told["wall_us"].as_u64().expect("a number") > ENQUEUED_US + 1_000,
        "{told}"
    );
}
