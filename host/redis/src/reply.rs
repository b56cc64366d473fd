//! Reading what the server answers, and encoding what we keep there.

use bytes::Bytes;
use redis::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::NameError;
use stem_core::store_error::StoreErrorKind;

use crate::problem::{Problem, Stepped};

pub(crate) fn list(value: Value) -> Stepped<Vec<Value>> {
    let Value::Array(values) = value else {
        return Err(Problem::unexpected("a list"));
    };
    Ok(values)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the protocol has many kinds of values, and only these are bytes"
)]
pub(crate) fn bytes(value: Value) -> Stepped<Bytes> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(Bytes::from(text)),
        _ => Err(Problem::unexpected("bytes")),
    }
}

/// Bytes, unless there are none.
pub(crate) fn some_bytes(value: Value) -> Stepped<Option<Bytes>> {
    if value == Value::Nil {
        return Ok(None);
    }
    Ok(Some(bytes(value)?).filter(|bytes| !bytes.is_empty()))
}

pub(crate) fn text(value: Value) -> Stepped<String> {
    let bytes = Vec::from(bytes(value)?);
    String::from_utf8(bytes).map_err(|_| Problem::unexpected("text"))
}

pub(crate) fn number(value: Value) -> Stepped<u64> {
    let number = if let Value::Int(number) = value {
        u64::try_from(number).ok()
    } else {
        text(value)?.parse().ok()
    };
    number.ok_or_else(|| Problem::unexpected("a number"))
}

/// A number that begins with nothing.
pub(crate) fn number_or_zero(value: Value) -> Stepped<u64> {
    match value == Value::Nil {
        true => Ok(0),
        false => number(value),
    }
}

pub(crate) fn time(value: Value) -> Stepped<Timestamp> {
    number(value).map(Timestamp::from_millis)
}

pub(crate) fn id(bytes: &[u8]) -> Stepped<EnvelopeId> {
    let id = <[u8; 16]>::try_from(bytes).map_err(|_| Problem::unexpected("an id"))?;
    Ok(EnvelopeId::from_bytes(id))
}

/// A name that was checked when it was stored.
pub(crate) fn name<N>(bytes: &[u8], make: fn(&str) -> Result<N, NameError>) -> Stepped<N> {
    let text = std::str::from_utf8(bytes).map_err(|error| Problem::unreadable("a name", error))?;
    make(text).map_err(|error| Problem::unreadable("a name", error))
}

/// The next of several values.
pub(crate) fn next(values: &mut impl Iterator<Item = Value>) -> Stepped<Value> {
    values
        .next()
        .ok_or_else(|| Problem::unexpected("as long as it should be"))
}

/// One digit or letter for each thing that was asked about.
pub(crate) fn marks(value: Value, expected: usize) -> Stepped<Bytes> {
    let marks = bytes(value)?;
    match marks.len() == expected {
        true => Ok(marks),
        false => Err(Problem::unexpected("as long as it should be")),
    }
}

/// What was said of at least the first of so many things.
pub(crate) fn part(value: Value, expected: usize) -> Stepped<Vec<Value>> {
    let values = list(value)?;
    match (1..=expected).contains(&values.len()) {
        true => Ok(values),
        false => Err(Problem::unexpected("as long as it should be")),
    }
}

/// Values in pairs.
pub(crate) fn pairs(value: Value) -> Stepped<Vec<(Bytes, Bytes)>> {
    let mut values = list(value)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let Some(first) = values.next() {
        pairs.push((bytes(first)?, bytes(next(&mut values)?)?));
    }
    Ok(pairs)
}

pub(crate) fn encode(value: &impl Serialize) -> Stepped<Vec<u8>> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| Problem::new(StoreErrorKind::Internal, error.to_string()))
}

pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Stepped<T> {
    rmp_serde::from_slice(bytes).map_err(|error| Problem::unreadable(what, error))
}
