//! The key-value seam: buckets that tasks share, in the result store, each within a quota (S2, R4).
//!
//! A bucket is made by the first key that is put into it and gone with the last. Whatever is written is written for a
//! delivery, and refused once that has lost its lease (R1); what is read is not fenced.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::names::BucketName;
use crate::result_store::Fence;
use crate::store_error::StoreError;
use crate::units::ByteSize;

/// Bytes that a key may have.
pub const LONGEST_KEY: usize = 1_024;
/// Bytes of values that one call gives.
pub const LARGEST_READ: ByteSize = ByteSize::mib(16);

/// Keeps buckets of keys and values. Whoever reads after a write has returned sees it, in any process.
#[async_trait]
pub trait KeyValue: Send + Sync {
    /// The values of these keys, in the same order; refused where they are over [`LARGEST_READ`] together.
    async fn get(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, KeyValueError>;

    /// The versions of their values: whether they are there, and whether they are what they were.
    async fn versions(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Version>>, KeyValueError>;

    /// At most so many keys after a page's end, in the order in which they came into the bucket.
    async fn keys(
        &self,
        bucket: &BucketName,
        after: u64,
        limit: usize,
    ) -> Result<KeyPage, KeyValueError>;

    /// Puts and removes, all or none. Where a key comes more than once its last change counts.
    async fn change(&self, writing: &Writing, changes: &[Change]) -> Result<(), KeyValueError>;

    /// Adds to the whole number, written in decimal digits, that the value is; none counts from 0. Gives the sum.
    async fn increment(
        &self,
        writing: &Writing,
        key: &Key,
        delta: i64,
    ) -> Result<i64, KeyValueError>;

    /// Puts this value where the key still has the version that was expected, or still is not there.
    async fn swap(
        &self,
        writing: &Writing,
        change: &Change,
        expected: Option<Version>,
    ) -> Result<Swapped, KeyValueError>;

    /// Every bucket that holds something, by name.
    async fn buckets(&self) -> Result<Vec<BucketStatus>, KeyValueError>;

    /// Removes at most so many keys, the oldest first, and says how many went.
    async fn clear(&self, bucket: &BucketName, limit: usize) -> Result<u64, KeyValueError>;
}

/// A key that is not too long.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks its length.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Refusal> {
        let text = text.as_ref();
        match text.len() {
            0..=LONGEST_KEY => Ok(Self(text.into())),
            length => Err(Refusal::KeyTooLong { length }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Names one value that a key has had: a later value of the same key has another, also one that is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub u64);

/// A value, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The bytes.
    pub value: Bytes,
    /// Which of the key's values it is.
    pub version: Version,
}

/// Some of a bucket's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<Key>,
    /// Where the next page begins, if there is one. It stays good while keys come and go.
    pub next: Option<u64>,
}

/// What is to become of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// Its value; none removes it.
    pub value: Option<Bytes>,
}

/// Where something is written, for whom, and how much may lie there afterwards.
#[derive(Debug, Clone)]
pub struct Writing {
    /// The bucket.
    pub bucket: BucketName,
    /// The delivery that it is written for.
    pub fence: Fence,
    /// What the bucket may hold, as this writer's deployment has it.
    pub quota: Quota,
}

/// Where an attempt finds buckets, and as which delivery it writes to them.
#[derive(Clone)]
pub struct Buckets {
    /// The store.
    pub store: Arc<dyn KeyValue>,
    /// The delivery.
    pub fence: Fence,
}

/// What became of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    /// The value is written.
    Done,
    /// Another was written, or the key removed, meanwhile: nothing has changed.
    Changed {
        /// The version that the key has now.
        now: Option<Version>,
    },
}

/// A bucket, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketStatus {
    /// Its name.
    pub name: BucketName,
    /// What it holds.
    #[serde(flatten)]
    pub fill: Fill,
}

/// How much lies in a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl Fill {
    /// The same after a key's value, which had so many bytes, has been replaced by one of so many; none is no value.
    #[must_use]
    pub fn replacing(self, key: &Key, old: Option<u64>, new: Option<u64>) -> Self {
        let keys = |value: Option<u64>| u64::from(value.is_some());
        let bytes = |value: Option<u64>| value.map_or(0, |bytes| bytes + key.0.len() as u64);
        Self {
            keys: (self.keys + keys(new)).saturating_sub(keys(old)),
            bytes: (self.bytes + bytes(new)).saturating_sub(bytes(old)),
        }
    }
}

/// How much a bucket may hold. Each deployment has its own, and a write is checked with the writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values together.
    #[serde(rename = "bytes", deserialize_with = "size")]
    pub total: ByteSize,
    /// Bytes of one value: [`LARGEST_READ`] at most, or nobody could read it.
    #[serde(rename = "value-bytes", deserialize_with = "value_size")]
    pub value: ByteSize,
}

/// A number of bytes, or a size as people write it.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(u64),
        Size(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Bytes(bytes) => Ok(ByteSize(bytes)),
        Written::Size(text) => text.parse().map_err(D::Error::custom),
    }
}

fn value_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = size(deserializer)?;
    match size > LARGEST_READ {
        true => Err(D::Error::custom(format!(
            "a value has at most {LARGEST_READ}"
        ))),
        false => Ok(size),
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            keys: 65_536,
            total: ByteSize::mib(16),
            value: ByteSize::mib(1),
        }
    }
}

impl Quota {
    /// Refuses a write that would leave more than this in a bucket; one that makes nothing larger is never refused.
    pub fn check(&self, before: Fill, after: Fill) -> Result<(), Refusal> {
        if after.keys > self.keys && after.keys > before.keys {
            return Err(Refusal::TooManyKeys { quota: self.keys });
        }
        if after.bytes > self.total.0 && after.bytes > before.bytes {
            return Err(Refusal::TooManyBytes { quota: self.total });
        }
        Ok(())
    }
}

/// Changes as a store makes them: one for each key, and no value too large.
#[derive(Debug, Clone)]
pub struct Batch(BTreeMap<Key, Option<Bytes>>);

impl Batch {
    /// The last change of each key.
    pub fn of(changes: &[Change], quota: &Quota) -> Result<Self, Refusal> {
        let values = changes.iter().filter_map(|change| change.value.as_ref());
        let too_large = values
            .map(Bytes::len)
            .find(|length| *length > quota.value.as_usize());
        if let Some(length) = too_large {
            let limit = quota.value;
            return Err(Refusal::ValueTooLarge { length, limit });
        }
        let changes = changes.iter().cloned();
        Ok(Self(
            changes.map(|change| (change.key, change.value)).collect(),
        ))
    }

    /// The one change that a counter needs: its digits are never too large.
    pub fn counter(key: &Key, count: i64) -> Self {
        let digits = Bytes::from(count.to_string());
        Self(BTreeMap::from([(key.clone(), Some(digits))]))
    }

    /// Each key with what it is to have.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Bytes>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Whether it puts anything; removing alone needs no room.
    pub fn puts(&self) -> bool {
        self.0.values().any(Option::is_some)
    }
}

/// What a counter comes to.
pub fn add(value: Option<&[u8]>, delta: i64) -> Result<i64, Refusal> {
    let count = match value {
        None => 0,
        Some(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or(Refusal::NoNumber)?,
    };
    i64::checked_add(count, delta).ok_or(Refusal::Overflow)
}

/// A call to a bucket that was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum KeyValueError {
    /// The bucket does not take or give this: nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a bucket does not take, or does not give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The key has too many bytes.
    #[error("the key has {length} bytes, over the limit of {LONGEST_KEY}")]
    KeyTooLong {
        /// How many it has.
        length: usize,
    },
    /// The value has too many bytes.
    #[error("the value has {length} bytes, over the limit of {limit}")]
    ValueTooLarge {
        /// How many it has.
        length: usize,
        /// How many it may have.
        limit: ByteSize,
    },
    /// The bucket would have too many keys.
    #[error("the bucket is full: it may have {quota} keys")]
    TooManyKeys {
        /// How many it may have.
        quota: u64,
    },
    /// The bucket would be too large.
    #[error("the bucket is full: its keys and values may have {quota} together")]
    TooManyBytes {
        /// How large it may be.
        quota: ByteSize,
    },
    /// The values that were asked for are too large for one answer.
    #[error("the values of these keys are over {LARGEST_READ} together: ask for fewer at once")]
    ReadTooLarge,
    /// What is to be counted on is no number.
    #[error("the value is no whole number of 64 bits")]
    NoNumber,
    /// The sum is too large or too small.
    #[error("the sum is no whole number of 64 bits")]
    Overflow,
    /// The attempt no longer holds its lease.
    #[error("the attempt no longer holds its lease: nothing was written")]
    LeaseLost,
}

#[cfg(test)]
#[path = "key_value_tests.rs"]
mod tests;
