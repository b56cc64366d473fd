//! `dlq replay --local`: a dead letter is run once more at home, and the stores are only read.

use serde_json::{Value, json};
use stem_tests::host::{TestHost, guest, renamed_guest, text};

/// A dead letter of this fate, after one attempt on a worker.
fn dead(host: &TestHost, fate: &Value) -> String {
    let _worker = host.worker(&[]);
    let id = host.enqueue("misbehave", fate, &["--max-attempts", "1"]);
    assert_eq!(host.outcome(&id)["state"], "failed");
    id
}

fn misbehaving() -> TestHost {
    TestHost::new().with_deployed(&["misbehave"])
}

/// Deploys another build under the same name.
fn deploy_another(host: &TestHost) {
    let file = host.write("misbehave.wasm", renamed_guest("misbehave"));
    host.ok(&["deploy", &file]);
}

/// Everything that commands show of a dead letter, its record and its queue.
fn seen(host: &TestHost, id: &str) -> [Value; 3] {
    [
        &["dlq", "show", id][..],
        &["result", id],
        &["queue", "list"],
    ]
    .map(|shown| host.json(shown))
}

/// B10
#[test]
fn a_dead_letter_is_run_here_and_stays_where_it_is() {
    let host = misbehaving();
    let id = dead(&host, &json!({"fate": "reject"}));
    let before = seen(&host, &id);
    let answer = host.run(&["dlq", "replay", &id, "--local"]);
    let said = format!("error: replay {id} here: it has failed: returned: ");
    answer.assert(1, &said);
    assert_eq!(seen(&host, &id), before);
}

/// S4
#[test]
fn programs_get_the_failure_as_its_record_has_it() {
    let host = misbehaving();
    let id = dead(&host, &json!({"fate": "reject"}));
    let answer = host.run(&["dlq", "replay", &id, "--local", "--json"]);
    let (ours, theirs) = (answer.json(), host.json(&["result", &id]));
    for same in ["id", "state", "task", "queue", "error", "enqueued_at"] {
        assert_eq!(ours[same], theirs[same], "{same}");
    }
}

/// M2
#[test]
fn it_runs_on_the_module_version_that_its_last_attempt_ran_on() {
    let host = misbehaving();
    let id = dead(&host, &json!({"fate": "reject"}));
    let ran_on = host.json(&["result", &id])["attempts"][0]["module"].clone();
    deploy_another(&host);
    let replay = ["dlq", "replay", id.as_str(), "--local"];
    let answer = host.run(&[&replay[..], &["--json"]].concat());
    assert_eq!(answer.json()["attempts"][0]["module"], ran_on);
    host.ok(&["module", "remove", "misbehave@1", "--yes"]);
    let short = &text(&ran_on)[..12];
    host.run(&replay).assert(
        1,
        &format!("the module {short} that it ran on was removed\nhint: "),
    );
}

/// B10: as often as one likes, since what it saves here is forgotten.
#[test]
fn it_has_its_own_checkpoint_and_leaves_it_as_it_was() {
    let host = misbehaving();
    let id = dead(&host, &json!({"fate": "checkpoint"}));
    let replay = ["dlq", "replay", "--id", &id, "--local"];
    assert_eq!(host.ok(&replay), r#"{"saved_by_attempt":1}"#);
    assert_eq!(host.ok(&[&replay[..], &["--output", "out"]].concat()), "");
    let saved = std::fs::read_to_string(host.path("out")).expect("written");
    assert_eq!(saved, r#"{"saved_by_attempt":1}"#);
    let kept = host.json(&["dlq", "list"]);
    assert_eq!(kept[0]["id"], json!(id));
}

/// B10: its number and its delivery are those of the attempt that failed.
#[test]
fn it_is_the_attempt_that_failed_last() {
    let host = misbehaving();
    let worker = host.worker(&[]);
    let fate = json!({"fate": "fail"});
    let id = host.enqueue("misbehave", &fate, &["--max-attempts", "2"]);
    assert_eq!(host.outcome(&id)["state"], "failed");
    drop(worker);
    let answer = host.run(&["dlq", "replay", &id, "--local", "--json"]);
    let attempt = answer.json()["attempts"][0].clone();
    assert_eq!(
        (&attempt["number"], &attempt["delivery"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(attempt["error"]["details"], json!([["attempt", "2"]]));
}

/// One that never ran is tried on what is deployed now.
#[test]
fn what_never_ran_is_run_on_what_is_active() {
    let host = TestHost::new();
    let id = host.ok(&["enqueue", "noop", "--unchecked", "--payload", "[7]"]);
    let worker = host.worker(&[]);
    assert_eq!(host.outcome(&id)["error"]["kind"], "unknown-task");
    drop(worker);
    host.run(&["dlq", "replay", &id, "--local"])
        .assert(1, "no task named `noop`: deploy its module first");
    host.ok(&["deploy", &guest("noop").display().to_string()]);
    assert_eq!(host.ok(&["dlq", "replay", &id, "--local"]), "[7]");
}

#[test]
fn one_dead_letter_is_named_and_nothing_else() {
    let host = misbehaving();
    let nobodys = "0198c5a2-7d30-7c3e-8f43-0123456789ab";
    let replay = |flags: &[&str]| host.run(&[&["dlq", "replay", "--local"], flags].concat());
    for flags in [&[][..], &[nobodys, nobodys], &[nobodys, "--queue", "q"]] {
        replay(flags).assert(2, "--local takes one ID, and no filter");
    }
    replay(&[nobodys, "--yes"]).assert(2, "cannot be used with");
    replay(&[nobodys]).assert(1, "it is no dead letter");
    host.run(&["dlq", "replay", nobodys, "--output", "f"])
        .assert(2, "--local");
}

/// Changes the store as whoever can write to it could.
fn tamper(host: &TestHost, sql: &str) {
    let store = rusqlite::Connection::open(host.path("stem.db")).expect("a store");
    let changed = store.execute(sql, []).expect("it can be changed");
    assert_eq!(changed, 1, "{sql}");
}

/// M2: what a worker refuses does not run here, with this machine's secrets, either.
#[test]
fn what_workers_would_refuse_does_not_run_here() {
    let host = misbehaving();
    let id = dead(&host, &json!({"fate": "reject"}));
    let replay = ["dlq", "replay", id.as_str(), "--local"];
    host.ok(&["keys", "generate", "--signing", "ed25519", "--id", "ci"]);
    let host = host.with("STEM_SIGNING_PUBLIC_KEYS_FILE", "ci.public");
    host.run(&replay)
        .assert(5, "misbehave@1 cannot be run: it is not signed");
    let host = host.with("STEM_SIGNING_PUBLIC_KEYS_FILE", "");
    tamper(&host, "UPDATE deployments SET name = 'other'");
    host.run(&replay).assert(
        5,
        "other@1 cannot be run: its manifest is that of `misbehave`",
    );
}

/// M2, M3: the same module may lie under several names, each with a policy and grants of its own.
#[test]
fn it_runs_as_the_deployment_that_has_the_task_now() {
    let host = TestHost::new();
    host.deploy("misbehave", &["--name", "a"]);
    let another = host.write("another.wasm", renamed_guest("misbehave"));
    host.ok(&["deploy", &another, "--name", "a"]);
    host.deploy("misbehave", &["--name", "b", "--force"]);
    let id = dead(&host, &json!({"fate": "reject"}));
    let damage = "UPDATE deployments SET manifest = x'c1' WHERE name = 'a' AND version = 1";
    tamper(&host, damage);
    host.run(&["dlq", "replay", &id, "--local"])
        .assert(1, "it has failed: returned: ");
}
