//! Keys, quotas, counters and batches.

use super::*;

fn key(text: &str) -> Key {
    Key::new(text).expect("short enough")
}

/// R4
#[test]
fn a_key_is_refused_only_where_it_is_too_long() {
    for good in ["", "a", "a b", "\u{0}ü", &"k".repeat(LONGEST_KEY)] {
        assert!(Key::new(good).is_ok(), "{good}");
    }
    let refused = Key::new("ü".repeat(513)).expect_err("too long");
    assert_eq!(refused, Refusal::KeyTooLong { length: 1_026 });
}

const SMALL: Quota = Quota {
    keys: 1,
    total: ByteSize(10),
    value: ByteSize(10),
};
const MANY: Refusal = Refusal::TooManyKeys { quota: SMALL.keys };
const LARGE: Refusal = Refusal::TooManyBytes { quota: SMALL.total };

/// R4: a bucket that is over a quota which was lowered can still be emptied.
#[test]
fn a_write_that_makes_a_bucket_no_larger_is_never_over_its_quota() {
    let fill = |keys, bytes| Fill { keys, bytes };
    for (before, after, expected) in [
        (fill(0, 0), fill(1, 10), Ok(())),
        (fill(1, 10), fill(2, 10), Err(MANY)),
        (fill(1, 5), fill(1, 11), Err(LARGE)),
        (fill(3, 30), fill(3, 30), Ok(())),
        (fill(3, 30), fill(2, 29), Ok(())),
    ] {
        assert_eq!(SMALL.check(before, after), expected, "{before:?} {after:?}");
    }
}

fn written(quota: &str) -> Result<Quota, serde_json::Error> {
    serde_json::from_str(quota)
}

/// M4
#[test]
fn a_quota_is_written_in_sizes_or_in_bytes() {
    let read = written(r#"{"keys": 5, "bytes": "64MiB", "value-bytes": 100}"#).expect("a quota");
    assert_eq!((read.keys, read.total), (5, ByteSize::mib(64)));
    assert_eq!(read.value, ByteSize(100));
    assert_eq!(written("{}").expect("a quota"), Quota::default());
}

/// M4
#[test]
fn a_quota_that_cannot_be_kept_is_refused() {
    for bad in [
        r#"{"bytes": "64 apples"}"#,
        r#"{"value-bytes": "17MiB"}"#,
        r#"{"byte": 1}"#,
    ] {
        assert!(written(bad).is_err(), "{bad}");
    }
}

/// R4
#[test]
fn a_fill_counts_keys_with_their_values() {
    let two = Fill { keys: 2, bytes: 20 };
    let key = key("key");
    for (old, new, keys, bytes) in [
        (None, Some(5), 3, 28),
        (Some(5), Some(7), 2, 22),
        (Some(5), None, 1, 12),
        (None, None, 2, 20),
    ] {
        assert_eq!(two.replacing(&key, old, new), Fill { keys, bytes });
    }
}

/// S2
#[test]
fn a_counter_counts_in_digits_and_never_wraps() {
    assert_eq!(add(None, -3), Ok(-3));
    assert_eq!(add(Some(b"41"), 1), Ok(42));
    assert_eq!(add(Some(b"9223372036854775807"), 1), Err(Refusal::Overflow));
    for bad in [&b"4.5"[..], b"", b"\xff", b"99999999999999999999"] {
        assert_eq!(add(Some(bad), 1), Err(Refusal::NoNumber));
    }
}

/// S2
#[test]
fn the_last_change_of_a_key_counts() {
    let change = |value: Option<&'static str>| Change {
        key: key("k"),
        value: value.map(Bytes::from),
    };
    let changes = [change(Some("first")), change(None), change(Some("last"))];
    let batch = Batch::of(&changes, &Quota::default()).expect("small enough");
    let kept: Vec<_> = batch.iter().collect();
    assert_eq!(kept, [(&key("k"), Some(&Bytes::from("last")))]);
}
