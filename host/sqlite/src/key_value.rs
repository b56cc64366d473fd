//! Buckets of keys and values, each within the quota of whoever writes.
//!
//! A step looks before it writes: it shares its transaction with others, so that what is refused must have changed
//! nothing.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension};
use stem_core::key_value::{
    Batch, BucketStatus, Change, Fill, Key, KeyPage, KeyValue, KeyValueError, LARGEST_READ,
    Refusal, Stored, Swapped, Version, Writing, add,
};
use stem_core::names::BucketName;

use crate::problem::Stepped;
use crate::result_store::may_write;
use crate::rows::{self, count};
use crate::store::Store;
use crate::writer::Step;

const READ: &str = "read from a bucket";
const WRITE: &str = "write to a bucket";

#[async_trait]
impl KeyValue for Store {
    async fn get(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, KeyValueError> {
        let (namespace, bucket, keys) = (self.shared.namespace, bucket.clone(), keys.to_vec());
        let stored = self.read(READ, move |connection| {
            let found = Bucket::find(connection, namespace, &bucket)?;
            read_all(connection, found.number, &keys)
        });
        Ok(stored.await??)
    }

    async fn versions(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Version>>, KeyValueError> {
        let (namespace, bucket, keys) = (self.shared.namespace, bucket.clone(), keys.to_vec());
        let versions = self.read(READ, move |connection| {
            let found = Bucket::find(connection, namespace, &bucket)?;
            let version = |key| version(connection, found.number, key);
            keys.iter().map(version).collect()
        });
        Ok(versions.await?)
    }

    async fn keys(
        &self,
        bucket: &BucketName,
        after: u64,
        limit: usize,
    ) -> Result<KeyPage, KeyValueError> {
        let (namespace, bucket) = (self.shared.namespace, bucket.clone());
        let page = self.list_rows("list the keys of a bucket", move |connection| {
            let found = Bucket::find(connection, namespace, &bucket)?;
            page(connection, found.number, after, limit)
        });
        Ok(page.await?)
    }

    async fn change(&self, writing: &Writing, changes: &[Change]) -> Result<(), KeyValueError> {
        let batch = Batch::of(changes, &writing.quota)?;
        if batch.puts() {
            self.shared.check_room(WRITE).await?;
        }
        let writing = writing.clone();
        let written = self.write(WRITE, move |step| {
            if !may_write(step, &writing.fence)? {
                return Ok(Err(Refusal::LeaseLost));
            }
            write(step, &writing, &batch)
        });
        Ok(written.await??)
    }

    async fn increment(
        &self,
        writing: &Writing,
        key: &Key,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        self.shared.check_room(WRITE).await?;
        let (writing, key) = (writing.clone(), key.clone());
        let counted = self.write(WRITE, move |step| {
            if !may_write(step, &writing.fence)? {
                return Ok(Err(Refusal::LeaseLost));
            }
            increment(step, &writing, &key, delta)
        });
        Ok(counted.await??)
    }

    async fn swap(
        &self,
        writing: &Writing,
        change: &Change,
        expected: Option<Version>,
    ) -> Result<Swapped, KeyValueError> {
        let batch = Batch::of(std::slice::from_ref(change), &writing.quota)?;
        if batch.puts() {
            self.shared.check_room(WRITE).await?;
        }
        let (writing, key) = (writing.clone(), change.key.clone());
        let swapped = self.write(WRITE, move |step| {
            if !may_write(step, &writing.fence)? {
                return Ok(Err(Refusal::LeaseLost));
            }
            let bucket = Bucket::find(step.connection, step.namespace, &writing.bucket)?;
            let now = version(step.connection, bucket.number, &key)?;
            if now != expected {
                return Ok(Ok(Swapped::Changed { now }));
            }
            Ok(write(step, &writing, &batch)?.map(|()| Swapped::Done))
        });
        Ok(swapped.await??)
    }

    async fn buckets(&self) -> Result<Vec<BucketStatus>, KeyValueError> {
        let namespace = self.shared.namespace;
        let buckets = self.list_rows("list buckets", move |connection| {
            buckets(connection, namespace)
        });
        Ok(buckets.await?)
    }

    async fn clear(&self, bucket: &BucketName, limit: usize) -> Result<u64, KeyValueError> {
        let bucket = bucket.clone();
        let cleared = self.write("clear a bucket", move |step| clear(step, &bucket, limit));
        Ok(cleared.await?)
    }
}

/// A bucket, or the place of one that holds nothing yet.
struct Bucket {
    number: Option<i64>,
    fill: Fill,
}

impl Bucket {
    fn find(connection: &Connection, namespace: i64, name: &BucketName) -> Stepped<Self> {
        const FIND: &str =
            "SELECT bucket, keys, bytes FROM buckets WHERE namespace = ?1 AND name = ?2";
        let mut statement = connection.prepare_cached(FIND)?;
        let found = statement.query_row((namespace, name.as_str()), |row| {
            Ok(Self {
                number: row.get(0)?,
                fill: fill(row, 1)?,
            })
        });
        let none = Self {
            number: None,
            fill: Fill::default(),
        };
        Ok(found.optional()?.unwrap_or(none))
    }

    /// Says how full it is from now on: the first key makes a bucket, and the last ends it.
    fn become_full(&self, step: &Step<'_>, name: &BucketName, fill: Fill) -> Stepped<i64> {
        const MAKE: &str = "INSERT INTO buckets (namespace, name, keys, bytes)
            VALUES (?1, ?2, ?3, ?4) RETURNING bucket";
        const FILL: &str = "UPDATE buckets SET keys = ?2, bytes = ?3 WHERE bucket = ?1";
        const END: &str = "DELETE FROM buckets WHERE bucket = ?1";
        let (keys, bytes) = (fill.keys.cast_signed(), fill.bytes.cast_signed());
        let Some(number) = self.number else {
            let params = (step.namespace, name.as_str(), keys, bytes);
            return Ok(step.prepare(MAKE)?.query_row(params, |row| row.get(0))?);
        };
        match keys {
            0 => step.execute(END, [number])?,
            _ => step.execute(FILL, (number, keys, bytes))?,
        };
        Ok(number)
    }
}

fn fill(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Fill> {
    Ok(Fill {
        keys: row.get::<_, i64>(column)?.cast_unsigned(),
        bytes: row.get::<_, i64>(column + 1)?.cast_unsigned(),
    })
}

/// Makes changes where the bucket has room for all of them.
fn write(step: &Step<'_>, writing: &Writing, batch: &Batch) -> Stepped<Result<(), Refusal>> {
    let bucket = Bucket::find(step.connection, step.namespace, &writing.bucket)?;
    let mut after = bucket.fill;
    for (key, value) in batch.iter() {
        let old = length(step, bucket.number, key)?;
        after = after.replacing(key, old, value.map(|value| value.len() as u64));
    }
    if let Err(refusal) = writing.quota.check(bucket.fill, after) {
        return Ok(Err(refusal));
    }
    if bucket.number.is_none() && after.keys == 0 {
        return Ok(Ok(()));
    }
    let number = bucket.become_full(step, &writing.bucket, after)?;
    for (key, value) in batch.iter() {
        put(step, number, key, value.map(|value| &value[..]))?;
    }
    Ok(Ok(()))
}

fn put(step: &Step<'_>, bucket: i64, key: &Key, value: Option<&[u8]>) -> Stepped<()> {
    const PUT: &str = "INSERT INTO entries (place, bucket, key, version, value)
        VALUES (?1, ?2, ?3, ?1, ?4)
        ON CONFLICT (bucket, key) DO UPDATE SET version = excluded.version, value = excluded.value";
    const REMOVE: &str = "DELETE FROM entries WHERE bucket = ?1 AND key = ?2";
    match value {
        Some(value) => {
            let number = step.take_numbers(1)?;
            step.execute(PUT, (number, bucket, key.as_str(), value))?
        }
        None => step.execute(REMOVE, (bucket, key.as_str()))?,
    };
    Ok(())
}

fn length(step: &Step<'_>, bucket: Option<i64>, key: &Key) -> Stepped<Option<u64>> {
    const LENGTH: &str = "SELECT length(value) FROM entries WHERE bucket = ?1 AND key = ?2";
    let mut statement = step.prepare(LENGTH)?;
    let length = statement.query_row((bucket, key.as_str()), |row| row.get::<_, i64>(0));
    Ok(length.optional()?.map(i64::cast_unsigned))
}

fn increment(
    step: &Step<'_>,
    writing: &Writing,
    key: &Key,
    delta: i64,
) -> Stepped<Result<i64, Refusal>> {
    let bucket = Bucket::find(step.connection, step.namespace, &writing.bucket)?;
    let stored = read(step.connection, bucket.number, key)?;
    let count = match add(stored.as_ref().map(|stored| &stored.value[..]), delta) {
        Ok(count) => count,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let written = write(step, writing, &Batch::counter(key, count))?;
    Ok(written.map(|()| count))
}

fn read(connection: &Connection, bucket: Option<i64>, key: &Key) -> Stepped<Option<Stored>> {
    const READ: &str = "SELECT value, version FROM entries WHERE bucket = ?1 AND key = ?2";
    let mut statement = connection.prepare_cached(READ)?;
    let stored = statement.query_row((bucket, key.as_str()), |row| {
        Ok(Stored {
            value: rows::bytes(row, 0)?,
            version: Version(row.get::<_, i64>(1)?.cast_unsigned()),
        })
    });
    Ok(stored.optional()?)
}

/// The values of these keys, where one answer may have them all.
fn read_all(
    connection: &Connection,
    bucket: Option<i64>,
    keys: &[Key],
) -> Stepped<Result<Vec<Option<Stored>>, Refusal>> {
    let mut left = LARGEST_READ.as_usize();
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        let stored = read(connection, bucket, key)?;
        let length = stored.as_ref().map_or(0, |stored| stored.value.len());
        let Some(less) = left.checked_sub(length) else {
            return Ok(Err(Refusal::ReadTooLarge));
        };
        left = less;
        all.push(stored);
    }
    Ok(Ok(all))
}

fn version(connection: &Connection, bucket: Option<i64>, key: &Key) -> Stepped<Option<Version>> {
    const VERSION: &str = "SELECT version FROM entries WHERE bucket = ?1 AND key = ?2";
    let mut statement = connection.prepare_cached(VERSION)?;
    let version = statement.query_row((bucket, key.as_str()), |row| row.get::<_, i64>(0));
    let version = version.optional()?.map(i64::cast_unsigned);
    Ok(version.map(Version))
}

fn page(
    connection: &Connection,
    bucket: Option<i64>,
    after: u64,
    limit: usize,
) -> Stepped<KeyPage> {
    const PAGE: &str = "SELECT place, key FROM entries INDEXED BY entries_listed
        WHERE bucket = ?1 AND place > ?2 ORDER BY place LIMIT ?3";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut rows = statement.query((bucket, after, count(limit).saturating_add(1)))?;
    let mut page = KeyPage::default();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.keys.len() == limit {
            page.next = last;
            break;
        }
        page.keys.push(key(row)?);
        last = Some(row.get::<_, i64>(0)?.cast_unsigned());
    }
    Ok(page)
}

/// A key that was checked when it was stored.
fn key(row: &rusqlite::Row<'_>) -> rusqlite::Result<Key> {
    let text = row.get_ref(1)?.as_str()?;
    Key::new(text).map_err(|refusal| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, refusal.into())
    })
}

fn buckets(connection: &Connection, namespace: i64) -> Stepped<Vec<BucketStatus>> {
    const BUCKETS: &str =
        "SELECT name, keys, bytes FROM buckets WHERE namespace = ?1 ORDER BY name";
    let mut statement = connection.prepare_cached(BUCKETS)?;
    let rows = statement.query_map([namespace], |row| {
        Ok(BucketStatus {
            name: rows::name(row, 0, |text| BucketName::new(text))?,
            fill: fill(row, 1)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn clear(step: &Step<'_>, name: &BucketName, limit: usize) -> Stepped<u64> {
    const OLDEST: &str = "SELECT place, octet_length(key) + length(value)
        FROM entries INDEXED BY entries_listed WHERE bucket = ?1 ORDER BY place LIMIT ?2";
    let bucket = Bucket::find(step.connection, step.namespace, name)?;
    let mut statement = step.prepare(OLDEST)?;
    let oldest = statement.query_map((bucket.number, count(limit)), |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
    })?;
    let oldest: Vec<(i64, u64)> = oldest.collect::<rusqlite::Result<_>>()?;
    if oldest.is_empty() {
        return Ok(0);
    }
    let mut left = bucket.fill;
    for (place, bytes) in &oldest {
        step.execute("DELETE FROM entries WHERE place = ?1", [place])?;
        left.keys = left.keys.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(*bytes);
    }
    bucket.become_full(step, name, left)?;
    Ok(oldest.len() as u64)
}
