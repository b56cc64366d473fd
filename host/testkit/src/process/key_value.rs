//! Reading and writing buckets.

use stem_core::key_value::{
    BucketStatus, Change, KeyPage, KeyValueError, Refusal, Stored, Swapped, Version, Writing,
};

use super::{ANSWERS, Process};
use crate::builders::{DEFAULT_BUCKET, bucket_name, key, writing};

/// What a bucket answers, where its store does.
fn answer<T>(answer: Result<T, KeyValueError>) -> Result<T, Refusal> {
    match answer {
        Ok(given) => Ok(given),
        Err(KeyValueError::Refused(refusal)) => Err(refusal),
        Err(KeyValueError::Store(error)) => panic!("{ANSWERS}: {error}"),
    }
}

impl Process {
    /// Puts and removes.
    pub async fn change(&self, writing: &Writing, changes: &[Change]) -> Result<(), Refusal> {
        answer(self.stores.key_value.change(writing, changes).await)
    }

    /// The same with the default bucket, which has room.
    pub async fn fill(&self, changes: &[Change]) {
        let filled = self.change(&writing(), changes).await;
        filled.expect("the bucket has room");
    }

    /// Adds to a counter.
    pub async fn increment(
        &self,
        writing: &Writing,
        name: &str,
        delta: i64,
    ) -> Result<i64, Refusal> {
        let key = key(name);
        answer(self.stores.key_value.increment(writing, &key, delta).await)
    }

    /// Puts a value where nobody else has put one meanwhile.
    pub async fn swap(
        &self,
        writing: &Writing,
        change: &Change,
        expected: Option<Version>,
    ) -> Result<Swapped, Refusal> {
        let swapped = self.stores.key_value.swap(writing, change, expected).await;
        answer(swapped)
    }

    /// The values of a bucket's keys.
    pub async fn get(&self, bucket: &str, names: &[&str]) -> Result<Vec<Option<Stored>>, Refusal> {
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        answer(self.stores.key_value.get(&bucket_name(bucket), &keys).await)
    }

    /// The values of the default bucket's keys, as text.
    pub async fn values(&self, names: &[&str]) -> Vec<Option<String>> {
        let stored = self.get(DEFAULT_BUCKET, names).await.expect(ANSWERS);
        let text = |stored: Stored| String::from_utf8_lossy(&stored.value).into_owned();
        stored.into_iter().map(|stored| stored.map(text)).collect()
    }

    /// The version that a key of the default bucket has.
    pub async fn version(&self, name: &str) -> Option<Version> {
        let bucket = bucket_name(DEFAULT_BUCKET);
        let versions = self.stores.key_value.versions(&bucket, &[key(name)]).await;
        answer(versions).expect(ANSWERS)[0]
    }

    /// Some of the default bucket's keys.
    pub async fn key_page(&self, after: u64, limit: usize) -> KeyPage {
        let bucket = bucket_name(DEFAULT_BUCKET);
        let page = self.stores.key_value.keys(&bucket, after, limit).await;
        answer(page).expect(ANSWERS)
    }

    /// Every key of the default bucket, read in pages of this size.
    pub async fn key_names(&self, limit: usize) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), Some(0));
        while let Some(page) = after {
            let page = self.key_page(page, limit).await;
            assert!(page.keys.len() <= limit, "{page:?}");
            names.extend(page.keys.iter().map(|key| key.as_str().to_owned()));
            after = page.next;
        }
        names
    }

    /// Every bucket that holds something.
    pub async fn buckets(&self) -> Vec<BucketStatus> {
        answer(self.stores.key_value.buckets().await).expect(ANSWERS)
    }

    /// Removes at most so many keys of the default bucket.
    pub async fn clear(&self, limit: usize) -> u64 {
        let bucket = bucket_name(DEFAULT_BUCKET);
        let cleared = self.stores.key_value.clear(&bucket, limit).await;
        answer(cleared).expect(ANSWERS)
    }
}
