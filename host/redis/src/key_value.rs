//! Buckets of keys and values, each within the quota of whoever writes.

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use stem_core::key_value::{
    Batch, BucketStatus, Change, Fill, Key, KeyPage, KeyValue, KeyValueError, LARGEST_READ,
    Refusal, Stored, Swapped, Version, Writing,
};
use stem_core::names::BucketName;
use stem_core::store_error::StoreError;

use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::result_store::add_fence;
use crate::scripts::{self, Script};
use crate::store::Store;

const READ: &str = "read from a bucket";
const WRITE: &str = "write to a bucket";
const LIST: &str = "list the keys of a bucket";
/// Bytes before a value: its version, and the place of its key.
const HEAD: usize = 16;

#[async_trait]
impl KeyValue for Store {
    async fn get(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Stored>>, KeyValueError> {
        let mut call = self.call(&scripts::BUCKET_GET);
        call.arg(bucket.as_str()).arg(LARGEST_READ.0);
        add_keys(&mut call, keys);
        let answer = self.run_bulk(READ, &call).await?;
        if answer == Value::Int(0) {
            return Err(Refusal::ReadTooLarge.into());
        }
        let values = reply::list(answer);
        let stored = values.and_then(|values| values.into_iter().map(stored).collect());
        Ok(self.named(READ, stored)?)
    }

    async fn versions(
        &self,
        bucket: &BucketName,
        keys: &[Key],
    ) -> Result<Vec<Option<Version>>, KeyValueError> {
        let mut call = self.call(&scripts::BUCKET_VERSIONS);
        call.arg(bucket.as_str());
        add_keys(&mut call, keys);
        let answer = self.run(READ, &call).await?;
        let version = |value| Ok(reply::some_bytes(value)?.map(|bytes| version(&bytes)));
        let values = reply::list(answer);
        let versions = values.and_then(|values| values.into_iter().map(version).collect());
        Ok(self.named(READ, versions)?)
    }

    async fn keys(
        &self,
        bucket: &BucketName,
        after: u64,
        limit: usize,
    ) -> Result<KeyPage, KeyValueError> {
        let mut command = redis::cmd("ZRANGE");
        command
            .arg(format!("{}o:{bucket}", self.shared.prefix))
            .arg(format!("({after}"))
            .arg("+inf")
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(limit.saturating_add(1).min(usize::MAX / 2))
            .arg("WITHSCORES");
        let answer = self.ask_bulk(LIST, &command).await?;
        Ok(self.named(LIST, page(answer, limit))?)
    }

    async fn change(&self, writing: &Writing, changes: &[Change]) -> Result<(), KeyValueError> {
        let batch = Batch::of(changes, &writing.quota)?;
        match self.write(writing, &batch, "").await? {
            Written::Done(_) => Ok(()),
            Written::Refused(refusal) => Err(refusal.into()),
            Written::Changed(_) => Err(self.unexpected(WRITE)),
        }
    }

    async fn increment(
        &self,
        writing: &Writing,
        key: &Key,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        self.shared.check_room(WRITE).await?;
        let mut call = self.writing(&scripts::BUCKET_INCREMENT, writing);
        call.arg(key.as_str()).arg(delta);
        let answer = self.run(WRITE, &call).await?;
        let sum = match self.named(WRITE, Written::read(answer, writing))? {
            Written::Done(Some(sum)) => sum,
            Written::Refused(refusal) => return Err(refusal.into()),
            Written::Done(None) | Written::Changed(_) => return Err(self.unexpected(WRITE)),
        };
        sum.parse().map_err(|_| self.unexpected(WRITE))
    }

    async fn swap(
        &self,
        writing: &Writing,
        change: &Change,
        expected: Option<Version>,
    ) -> Result<Swapped, KeyValueError> {
        let batch = Batch::of(std::slice::from_ref(change), &writing.quota)?;
        let expected = expected.map_or("-".to_owned(), |version| version.0.to_string());
        match self.write(writing, &batch, &expected).await? {
            Written::Done(_) => Ok(Swapped::Done),
            Written::Changed(now) => Ok(Swapped::Changed { now }),
            Written::Refused(refusal) => Err(refusal.into()),
        }
    }

    async fn buckets(&self) -> Result<Vec<BucketStatus>, KeyValueError> {
        const BUCKETS: &str = "list buckets";
        let mut command = redis::cmd("HGETALL");
        command.arg(format!("{}buckets", self.shared.prefix));
        let answer = self.ask_bulk(BUCKETS, &command).await?;
        let buckets = reply::pairs(answer)
            .and_then(|pairs| pairs.iter().map(status).collect::<Stepped<Vec<_>>>());
        let mut buckets = self.named(BUCKETS, buckets)?;
        buckets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(buckets)
    }

    async fn clear(&self, bucket: &BucketName, limit: usize) -> Result<u64, KeyValueError> {
        const CLEAR: &str = "clear a bucket";
        let mut call = self.call(&scripts::BUCKET_CLEAR);
        call.arg(bucket.as_str()).arg(limit);
        let answer = self.run_bulk(CLEAR, &call).await?;
        Ok(self.named(CLEAR, reply::number(answer))?)
    }
}

impl Store {
    fn writing(&self, script: &'static Script, writing: &Writing) -> Call {
        let mut call = self.call(script);
        call.arg(writing.bucket.as_str());
        add_fence(&mut call, &writing.fence);
        call.arg(writing.quota.keys).arg(writing.quota.total.0);
        call
    }

    async fn write(
        &self,
        writing: &Writing,
        batch: &Batch,
        expected: &str,
    ) -> Result<Written, StoreError> {
        let script = match batch.puts() {
            true => {
                self.shared.check_room(WRITE).await?;
                &scripts::BUCKET_PUT
            }
            false => &scripts::BUCKET_REMOVE,
        };
        let mut call = self.writing(script, writing);
        call.arg(expected);
        for (key, value) in batch.iter() {
            let bytes = value.map_or(&[][..], |value| &value[..]);
            call.arg(key.as_str())
                .arg(u8::from(value.is_some()))
                .arg(bytes);
        }
        let answer = self.run(WRITE, &call).await?;
        self.named(WRITE, Written::read(answer, writing))
    }

    fn unexpected(&self, operation: &'static str) -> KeyValueError {
        let problem = Problem::unexpected("one to this write");
        self.shared.error(operation, problem).into()
    }
}

/// What became of a write.
enum Written {
    Done(Option<String>),
    Changed(Option<Version>),
    Refused(Refusal),
}

impl Written {
    fn read(answer: Value, writing: &Writing) -> Stepped<Self> {
        let mut values = reply::list(answer)?.into_iter();
        let word = reply::text(reply::next(&mut values)?)?;
        let more = values.next().map(reply::text).transpose()?;
        let quota = &writing.quota;
        Ok(match word.as_str() {
            "done" => Self::Done(more),
            "changed" => {
                let number = more.filter(|text| !text.is_empty());
                let number = number.map(|text| text.parse()).transpose();
                let number = number.map_err(|_| Problem::unexpected("a version"))?;
                Self::Changed(number.map(Version))
            }
            "lost" => Self::Refused(Refusal::LeaseLost),
            "keys" => Self::Refused(Refusal::TooManyKeys { quota: quota.keys }),
            "bytes" => Self::Refused(Refusal::TooManyBytes { quota: quota.total }),
            "number" => Self::Refused(Refusal::NoNumber),
            "overflow" => Self::Refused(Refusal::Overflow),
            _ => return Err(Problem::unexpected("one to a write")),
        })
    }
}

fn add_keys(call: &mut Call, keys: &[Key]) {
    for key in keys {
        call.arg(key.as_str());
    }
}

fn version(head: &[u8]) -> Version {
    let bytes = head.iter().take(8);
    Version(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn stored(value: Value) -> Stepped<Option<Stored>> {
    let Some(blob) = reply::some_bytes(value)? else {
        return Ok(None);
    };
    if blob.len() < HEAD {
        return Err(Problem::unreadable("a value", "it is too short"));
    }
    Ok(Some(Stored {
        version: version(&blob),
        value: blob.slice(HEAD..),
    }))
}

fn page(answer: Value, limit: usize) -> Stepped<KeyPage> {
    let mut page = KeyPage::default();
    let mut last = None;
    for (key, place) in places(answer)? {
        if page.keys.len() == limit {
            page.next = last;
            break;
        }
        page.keys.push(key);
        last = Some(place);
    }
    Ok(page)
}

fn places(answer: Value) -> Stepped<Vec<(Key, u64)>> {
    let place = |(key, place): (Bytes, Bytes)| {
        let text =
            std::str::from_utf8(&key).map_err(|error| Problem::unreadable("a key", error))?;
        let key = Key::new(text).map_err(|error| Problem::unreadable("a key", error))?;
        let place = reply::number(Value::BulkString(place.into()))?;
        Ok((key, place))
    };
    reply::pairs(answer)?.into_iter().map(place).collect()
}

fn status((name, fill): &(Bytes, Bytes)) -> Stepped<BucketStatus> {
    let text = std::str::from_utf8(fill).unwrap_or_default();
    let numbers = text.split_once(' ');
    let numbers = numbers.and_then(|(keys, bytes)| Some((keys.parse().ok()?, bytes.parse().ok()?)));
    let (keys, bytes) = numbers.ok_or_else(|| Problem::unreadable("a bucket", "no fill"))?;
    Ok(BucketStatus {
        name: reply::name(name, |text| BucketName::new(text))?,
        fill: Fill { keys, bytes },
    })
}
