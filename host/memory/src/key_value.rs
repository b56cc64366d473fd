//! Buckets of keys and values, each within the quota of whoever writes.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::Timestamp;
use stem_core::key_value::{
    Batch, BucketStatus, Change, Fill, Key, KeyPage, KeyValue, KeyValueError, LARGEST_READ, Quota,
    Refusal, Stored, Swapped, Version, Writing, add,
};
use stem_core::names::BucketName;

use crate::server::Store;
use crate::state::State;

#[async_trait]
impl KeyValue for Store {
    async fn get(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, KeyValueError> {
        let (state, _) = self.locked();
        let stored: Vec<_> = keys
            .iter()
            .map(|key| state.buckets.get(bucket, key))
            .collect();
        let bytes: usize = stored
            .iter()
            .flatten()
            .map(|stored| stored.value.len())
            .sum();
        if bytes > LARGEST_READ.as_usize() {
            return Err(Refusal::ReadTooLarge.into());
        }
        Ok(stored.into_iter().map(|stored| stored.cloned()).collect())
    }

    async fn versions(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Version>>, KeyValueError> {
        let (state, _) = self.locked();
        let version = |key| state.buckets.version(bucket, key);
        Ok(keys.iter().map(version).collect())
    }

    async fn keys(
        &self,
        bucket: &BucketName,
        after: u64,
        limit: usize,
    ) -> Result<KeyPage, KeyValueError> {
        let (state, _) = self.locked();
        let kept = state.buckets.kept.get(bucket);
        Ok(kept.map(|kept| kept.page(after, limit)).unwrap_or_default())
    }

    async fn change(&self, writing: &Writing, changes: &[Change]) -> Result<(), KeyValueError> {
        let batch = Batch::of(changes, &writing.quota)?;
        let (mut state, now) = self.locked();
        state.may_write(writing, now)?;
        Ok(state.buckets.write(writing, &batch)?)
    }

    async fn increment(
        &self,
        writing: &Writing,
        key: &Key,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        let (mut state, now) = self.locked();
        state.may_write(writing, now)?;
        let value = state.buckets.get(&writing.bucket, key);
        let count = add(value.map(|stored| &stored.value[..]), delta)?;
        let batch = Batch::counter(key, count);
        state.buckets.write(writing, &batch)?;
        Ok(count)
    }

    async fn swap(
        &self,
        writing: &Writing,
        change: &Change,
        expected: Option<Version>,
    ) -> Result<Swapped, KeyValueError> {
        let batch = Batch::of(std::slice::from_ref(change), &writing.quota)?;
        let (mut state, now) = self.locked();
        state.may_write(writing, now)?;
        let found = state.buckets.version(&writing.bucket, &change.key);
        if found != expected {
            return Ok(Swapped::Changed { now: found });
        }
        state.buckets.write(writing, &batch)?;
        Ok(Swapped::Done)
    }

    async fn buckets(&self) -> Result<Vec<BucketStatus>, KeyValueError> {
        let (state, _) = self.locked();
        let status = |(name, bucket): (&BucketName, &Bucket)| BucketStatus {
            name: name.clone(),
            fill: bucket.fill,
        };
        Ok(state.buckets.kept.iter().map(status).collect())
    }

    async fn clear(&self, bucket: &BucketName, limit: usize) -> Result<u64, KeyValueError> {
        let (mut state, _) = self.locked();
        Ok(state.buckets.clear(bucket, limit))
    }
}

impl State {
    fn may_write(&self, writing: &Writing, now: Timestamp) -> Result<(), Refusal> {
        match self.is_stale(&writing.fence, now) {
            true => Err(Refusal::LeaseLost),
            false => Ok(()),
        }
    }
}

/// The buckets of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    kept: BTreeMap<BucketName, Bucket>,
    /// The newest number that was given to a value.
    newest: u64,
}

/// One bucket that holds something.
#[derive(Debug, Default)]
struct Bucket {
    entries: HashMap<Key, Entry>,
    /// In the order in which they came.
    order: BTreeMap<u64, Key>,
    fill: Fill,
}

#[derive(Debug)]
struct Entry {
    place: u64,
    stored: Stored,
}

impl Buckets {
    fn get(&self, bucket: &BucketName, key: &Key) -> Option<&Stored> {
        Some(&self.kept.get(bucket)?.entries.get(key)?.stored)
    }

    fn version(&self, bucket: &BucketName, key: &Key) -> Option<Version> {
        Some(self.get(bucket, key)?.version)
    }

    fn write(&mut self, writing: &Writing, batch: &Batch) -> Result<(), Refusal> {
        let bucket = self.kept.entry(writing.bucket.clone()).or_default();
        let checked = bucket.room_for(batch, &writing.quota);
        if checked.is_ok() {
            for (key, value) in batch.iter() {
                self.newest += 1;
                bucket.put(key, value, self.newest);
            }
        }
        if bucket.entries.is_empty() {
            self.kept.remove(&writing.bucket);
        }
        checked
    }

    fn clear(&mut self, name: &BucketName, limit: usize) -> u64 {
        let Some(bucket) = self.kept.get_mut(name) else {
            return 0;
        };
        let oldest: Vec<Key> = bucket.order.values().take(limit).cloned().collect();
        oldest.iter().for_each(|key| bucket.put(key, None, 0));
        if bucket.entries.is_empty() {
            self.kept.remove(name);
        }
        oldest.len() as u64
    }
}

impl Bucket {
    fn room_for(&self, batch: &Batch, quota: &Quota) -> Result<(), Refusal> {
        let after = batch.iter().fold(self.fill, |fill, (key, value)| {
            self.filled(fill, key, value)
        });
        quota.check(self.fill, after)
    }

    /// How full it is once this key has this value.
    fn filled(&self, fill: Fill, key: &Key, value: Option<&Bytes>) -> Fill {
        let old = self.entries.get(key).map(|entry| &entry.stored.value);
        let length = |value: &Bytes| value.len() as u64;
        fill.replacing(key, old.map(length), value.map(length))
    }

    /// Replaces the value of a key; `number` is newer than every other.
    fn put(&mut self, key: &Key, value: Option<&Bytes>, number: u64) {
        self.fill = self.filled(self.fill, key, value);
        let Some(value) = value.cloned() else {
            if let Some(gone) = self.entries.remove(key) {
                self.order.remove(&gone.place);
            }
            return;
        };
        let version = Version(number);
        let stored = Stored { value, version };
        if let Some(entry) = self.entries.get_mut(key) {
            entry.stored = stored;
            return;
        }
        let place = number;
        self.order.insert(place, key.clone());
        self.entries.insert(key.clone(), Entry { place, stored });
    }

    fn page(&self, after: u64, limit: usize) -> KeyPage {
        let mut later = self.order.range(after.saturating_add(1)..);
        let page: Vec<_> = later.by_ref().take(limit).collect();
        let last = page.last().map(|(place, _)| **place);
        KeyPage {
            keys: page.into_iter().map(|(_, key)| key.clone()).collect(),
            next: last.filter(|_| later.next().is_some()),
        }
    }
}
