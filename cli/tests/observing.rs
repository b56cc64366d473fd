//! What attempts used, as it is shown of each and summed, with a worker in another process.

use serde_json::{Value, json};
use stem_tests::host::TestHost;

/// A host on which `word-count` has run for two tenants and for nobody, and `misbehave` has failed in a queue of its own.
fn worked() -> TestHost {
    let host = TestHost::new().with_deployed(&["word-count", "misbehave"]);
    let worker = host.worker(&["--queue", "default", "--queue", "bad"]);
    let text = json!({"text": "a b a"});
    let tenants: [&[&str]; 4] = [
        &["--header", "tenant=ada"],
        &["--header", "tenant=ada"],
        &["--header", "tenant=eve"],
        &[],
    ];
    for tenant in tenants {
        host.outcome(&host.enqueue("word-count", &text, tenant));
    }
    host.outcome(&host.enqueue("misbehave", &json!({"fate": "reject"}), &["--queue", "bad"]));
    drop(worker);
    host
}

/// Of each share: its name, and how many attempts there were, succeeded and failed.
fn counts(shares: &Value, by: &str) -> Value {
    let shares = shares.as_array().expect("an array");
    let names = [by, "attempts", "succeeded", "failed"];
    let count = |share: &Value| Value::from(names.map(|name| share[name].clone()).to_vec());
    shares.iter().map(count).collect()
}

/// S8
#[test]
fn usage_is_summed_by_task_queue_and_tenant() {
    let host = worked();
    let by = |by: &str| counts(&host.json(&["observe", "usage", "--by", by]), by);
    assert_eq!(
        by("task"),
        json!([["misbehave", 1, 0, 1], ["word-count", 4, 4, 0]])
    );
    assert_eq!(by("queue"), json!([["bad", 1, 0, 1], ["default", 4, 4, 0]]));
    assert_eq!(
        by("tenant"),
        json!([[null, 2, 1, 1], ["ada", 2, 2, 0], ["eve", 1, 1, 0]])
    );
}

/// S8
#[test]
fn usage_of_one_task_queue_or_tenant_is_asked_for_by_a_flag() {
    let host = worked();
    let of = |flag: &str, name: &str| {
        let shares = host.json(&["observe", "usage", flag, name]);
        counts(&shares, "task")
    };
    assert_eq!(of("--tenant", "ada"), json!([["word-count", 2, 2, 0]]));
    assert_eq!(of("--queue", "bad"), json!([["misbehave", 1, 0, 1]]));
    assert_eq!(of("--task", "word-count"), json!([["word-count", 4, 4, 0]]));
    assert_eq!(of("--queue", "nobody"), json!([]));
}

/// S8
#[test]
fn a_module_shows_what_its_tasks_used_in_a_day() {
    let host = worked();
    host.deploy("noop", &[]);
    let used = |module: &str| {
        let shown = host.json(&["module", "show", module]);
        counts(&shown["usage"], "task")
    };
    assert_eq!(used("word_count"), json!([["word-count", 4, 4, 0]]));
    let unused = ["noop", "sleep", "spin"].map(|task| json!([task, 0, 0, 0]));
    assert_eq!(used("noop"), json!(unused));
    let shown = host.ok(&["module", "show", "word_count"]);
    assert!(shown.contains("\nused\nsince "), "{shown}");
}

const KEYS: [&str; 16] = [
    "attempts",
    "bytes_out",
    "cancelled",
    "cpu_ms",
    "expired",
    "failed",
    "fuel",
    "host_calls",
    "interrupted",
    "memory_byte_seconds",
    "peak_memory_bytes",
    "since",
    "snoozed",
    "succeeded",
    "task",
    "wall_ms",
];

const MEASURED: [&str; 5] = [
    "cpu_ms",
    "wall_ms",
    "memory_byte_seconds",
    "peak_memory_bytes",
    "host_calls",
];

/// S8, R4: of a task that keeps no results, nothing else says what it used.
#[test]
fn sums_are_there_where_no_record_holds_an_attempt() {
    let host = TestHost::new();
    let policy = host.write("p.toml", "[defaults]\nresult-retention = \"0s\"\n");
    host.deploy("word_count", &["--policy", &policy]);
    let _worker = host.worker(&[]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    assert_eq!(host.outcome(&id)["attempts"], json!([]));
    let share = host.json(&["observe", "usage"])[0].clone();
    let keys = share.as_object().expect("an object").keys();
    assert!(keys.map(String::as_str).eq(KEYS), "{share}");
    for measured in MEASURED {
        assert!(share[measured].as_f64() > Some(0.0), "{measured}: {share}");
    }
}

const HEADER: &str = "TENANT ATTEMPTS SUCCEEDED FAILED CPU WALL PEAK MEMORY FUEL CALLS SENT";

/// S8
#[test]
fn a_person_sees_since_when_and_a_row_for_each() {
    let shown = worked().ok(&["observe", "usage", "--by", "tenant"]);
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][0], "since");
    assert!(lines[0][1].ends_with(":00:00.000Z"), "{shown}");
    assert_eq!(lines[1].join(" "), HEADER);
    let names: Vec<&str> = lines[2..].iter().map(|line| line[0]).collect();
    assert_eq!(names, ["-", "ada", "eve"]);
}

#[test]
fn what_usage_cannot_be_summed_by_is_refused_and_no_usage_is_said() {
    let host = worked();
    host.run(&["observe", "usage", "--by", "worker"])
        .assert(2, "invalid value 'worker'");
    let later = host.run(&["observe", "usage", "--since", "2100-01-01T00:10:00Z"]);
    later.assert(0, "no attempt has ended since 2100-01-01T00:00:00.000Z");
}

/// S8, R5
#[test]
fn an_attempt_shows_what_it_asked_of_its_host() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let _worker = host.worker(&[]);
    let once = ["--max-attempts", "1"];
    let id = host.enqueue("misbehave", &json!({"fate": "checkpoint"}), &once);
    let attempt = host.outcome(&id)["attempts"][0].clone();
    assert!(attempt["host_calls"].as_u64() >= Some(2), "{attempt}");
    let saved = attempt["bytes_out"].as_u64().expect("a number");
    assert!(saved > 0 && attempt["wall_ms"].as_f64() > Some(0.0));
    let shown = host.ok(&["result", &id]);
    assert!(shown.contains("CALLS"), "{shown}");
    assert!(shown.contains(&format!("{saved} bytes")), "{shown}");
}
