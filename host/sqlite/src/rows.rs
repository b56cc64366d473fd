//! Reading and writing values: ids, times, numbers, encoded bodies, and the few rows that every seam looks up.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::NameError;
use stem_core::store_error::StoreErrorKind;

use crate::problem::{Problem, Stepped};
use crate::writer::Step;

/// Where an envelope lies: `envelopes.place`. Statements name these numbers, since partial indexes need literals.
pub(crate) mod place {
    pub(crate) const READY: i64 = 0;
    pub(crate) const LEASED: i64 = 1;
    pub(crate) const HELD: i64 = 2;
    pub(crate) const DEAD: i64 = 3;
}

/// The bytes of an envelope `e`, wherever they lie.
macro_rules! envelope_bytes {
    () => {
        "COALESCE(e.bytes, (SELECT b.bytes FROM bodies b WHERE b.number = e.number))"
    };
}
pub(crate) use envelope_bytes;

pub(crate) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// A size or a limit as SQL has it.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<EnvelopeId> {
    row.get(column).map(EnvelopeId::from_bytes)
}

pub(crate) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let blob = row.get_ref(column)?.as_blob()?;
    Ok(Bytes::copy_from_slice(blob))
}

/// A name that was checked when it was stored.
pub(crate) fn name<N>(
    row: &Row<'_>,
    column: usize,
    make: fn(&str) -> Result<N, NameError>,
) -> rusqlite::Result<N> {
    let text = row.get_ref(column)?.as_str()?;
    make(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
    })
}

pub(crate) fn encode(value: &impl Serialize) -> Stepped<Vec<u8>> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| Problem::new(StoreErrorKind::Internal, error.to_string()))
}

pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Stepped<T> {
    rmp_serde::from_slice(bytes).map_err(|error| Problem::unreadable(what, error))
}

/// The number of an id, if it is known.
pub(crate) fn number(
    connection: &Connection,
    namespace: i64,
    id: EnvelopeId,
) -> Stepped<Option<i64>> {
    const FIND: &str = "SELECT number FROM ids WHERE id = ?1 AND namespace = ?2";
    let mut find = connection.prepare_cached(FIND)?;
    let number = find.query_row((id.as_bytes(), namespace), |row| row.get(0));
    Ok(number.optional()?)
}

/// Whether a table has any row: most stores have no checkpoints and no long envelopes, and need not look for them.
pub(crate) fn has_rows(connection: &Connection, exists: &str) -> Stepped<bool> {
    let mut statement = connection.prepare_cached(exists)?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Forgets an id that nothing needs any more; a derived one is remembered until its time has passed (B15).
pub(crate) fn forget_id(
    step: &Step<'_>,
    namespace: i64,
    number: i64,
    id: EnvelopeId,
) -> Stepped<()> {
    const FORGET: &str = "DELETE FROM ids WHERE id = ?2 AND namespace = ?3 AND number = ?1
        AND (kept_until IS NULL OR kept_until <= ?4)
        AND NOT EXISTS (SELECT 1 FROM envelopes WHERE number = ?1)
        AND NOT EXISTS (SELECT 1 FROM records WHERE number = ?1)
        AND NOT EXISTS (SELECT 1 FROM fences WHERE number = ?1)";
    let params = (number, id.as_bytes(), namespace, millis(step.now));
    step.execute(FORGET, params)?;
    Ok(())
}

/// Removes whatever is kept under a number.
pub(crate) fn erase(step: &Step<'_>, number: i64) -> Stepped<()> {
    const ERASE: [&str; 6] = [
        "DELETE FROM envelopes WHERE number = ?1",
        "DELETE FROM bodies WHERE number = ?1",
        "DELETE FROM dead_letters WHERE number = ?1",
        "DELETE FROM records WHERE number = ?1",
        "DELETE FROM fences WHERE number = ?1",
        "DELETE FROM checkpoints WHERE number = ?1",
    ];
    for sql in ERASE {
        step.execute(sql, [number])?;
    }
    Ok(())
}
