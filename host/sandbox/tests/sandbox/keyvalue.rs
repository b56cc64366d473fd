//! What a guest does with buckets, in both versions of `wasi:keyvalue`: it gets what was granted, within its quota, and
//! is told of everything else.

use std::sync::Arc;

use crate::common::hostile::{Hostile, with_buckets};
use crate::common::{Attempt, Kept, block_on, crossed, guest, result, sandbox};
use bytes::Bytes;
use stem_core::clock::SystemClock;
use stem_core::executor::{Execution, Program};
use stem_core::ids::EnvelopeId;
use stem_core::key_value::{Buckets, Change, Key, Quota, Writing};
use stem_core::names::{BucketName, Namespace};
use stem_core::outcome::Limit;
use stem_core::result_store::{Fence, ResultStore as _};
use stem_sandbox::Overrides;

const DRAFT: &str = "0.2.0-draft";
const DRAFT_2: &str = "0.2.0-draft2";
const BOTH: [&str; 2] = [DRAFT, DRAFT_2];
const GRANTED: &str = "[grants]\nbuckets = [\"cache\"]\n";

/// A store, and the attempt that writes to it.
fn buckets() -> Buckets {
    let namespace = Namespace::new("test").expect("a name");
    Buckets {
        store: stem_memory::Store::new(namespace, SystemClock::shared()),
        fence: Fence {
            id: EnvelopeId::new(),
            generation: 1,
            delivery: 1,
        },
    }
}

/// Puts `value` under `key` into the bucket `cache`.
async fn put(buckets: &Buckets, value: &'static str) {
    let writing = Writing {
        bucket: BucketName::new("cache").expect("a name"),
        fence: buckets.fence,
        quota: Quota::default(),
    };
    let change = Change {
        key: Key::new("key").expect("short"),
        value: Some(Bytes::from(value)),
    };
    buckets
        .store
        .change(&writing, &[change])
        .await
        .expect("room");
}

async fn program(module: &Bytes, policy: &str) -> Arc<dyn Program> {
    let sandbox = sandbox(2);
    let overrides = Overrides::parse(policy).expect("a good policy");
    let inspected = sandbox.inspect(module, &overrides).await;
    let mut inspected = inspected.expect("a good module");
    let (task, grants) = (inspected.tasks.remove(0), inspected.grants);
    let program = sandbox.program(module, task, &grants).await;
    program.expect("a good module")
}

async fn run(program: &Arc<dyn Program>, payload: &str, buckets: &Buckets) -> Execution {
    let mut attempt = Attempt::json(payload);
    attempt.context = Arc::new(Kept {
        buckets: Some(buckets.clone()),
        ..Kept::default()
    });
    attempt.run(program).await
}

/// One attempt of a module with these grants, where `key` has a value already.
fn ran(module: &Hostile, policy: &str) -> Execution {
    ran_where(module, policy, "a value")
}

/// The same where it has this value.
fn ran_where(module: &Hostile, policy: &str, value: &'static str) -> Execution {
    block_on(async {
        let buckets = buckets();
        put(&buckets, value).await;
        let program = program(&module.component(), policy).await;
        run(&program, "{}", &buckets).await
    })
}

/// What a guest is told by its last call.
fn told(version: &str, body: &str, policy: &str) -> String {
    result(&ran(&with_buckets(version, body), policy))
}

const GET: &str =
    "(call $get (call $opened) (i32.const 6200) (i32.const 3) (i32.const 5000)) (call $told)";

/// S2
#[test]
fn a_value_is_read_in_every_version() {
    for version in BOTH {
        assert_eq!(told(version, GET, GRANTED), "a value", "{version}");
    }
}

/// S2: whatever it is called, and whether or not it is there.
#[test]
fn a_bucket_that_is_not_granted_is_denied() {
    let open = "(call $open (i32.const 6100) (i32.const 5) (i32.const 5000))
        (if (i32.ne (i32.load8_u (i32.const 5000)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load8_u (i32.const 5004)) (i32.const 1)) (then (unreachable)))
        (global.get $ok)";
    for version in BOTH {
        assert_eq!(told(version, open, GRANTED), "ok", "{version}");
        let stubbed = open.replace("6100", "6000");
        let policy = "[grants]\nstubs = [\"wasi:keyvalue\"]\n";
        assert_eq!(told(version, &stubbed, policy), "ok", "{version}");
    }
}

/// S2: a page that is whole has no cursor.
#[test]
fn keys_are_listed_in_every_version() {
    let list = |cursor: &str, keys: u32, next: u32| {
        format!(
            "(call $list (call $opened) (i32.const 0) {cursor} (i32.const 5000))
            (if (i32.ne (i32.load (i32.const {})) (i32.const 1)) (then (unreachable)))
            (if (i32.load8_u (i32.const {next})) (then (unreachable)))
            (i32.store (i32.const 5008) (i32.load (i32.load (i32.const {keys}))))
            (i32.store (i32.const 5012) (i32.const 3)) (call $told)",
            keys + 4
        )
    };
    let draft = list("(i64.const 0)", 5_008, 5_016);
    assert_eq!(told(DRAFT, &draft, GRANTED), "key");
    let draft2 = list("(i32.const 0) (i32.const 0)", 5_004, 5_012);
    assert_eq!(told(DRAFT_2, &draft2, GRANTED), "key");
}

/// S2: a counter is kept in digits.
#[test]
fn a_counter_counts_in_every_version() {
    let count = "(call $increment (call $opened) (i32.const 6100) (i32.const 5) (i64.const 41) (i32.const 5000))
        (call $increment (call $opened) (i32.const 6100) (i32.const 5) (i64.const 1) (i32.const 5000))
        (if (i64.ne (i64.load (i32.const 5008)) (i64.const 42)) (then (unreachable)))
        (call $get (call $opened) (i32.const 6100) (i32.const 5) (i32.const 5000)) (call $told)";
    for version in BOTH {
        assert_eq!(told(version, count, GRANTED), "42", "{version}");
    }
}

/// S2: what is written is not told to have failed, or its task would count again.
#[test]
fn a_counter_below_zero_is_shown_as_zero_where_it_has_no_sign() {
    let count = "(call $increment (call $opened) (i32.const 6200) (i32.const 3) (i64.const 2) (i32.const 5000))
        (if (i32.load8_u (i32.const 5000)) (then (unreachable)))
        (if (i64.ne (i64.load (i32.const 5008)) (i64.const 0)) (then (unreachable)))";
    let module = with_buckets(DRAFT, &format!("{count} {GET}"));
    assert_eq!(result(&ran_where(&module, GRANTED, "-5")), "-3");
}

/// S2: a swap that came too late gives a handle that has seen the newer value.
#[test]
fn a_value_is_swapped_where_nobody_was_quicker() {
    let swap = "(local $cas i32)
        (call $cas (call $opened) (i32.const 6200) (i32.const 3) (i32.const 5000))
        (local.set $cas (i32.load (i32.const 5004)))
        (call $set (call $opened) (i32.const 6200) (i32.const 3) (i32.const 6000) (i32.const 5) (i32.const 5000))
        (call $swap (local.get $cas) (i32.const 6100) (i32.const 5) (i32.const 5000))
        (if (i32.ne (i32.load8_u (i32.const 5004)) (i32.const 1)) (then (unreachable)))
        (call $swap (i32.load (i32.const 5008)) (i32.const 6100) (i32.const 5) (i32.const 5000))
        (if (i32.load8_u (i32.const 5000)) (then (unreachable)))";
    let swapped = told(DRAFT_2, &format!("{swap} {GET}"), GRANTED);
    assert_eq!(swapped, "other");
}

/// A guest that puts so many bytes under `key`, or under a key of so many bytes.
fn putting(key: u32, value: u32) -> String {
    format!(
        "(call $set (call $opened) (i32.const 6200) (i32.const {key}) (i32.const 8192) (i32.const {value}) (i32.const 5000)) (call $told)"
    )
}

/// S8: what was put, and its key; what was refused never left.
#[test]
fn what_a_guest_puts_is_counted() {
    let usage = |body: &str| ran(&with_buckets(DRAFT, body), GRANTED).usage;
    let put = usage(&putting(3, 100));
    assert_eq!((put.host_calls, put.bytes_out), (2, 103));
    let refused = usage(&putting(1_025, 100));
    assert_eq!(refused.bytes_out, 0);
}

/// What is over, and what is said of it, within 1 key, 1 KiB and values of 2 KiB.
const OVER: [((u32, u32), &str); 4] = [
    ((2, 1), "the bucket is full: it may have 1 keys"),
    (
        (3, 1_022),
        "the bucket is full: its keys and values may have 1 KiB together",
    ),
    (
        (3, 2_049),
        "the value has 2049 bytes, over the limit of 2 KiB",
    ),
    ((1_025, 1), "the key has 1025 bytes, over the limit of 1024"),
];

/// R4: every refusal says what is allowed.
#[test]
fn what_is_over_a_quota_is_refused_with_the_quota() {
    let quota = "bucket-quota = { keys = 1, bytes = \"1KiB\", value-bytes = \"2KiB\" }";
    let policy = format!("{GRANTED}{quota}");
    for ((key, value), refusal) in OVER {
        assert_eq!(told(DRAFT, &putting(key, value), &policy), refusal);
    }
}

/// R4: neither a bucket's own quota nor a call is without a bound.
#[test]
fn a_call_that_names_too_many_keys_is_refused() {
    let many = "(call $get_many (call $opened) (i32.const 131072) (i32.const 1001) (i32.const 5000)) (call $told)";
    for version in BOTH {
        let refused = told(version, many, GRANTED);
        assert_eq!(
            refused,
            "a call may name 1000 keys, and this one names 1001"
        );
    }
}

/// S3: what the host holds.
#[test]
fn a_guest_that_opens_buckets_for_ever_is_ended() {
    let hoard = "(loop (drop (call $opened)) (br 0)) (unreachable)";
    for version in BOTH {
        let execution = ran(&with_buckets(version, hoard), GRANTED);
        let (limit, allowed, _) = crossed(&execution);
        assert_eq!((limit, allowed), (Limit::HostResources, 4_096));
    }
}

/// A store that knows of a later delivery than this.
async fn buckets_of_another(held: Buckets) -> Buckets {
    let namespace = Namespace::new("test").expect("a name");
    let store = stem_memory::Store::new(namespace, SystemClock::shared());
    let newer = Fence {
        delivery: held.fence.delivery + 1,
        ..held.fence
    };
    store.open(&[newer]).await.expect("the store answers");
    Buckets { store, ..held }
}

/// R1
#[test]
fn an_attempt_that_has_lost_its_lease_is_told_so() {
    let late = block_on(async {
        let module = with_buckets(DRAFT, &putting(3, 1)).component();
        let late = buckets_of_another(buckets()).await;
        run(&program(&module, GRANTED).await, "{}", &late).await
    });
    let lost = "the attempt no longer holds its lease: nothing was written";
    assert_eq!(result(&late), lost);
}

/// S2: the SDK, in another attempt too.
#[test]
fn a_task_in_rust_finds_what_another_attempt_has_put() {
    let policy = "[grants]\nbuckets = [\"factors\"]\n";
    block_on(async {
        let (program, buckets) = (program(&guest("factors"), policy).await, buckets());
        for end in [
            r#""remembered":false,"asked":1}"#,
            r#""remembered":true,"asked":2}"#,
        ] {
            let answer = run(&program, r#"{"number":60}"#, &buckets).await;
            let expected = format!(r#"{{"factors":[2,2,3,5],{end}"#);
            assert_eq!(result(&answer), expected);
        }
    });
}

/// M1
#[test]
fn a_quota_that_makes_no_sense_is_refused_with_the_policy() {
    for line in [
        "bucket-quota = { value-bytes = \"17MiB\" }",
        "bucket-quota = { keys = -1 }",
        "bucket-quota = { size = 1 }",
        "buckets = [\"a b\"]",
    ] {
        let refused = Overrides::parse(&format!("[grants]\n{line}"));
        assert!(refused.is_err(), "{line}");
    }
}
