//! Buckets through the whole system: a task that is granted one, and what an operator sees of it.

use serde_json::{Value, json};
use stem_tests::host::{TestHost, guest};

/// A host on which `factors` has answered the same question twice.
fn answered() -> (TestHost, [Value; 2]) {
    let host = TestHost::new();
    let file = guest("factors").display().to_string();
    host.json(&["deploy", &file, "--allow-bucket", "factors"]);
    let worker = host.worker(&[]);
    let ask = |host: &TestHost| {
        let id = host.enqueue("factors", &json!({"number": 60}), &[]);
        host.outcome(&id)["result"].clone()
    };
    let answers = [ask(&host), ask(&host)];
    drop(worker);
    (host, answers)
}

/// S2
#[test]
fn a_task_finds_what_an_earlier_one_has_put_and_its_operator_sees_it() {
    let (host, answers) = answered();
    for (answer, is_remembered) in answers.iter().zip([false, true]) {
        assert_eq!(answer["factors"], json!([2, 2, 3, 5]));
        assert_eq!(answer["remembered"], is_remembered);
    }
    let buckets = host.json(&["bucket", "list"]);
    let expected = json!([{"name": "factors", "keys": 2, "bytes": 20}]);
    assert_eq!(buckets, expected);
    let module = host.json(&["module", "show", "factors"]);
    assert_eq!(module["grants"]["buckets"], json!(["factors"]));
    assert!(host.ok(&["bucket", "list"]).contains("factors"));
}

/// R4: what nobody is granted any more can be removed.
#[test]
fn a_bucket_is_purged_by_name_and_only_on_purpose() {
    let (host, _) = answered();
    host.run(&["bucket", "purge", "factors"])
        .assert(2, "--yes goes ahead");
    host.run(&["bucket", "purge", "factor", "--yes"])
        .assert(1, "did you mean `factors`?");
    let counted = host.json(&["bucket", "purge", "factors", "--dry-run"]);
    assert_eq!(
        (&counted["keys"], &counted["removed"]),
        (&json!(2), &json!(0))
    );
    let purged = host.json(&["bucket", "purge", "factors", "--yes"]);
    assert_eq!(purged["removed"], 2);
    assert_eq!(host.json(&["bucket", "list"]), json!([]));
}

/// M1: the import is named, with what would allow it.
#[test]
fn a_module_that_needs_a_bucket_and_is_granted_none_is_refused() {
    let file = guest("factors").display().to_string();
    let answer = TestHost::new().run(&["deploy", &file]);
    answer.assert(5, "--allow-bucket NAME");
    assert!(
        answer.stderr.contains("wasi:keyvalue/store@0.2.0-draft2"),
        "{answer:?}"
    );
}

/// S2: an attempt at home has a bucket of its own.
#[test]
fn an_attempt_at_home_begins_with_an_empty_bucket() {
    let file = guest("factors").display().to_string();
    let host = TestHost::new();
    for _ in 0..2 {
        let payload = [
            "--payload",
            r#"{"number": 60}"#,
            "--allow-bucket",
            "factors",
        ];
        let answer = host.ok(&[&["run", file.as_str()], &payload[..]].concat());
        assert!(answer.contains(r#""remembered":false"#), "{answer}");
    }
}
