//! Steering what runs and what waits: cancelling, pausing, purging, and workers that stop in order.

use std::time::Duration;

use serde_json::{Value, json};
use stem_tests::host::{TestHost, now};

/// 20 times the figure of a promise in time, and never less: it catches a lost wake-up, not a busy machine.
const SOON: Duration = Duration::from_secs(2);

fn misbehaving() -> TestHost {
    TestHost::new().with_deployed(&["misbehave"])
}

/// An envelope of this fate that a worker has by now.
fn running(host: &TestHost, fate: &Value) -> String {
    let id = host.enqueue("misbehave", fate, &[]);
    host.until_state(&id, "running");
    id
}

/// W7
#[test]
fn what_waits_is_cancelled_and_never_runs() {
    let host = misbehaving();
    let id = host.enqueue("misbehave", &json!({"fate": "succeed"}), &[]);
    host.ok(&["cancel", &id]);
    let _worker = host.worker(&[]);
    let outcome = host.outcome(&id);
    assert_eq!(
        (&outcome["state"], &outcome["attempts"]),
        (&json!("cancelled"), &json!([]))
    );
}

/// W7: the task is asked, and winds up.
#[test]
fn what_runs_is_asked_to_stop_when_it_is_cancelled() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "stop-when-asked"}));
    host.ok(&["cancel", &id]);
    let outcome = host.outcome(&id);
    assert_eq!(outcome["state"], "cancelled");
    assert!(
        outcome["attempts"][0]["log"]
            .to_string()
            .contains("stopping"),
        "{outcome}"
    );
}

/// W7, S3: a task that does not listen has until its hard limit.
#[test]
fn what_does_not_stop_when_it_is_asked_is_cancelled_at_its_hard_limit() {
    let host = TestHost::new();
    host.deploy("misbehave", &["--hard", "3s"]);
    let _worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "spin"}));
    host.ok(&["cancel", &id]);
    assert_eq!(host.state(&id), "running");
    let outcome = host.outcome(&id);
    assert_eq!(outcome["state"], "cancelled", "{outcome}");
    let wall = outcome["attempts"][0]["wall_ms"].as_f64();
    let wall = Duration::from_secs_f64(wall.expect("it ran") / 1_000.0);
    let hard = Duration::from_secs(3);
    assert!(wall >= hard && wall < hard + SOON, "{outcome}");
}

/// W7: within 100 ms.
#[test]
fn what_spins_is_ended_at_once_when_it_is_cancelled_now() {
    let host = misbehaving();
    let _worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "spin"}));
    let began = now();
    host.ok(&["cancel", &id, "--now"]);
    assert_eq!(host.outcome(&id)["state"], "cancelled");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// W7: a revocation survives the worker that was told of it.
#[test]
fn a_cancelled_envelope_stays_cancelled_when_its_worker_is_killed() {
    let host = misbehaving();
    let worker = host.worker(&["--lease", "1s"]);
    let id = running(&host, &json!({"fate": "spin"}));
    worker.kill();
    host.ok(&["cancel", &id]);
    let _worker = host.worker(&["--lease", "1s"]);
    assert_eq!(host.outcome(&id)["state"], "cancelled");
}

/// B11
#[test]
fn nothing_starts_from_a_paused_queue_until_it_is_resumed() {
    let host = misbehaving();
    let _worker = host.worker(&["--queue", "default", "--queue", "other"]);
    host.ok(&["queue", "pause", "default"]);
    let held = host.enqueue("misbehave", &json!({"fate": "succeed"}), &[]);
    let free = host.enqueue(
        "misbehave",
        &json!({"fate": "succeed"}),
        &["--queue", "other"],
    );
    assert_eq!(host.outcome(&free)["state"], "succeeded");
    assert_eq!(host.state(&held), "queued");
    host.ok(&["queue", "resume", "default"]);
    assert_eq!(host.outcome(&held)["state"], "succeeded");
}

/// B11: purging cancels.
#[test]
fn a_purged_queue_is_empty_and_its_envelopes_are_cancelled() {
    let host = misbehaving();
    let ids = host.enqueue_each("misbehave", (0..700).map(|_| json!({"fate": "succeed"})));
    assert_eq!(
        host.json(&["queue", "purge", "default", "--dry-run"])["waiting"],
        700
    );
    assert_eq!(
        host.json(&["queue", "purge", "default", "--yes"])["cancelled"],
        700
    );
    assert_eq!(host.alive(), 0);
    assert_eq!(host.state(&ids[699]), "cancelled");
}

/// W5: what can finish in time finishes.
#[test]
fn a_worker_that_is_told_to_stop_finishes_what_it_has() {
    let host = misbehaving();
    let worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "sleep", "ms": 800}));
    worker.terminate();
    let (status, _) = worker.ended();
    assert!(status.success(), "{status}");
    assert_eq!(host.state(&id), "succeeded");
}

/// Another worker has it; it is cancelled there, and each of both attempts was the first.
fn assert_runs_again_as_the_same_attempt(host: &TestHost, id: &str) {
    assert_eq!(host.state(id), "queued");
    let _worker = host.worker(&[]);
    host.until_state(id, "running");
    host.ok(&["cancel", id, "--now"]);
    let attempts = host.outcome(id)["attempts"].clone();
    let numbers = (&attempts[0]["number"], &attempts[1]["number"]);
    assert_eq!(numbers, (&json!(1), &json!(1)), "{attempts}");
}

/// W5: a task that winds up is given back, and nothing is charged.
#[test]
fn a_task_that_winds_up_at_shutdown_runs_again_as_the_same_attempt() {
    let host = misbehaving();
    let worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "stop-when-asked"}));
    worker.terminate();
    let (status, took) = worker.ended();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_runs_again_as_the_same_attempt(&host, &id);
}

/// W5: what does not wind up within the grace is ended, given back, and not charged.
#[test]
fn a_task_that_does_not_stop_is_given_back_when_the_grace_is_over() {
    let host = misbehaving();
    let worker = host.worker(&["--grace", "1s"]);
    let id = running(&host, &json!({"fate": "spin"}));
    worker.terminate();
    let (status, took) = worker.ended();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(1) + SOON, "{took:?}");
    assert_runs_again_as_the_same_attempt(&host, &id);
}

/// W5: the second signal does not wait.
#[test]
fn a_second_signal_ends_a_worker_at_once() {
    let host = misbehaving();
    let mut worker = host.worker(&[]);
    let id = running(&host, &json!({"fate": "spin"}));
    worker.terminate();
    worker.hear("stop");
    worker.terminate();
    let (_, took) = worker.ended();
    assert!(took < SOON, "{took:?}");
    assert_eq!(host.state(&id), "queued");
}

/// W6
#[test]
fn workers_are_listed_until_they_leave() {
    let host = misbehaving();
    let worker = host.worker(&["--name", "one", "--concurrency", "3"]);
    host.until("it is listed", |host| {
        host.json(&["worker", "list"]) != json!([])
    });
    let listed = host.json(&["worker", "list"]);
    assert_eq!(
        (&listed[0]["worker"], &listed[0]["slots"]),
        (&json!("one"), &json!(3))
    );
    worker.terminate();
    worker.ended();
    assert_eq!(host.json(&["worker", "list"]), json!([]));
}
