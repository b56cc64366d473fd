//! `wasi:keyvalue`: buckets of the result store, each where it is granted by name, within the deployment's quota (S2).
//!
//! Both drafts that toolchains import are served by the same code; they differ in cursors and counters, and the second
//! one has compare-and-swap.

mod draft;
mod draft2;

use std::sync::Arc;

use bytes::Bytes;
use stem_core::key_value::{
    Change, Key, KeyPage, KeyValue, KeyValueError, Refusal, Stored, Swapped, Version, Writing,
};
use stem_core::store_error::{StoreError, StoreErrorKind};
use wasmtime::component::{Linker, Resource, ResourceTableError};

use crate::context::Guest;
use crate::usage::BytesOut;

/// Keys that one page has.
const PAGE: usize = 1_000;
/// Keys that one call may name.
const BATCH: usize = 1_000;

/// Whether this host provides this version of an interface of `wasi:keyvalue`.
pub(crate) fn is_provided(interface: &str, version: &str) -> bool {
    let is_known = matches!(interface, "store" | "atomics" | "batch");
    is_known && matches!(version, "0.2.0-draft" | "0.2.0-draft2")
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    draft::add_to_linker(linker)?;
    draft2::add_to_linker(linker)
}

/// A bucket that a guest has opened.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn KeyValue>,
    writing: Arc<Writing>,
    out: BytesOut,
}

/// A value that a guest wants to replace if nobody else does.
pub struct Cas {
    bucket: Bucket,
    key: Key,
    seen: Option<Version>,
}

/// Why a call was not carried out.
pub enum Denial {
    /// The bucket is not granted.
    NotGranted,
    /// The store could not do it.
    Store(StoreError),
    /// Anything else that the guest is told.
    Other(String),
    /// What ends the guest.
    End(wasmtime::Error),
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal.to_string())
    }
}

impl From<ResourceTableError> for Denial {
    fn from(error: ResourceTableError) -> Self {
        Self::End(error.into())
    }
}

impl From<KeyValueError> for Denial {
    fn from(error: KeyValueError) -> Self {
        match error {
            KeyValueError::Refused(refusal) => refusal.into(),
            KeyValueError::Store(error) => Self::Store(error),
        }
    }
}

impl Guest {
    /// What the guest is told: where the store lies, and what it says, is the operator's business, once an attempt.
    fn told(&mut self, error: &StoreError) -> &'static str {
        if !std::mem::replace(&mut self.has_failed_buckets, true) {
            tracing::warn!(%error, "a call to a bucket failed; this attempt's next ones are not logged");
        }
        if error.kind() == StoreErrorKind::Full {
            "the store is full: try again later"
        } else if error.is_transient() {
            "the store cannot be reached: try again later"
        } else {
            "the store refused it"
        }
    }

    fn open_bucket(&mut self, name: &str) -> Result<Resource<Bucket>, Denial> {
        let grants = &self.granted.grants;
        let bucket = grants.bucket(name).zip(self.context.buckets());
        let (bucket, held) = bucket.ok_or(Denial::NotGranted)?;
        let writing = Writing {
            bucket: bucket.clone(),
            fence: held.fence,
            quota: grants.bucket_quota,
        };
        Ok(self.resources.push(Bucket {
            store: held.store,
            writing: Arc::new(writing),
            out: self.usage.out.clone(),
        })?)
    }

    fn bucket(&self, handle: &Resource<Bucket>) -> Result<Bucket, Denial> {
        Ok(self.resources.get(handle)?.clone())
    }
}

impl Bucket {
    async fn stored(&self, key: &Key) -> Result<Option<Stored>, Denial> {
        let keys = std::slice::from_ref(key);
        let stored = self.store.get(&self.writing.bucket, keys).await?;
        Ok(stored.into_iter().next().flatten())
    }

    async fn get(&self, key: String) -> Result<Option<Vec<u8>>, Denial> {
        let stored = self.stored(&Key::new(key)?).await?;
        Ok(stored.map(|stored| stored.value.into()))
    }

    async fn exists(&self, key: String) -> Result<bool, Denial> {
        Ok(self.version(&Key::new(key)?).await?.is_some())
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>, Denial> {
        let keys = std::slice::from_ref(key);
        let versions = self.store.versions(&self.writing.bucket, keys).await?;
        Ok(versions.into_iter().next().flatten())
    }

    async fn page(&self, after: u64) -> Result<KeyPage, Denial> {
        Ok(self.store.keys(&self.writing.bucket, after, PAGE).await?)
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, Denial> {
        let keys = named(keys)?;
        let stored = self.store.get(&self.writing.bucket, &keys).await?;
        let with_key = keys.iter().zip(stored);
        let pair = |(key, stored): (&Key, Option<Stored>)| {
            Some((key.as_str().to_owned(), stored?.value.into()))
        };
        Ok(with_key.map(pair).collect())
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Denial> {
        bounded(pairs.len())?;
        let changes = pairs
            .into_iter()
            .map(|(key, value)| change(key, Some(value)));
        self.change(changes.collect::<Result<_, _>>()?).await
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), Denial> {
        bounded(keys.len())?;
        let changes = keys.into_iter().map(|key| change(key, None));
        self.change(changes.collect::<Result<_, _>>()?).await
    }

    async fn change(&self, changes: Vec<Change>) -> Result<(), Denial> {
        self.store.change(&self.writing, &changes).await?;
        self.out.add(changes.iter().map(size).sum());
        Ok(())
    }

    async fn increment(&self, key: String, delta: i64) -> Result<i64, Denial> {
        let key = Key::new(key)?;
        let count = self.store.increment(&self.writing, &key, delta).await?;
        self.out.add(key.as_str().len() + size_of_val(&delta));
        Ok(count)
    }
}

impl Cas {
    async fn new(bucket: Bucket, key: String) -> Result<Self, Denial> {
        let key = Key::new(key)?;
        let seen = bucket.version(&key).await?;
        Ok(Self { bucket, key, seen })
    }

    async fn swap(&self, value: Vec<u8>) -> Result<Swapped, Denial> {
        let change = Change {
            key: self.key.clone(),
            value: Some(value.into()),
        };
        let Bucket {
            store,
            writing,
            out,
        } = &self.bucket;
        let swapped = store.swap(writing, &change, self.seen).await?;
        if swapped == Swapped::Done {
            out.add(size(&change));
        }
        Ok(swapped)
    }
}

/// What leaves the sandbox with a change (S8).
fn size(change: &Change) -> usize {
    change.key.as_str().len() + change.value.as_ref().map_or(0, Bytes::len)
}

fn named(keys: Vec<String>) -> Result<Vec<Key>, Denial> {
    bounded(keys.len())?;
    let keys = keys.into_iter().map(Key::new);
    Ok(keys.collect::<Result<_, _>>()?)
}

fn change(key: String, value: Option<Vec<u8>>) -> Result<Change, Refusal> {
    Ok(Change {
        key: Key::new(key)?,
        value: value.map(Bytes::from),
    })
}

fn bounded(number: usize) -> Result<(), Denial> {
    match number {
        0..=BATCH => Ok(()),
        _ => Err(Denial::Other(format!(
            "a call may name {BATCH} keys, and this one names {number}"
        ))),
    }
}
