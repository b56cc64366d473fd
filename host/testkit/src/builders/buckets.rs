//! Buckets, keys, and what is done to them.

use bytes::Bytes;
use stem_core::key_value::{Change, Key, Quota, Writing};
use stem_core::names::BucketName;

use super::{KEEPS_THE_RULE, first_fence};

/// The bucket that is written to.
pub const DEFAULT_BUCKET: &str = "cache";

/// A bucket's name.
pub fn bucket_name(name: &str) -> BucketName {
    BucketName::new(name).expect(KEEPS_THE_RULE)
}

/// Writes to the default bucket, within the default quota, for a delivery that no broker knows.
pub fn writing() -> Writing {
    Writing {
        bucket: bucket_name(DEFAULT_BUCKET),
        fence: first_fence(),
        quota: Quota::default(),
    }
}

/// A key that is short enough.
pub fn key(text: &str) -> Key {
    Key::new(text).expect("a test's keys are short")
}

/// A key that is to have this value.
pub fn put(name: &str, value: &str) -> Change {
    Change {
        key: key(name),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}

/// A key that is to go.
pub fn removal(name: &str) -> Change {
    Change {
        key: key(name),
        value: None,
    }
}
