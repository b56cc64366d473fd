//! A bucket for native tests: it is granted where the test says so, and keeps what the task puts there.

use std::collections::BTreeMap;

use super::Host;
use crate::bucket::BucketError;
use crate::context::Context;

/// What lies in a bucket.
type Entries = BTreeMap<String, Vec<u8>>;

/// An open bucket.
#[derive(Debug)]
pub(crate) struct Bucket<'a> {
    host: &'a Host,
    name: String,
}

impl Host {
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket<'_>, BucketError> {
        let is_granted = self.recorded(|recorded| recorded.buckets.contains_key(name));
        let name = name.to_owned();
        match is_granted {
            true => Ok(Bucket { host: self, name }),
            false => Err(BucketError::NotGranted),
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "as the bucket of a real host, which may refuse"
)]
impl Bucket<'_> {
    fn with<T>(&self, use_it: impl FnOnce(&mut Entries) -> T) -> T {
        self.host
            .recorded(|recorded| use_it(recorded.buckets.entry(self.name.clone()).or_default()))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        Ok(self.with(|entries| entries.get(key).cloned()))
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, BucketError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), BucketError> {
        self.with(|entries| entries.insert(key.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), BucketError> {
        pairs
            .iter()
            .try_for_each(|(key, value)| self.set(key, value))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.with(|entries| entries.remove(key));
        Ok(())
    }

    pub(crate) fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        keys.iter().try_for_each(|key| self.delete(key))
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, BucketError> {
        Ok(self.with(|entries| entries.contains_key(key)))
    }

    pub(crate) fn page(
        &self,
        _cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), BucketError> {
        Ok((self.with(|entries| entries.keys().cloned().collect()), None))
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64, BucketError> {
        let value = self.get(key)?.unwrap_or_else(|| b"0".to_vec());
        let count = String::from_utf8_lossy(&value).parse::<i64>().ok();
        let sum = count.and_then(|count| count.checked_add(delta));
        let sum =
            sum.ok_or_else(|| BucketError::Other("the value is no number that fits".to_owned()))?;
        self.set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }

    pub(crate) fn update(
        &self,
        key: &str,
        mut change: impl FnMut(Option<Vec<u8>>) -> Vec<u8>,
    ) -> Result<(), BucketError> {
        let value = change(self.get(key)?);
        self.set(key, &value)
    }
}

/// For native tests. Not there in a sandbox.
impl Context {
    /// The same where a bucket is granted and holds these keys and values.
    #[must_use]
    pub fn with_bucket(self, name: impl Into<String>, entries: &[(&str, &str)]) -> Self {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
        let entries = entries.iter().map(entry).collect();
        self.host
            .recorded(|recorded| recorded.buckets.insert(name.into(), entries));
        self
    }
}
