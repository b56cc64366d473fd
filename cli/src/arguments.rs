//! Arguments that mean the same in every command: ids, queues, tasks, times and pages.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::{BucketName, HeaderName, QueueName, TaskName};
use stem_core::units::{UnitError, parse_duration};

use crate::errors::Failure;

/// Envelopes, named bare or with `--id`.
#[derive(Debug, Clone, Args)]
pub struct Ids {
    /// Envelope ids
    #[arg(value_name = "ID")]
    bare: Vec<EnvelopeId>,
    /// The same, for scripts
    #[arg(long = "id", value_name = "ID")]
    named: Vec<EnvelopeId>,
}

impl Ids {
    /// All of them; there may be none.
    pub fn all(&self) -> Vec<EnvelopeId> {
        self.bare.iter().chain(&self.named).copied().collect()
    }

    /// All of them, where there must be one at least.
    pub fn some(&self, attempted: &str) -> Result<Vec<EnvelopeId>> {
        let ids = self.all();
        if ids.is_empty() {
            return Err(Failure::usage(attempted, "no ID is given").into());
        }
        Ok(ids)
    }
}

/// Exactly one thing, named bare or by a flag.
macro_rules! exactly_one {
    ($name:ident, $of:ty, $flag:literal, $shown:literal, $help:literal) => {
        #[doc = concat!($help, ", bare or with `--", $flag, "`.")]
        #[derive(Debug, Clone, Args)]
        #[group(required = true, multiple = false)]
        pub struct $name {
            #[doc = $help]
            #[arg(value_name = $shown)]
            bare: Option<$of>,
            /// The same, for scripts
            #[arg(long = $flag, value_name = $shown)]
            named: Option<$of>,
        }

        impl $name {
            /// The one that was given.
            pub fn get(&self) -> $of {
                let given = self.bare.as_ref().or(self.named.as_ref());
                given
                    .expect("the group is required: one of both is there")
                    .clone()
            }
        }
    };
}

exactly_one!(OneId, EnvelopeId, "id", "ID", "The envelope's id");
exactly_one!(OneQueue, QueueName, "queue", "QUEUE", "The queue");
exactly_one!(OneBucket, BucketName, "bucket", "BUCKET", "The bucket");
exactly_one!(OneTask, TaskName, "task", "TASK", "The task");

/// A moment: a time, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long before now.
    Ago(Duration),
    /// This time.
    At(Timestamp),
}

impl Since {
    /// The moment, seen from now.
    pub fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now - duration,
            Self::At(time) => time,
        }
    }
}

/// Reads `1h` or `2026-11-20T08:00:00Z`.
pub fn since(text: &str) -> Result<Since, String> {
    if let Some(time) = Timestamp::parse(text) {
        return Ok(Since::At(time));
    }
    let duration = parse_duration(text).map_err(|_| {
        format!("`{text}` is no time: write 30s, 5m, 2h or 7d for so long ago, or RFC 3339 such as 2026-11-20T08:00:00Z")
    })?;
    Ok(Since::Ago(duration))
}

/// Reads `30s`, `5m`, `2h` or `7d`.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    parse_duration(text)
}

/// Reads a media type such as `text/csv; charset=utf-8`.
pub fn media_type(text: &str) -> Result<String, String> {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_token = |part: &str| {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
        !part.is_empty() && part.chars().all(is_allowed)
    };
    let is_type = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let is_plain = text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    match is_type && is_plain {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{}` is no media type: write one such as text/csv",
            text.escape_debug()
        )),
    }
}

/// Reads `NAME=VALUE`.
pub fn header(text: &str) -> Result<(HeaderName, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is no header: write NAME=VALUE"))?;
    let name = HeaderName::new(name).map_err(|error| error.to_string())?;
    Ok((name, value.to_owned()))
}

/// Reads `K=V`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no pair: write KEY=VALUE")),
    }
}

/// Reads RFC 3339.
pub fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .ok_or_else(|| format!("`{text}` is no time: write RFC 3339 such as 2026-11-20T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA_TYPES: [&str; 3] = ["text/csv; charset=utf-8", "image/svg+xml", "a/x.a-b"];
    const NO_MEDIA_TYPES: [&str; 6] = ["", "text", "text/", "a b/c", "a/\u{1b}[2J", "a/b;\u{9b}"];

    #[test]
    fn a_media_type_is_a_type_and_a_subtype_in_plain_letters() {
        for good in MEDIA_TYPES {
            assert_eq!(media_type(good).as_deref(), Ok(good));
        }
        for bad in NO_MEDIA_TYPES {
            assert!(media_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now = Timestamp::from_millis(10_000);
        assert_eq!(
            since("4s").map(|since| since.time(now)),
            Ok(Timestamp::from_millis(6_000))
        );
        assert_eq!(
            since("1970-01-01T00:00:01Z").map(|since| since.time(now)),
            Ok(Timestamp::from_millis(1_000))
        );
        assert!(since("yesterday").is_err());
    }
}
