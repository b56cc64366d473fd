//! Buckets of keys and values that tasks share, where their deployment grants them.

use std::fmt;

use crate::context::Context;
use crate::host;

/// A bucket: what one attempt puts there, others find, on every worker.
///
/// An attempt may be repeated, so what is put should not depend on how often it is: a set is safe, and an increment
/// counts once more.
#[derive(Debug)]
pub struct Bucket<'a>(host::Bucket<'a>);

/// A bucket that cannot be read or written. With `?` the attempt fails and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketError {
    /// The deployment does not grant it.
    NotGranted,
    /// It is over its quota, the attempt no longer holds its lease, or the store cannot be reached; the text says
    /// which.
    Other(String),
}

impl Context {
    /// A bucket that the deployment grants: `stem-host deploy --allow-bucket NAME`.
    ///
    /// ```
    /// use stem_guest::{Context, Interruption};
    ///
    /// fn remembered(ctx: &Context, question: &str) -> Result<String, Interruption> {
    ///     let answers = ctx.bucket("answers")?;
    ///     if let Some(answer) = answers.get(question)? {
    ///         return Ok(String::from_utf8_lossy(&answer).into_owned());
    ///     }
    ///     let answer = "42";
    ///     answers.set(question, answer)?;
    ///     Ok(answer.to_owned())
    /// }
    ///
    /// let ctx = Context::for_test().with_bucket("answers", &[]);
    /// assert_eq!(remembered(&ctx, "everything").unwrap(), "42");
    /// assert_eq!(ctx.recorded().buckets["answers"]["everything"], b"42");
    /// ```
    pub fn bucket(&self, name: impl AsRef<str>) -> Result<Bucket<'_>, BucketError> {
        self.host.bucket(name.as_ref()).map(Bucket)
    }
}

impl Bucket<'_> {
    /// The value of a key, if it is there.
    pub fn get(&self, key: impl AsRef<str>) -> Result<Option<Vec<u8>>, BucketError> {
        self.0.get(key.as_ref())
    }

    /// The values of many keys, in their order.
    pub fn get_many(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<Vec<u8>>>, BucketError> {
        self.0.get_many(&owned(keys))
    }

    /// Puts a value in place of what was there.
    pub fn set(&self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<(), BucketError> {
        self.0.set(key.as_ref(), value.as_ref())
    }

    /// Puts many values: all of them or, where there is no room, none.
    pub fn set_many(
        &self,
        pairs: &[(impl AsRef<str>, impl AsRef<[u8]>)],
    ) -> Result<(), BucketError> {
        let pair = |(key, value): &(_, _)| pair(key, value);
        self.0.set_many(&pairs.iter().map(pair).collect::<Vec<_>>())
    }

    /// Removes a key; one that is not there is no mistake.
    pub fn delete(&self, key: impl AsRef<str>) -> Result<(), BucketError> {
        self.0.delete(key.as_ref())
    }

    /// Removes many keys.
    pub fn delete_many(&self, keys: &[impl AsRef<str>]) -> Result<(), BucketError> {
        self.0.delete_many(&owned(keys))
    }

    /// Whether a key is there.
    pub fn exists(&self, key: impl AsRef<str>) -> Result<bool, BucketError> {
        self.0.exists(key.as_ref())
    }

    /// Every key, in the order in which they came.
    pub fn keys(&self) -> Result<Vec<String>, BucketError> {
        let (mut all, mut next) = self.0.page(None)?;
        while let Some(cursor) = next {
            let (keys, after) = self.0.page(Some(&cursor))?;
            all.extend(keys);
            next = after;
        }
        Ok(all)
    }

    /// Adds to a number that is written in decimal digits, in one step; none counts from 0. Gives the sum.
    pub fn increment(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, BucketError> {
        self.0.increment(key.as_ref(), delta)
    }

    /// Replaces a value by what `change` makes of it. Where another attempt was quicker, that is done again with its
    /// value: no change is lost.
    pub fn update<V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<str>,
        mut change: impl FnMut(Option<Vec<u8>>) -> V,
    ) -> Result<(), BucketError> {
        let change = |value| change(value).as_ref().to_vec();
        self.0.update(key.as_ref(), change)
    }
}

fn owned(keys: &[impl AsRef<str>]) -> Vec<String> {
    keys.iter().map(|key| key.as_ref().to_owned()).collect()
}

fn pair(key: &impl AsRef<str>, value: &impl AsRef<[u8]>) -> (String, Vec<u8>) {
    (key.as_ref().to_owned(), value.as_ref().to_vec())
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the deployment does not grant this bucket"),
            Self::Other(why) => write!(f, "the bucket refused it: {why}"),
        }
    }
}

impl std::error::Error for BucketError {}
