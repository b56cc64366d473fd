//! A guest that does its worst with buckets is refused or ended, while its neighbours succeed, and the worker's memory is
//! given back.

#[path = "../../host/sandbox/tests/sandbox/common/hostile.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod wat;

use serde_json::{Value, json};
use stem_tests::arena::{Arena, assert_all_failed};
use stem_tests::host::TestHost;
use wat::{Hostile, with_buckets};

/// Runs this guest amid neighbours, where it is granted a bucket, and gives how its attempts ended.
fn granted(module: &Hostile) -> Vec<Value> {
    let host = TestHost::new();
    let file = host.write("hostile.wasm", module.component());
    host.json(&["deploy", &file, "--allow-bucket", "cache"]);
    // Values, and the pages of the store that they are written to.
    let arena = Arena::new(host, "hostile").keeping(48 << 20);
    arena.run(&json!({}))
}

/// Each of them was told this by its last call, and went on.
fn assert_all_told(outcomes: &[Value], said: &str) {
    for outcome in outcomes {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        let told = outcome["result"].to_string();
        assert!(told.contains(said), "{told}");
    }
}

/// A guest that puts a value of so many bytes under longer and longer keys, until it is told why not.
fn filling(first_key: u32, value: u32) -> Hostile {
    let fill = format!(
        "(local $bucket i32) (local $key i32)
        (local.set $bucket (call $opened)) (local.set $key (i32.const {first_key}))
        (memory.fill (i32.const 65536) (i32.const 0x6b) (i32.const 65536))
        (loop
          (call $set (local.get $bucket) (i32.const 65536) (local.get $key)
            (i32.const 131072) (i32.const {value}) (i32.const 5000))
          (local.set $key (i32.add (local.get $key) (i32.const 1)))
          (br_if 0 (i32.eqz (i32.load8_u (i32.const 5000)))))
        (call $told)"
    );
    with_buckets("0.2.0-draft", &fill)
}

/// S2, R4
#[test]
fn a_guest_that_fills_a_bucket_is_told_that_it_is_full() {
    let outcomes = granted(&filling(1, 1 << 20));
    assert_all_told(&outcomes, "its keys and values may have 16 MiB together");
}

/// S2, R4
#[test]
fn a_guest_that_makes_keys_longer_and_longer_is_told_where_they_end() {
    assert_all_told(&granted(&filling(1_000, 1)), "over the limit of 1024");
}

/// S3: what the host holds.
#[test]
fn a_guest_that_opens_a_bucket_a_million_times_is_recorded_as_that() {
    let hoard = "(loop (drop (call $opened)) (br 0)) (unreachable)";
    let outcomes = granted(&with_buckets("0.2.0-draft2", hoard));
    let error = json!({"kind": "limit", "limit": "host-resources", "allowed": 4_096});
    assert_all_failed(&outcomes, &error);
}
