//! Dead letters: list, show, replay, remove (B10).

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, ToSql};
use stem_core::clock::Timestamp;
use stem_core::dead_letters::{DeadFilter, DeadLetter, DeadLetters, Page};
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName};
use stem_core::outcome::{DeadReason, Failure};
use stem_core::record::LIVE_RECORD_RETENTION;
use stem_core::store_error::{StoreError, StoreErrorKind};

use crate::claim;
use crate::problem::{Problem, Stepped};
use crate::records;
use crate::rows::{self, count, envelope_bytes, millis, time};
use crate::settle;
use crate::store::Store;
use crate::wake::Topic;
use crate::writer::Step;

const COLUMNS: &str = concat!(
    "SELECT e.id, d.task, d.queue, d.reason, d.error, d.dead_at, e.generation, e.attempts, ",
    envelope_bytes!(),
    " FROM dead_letters d JOIN envelopes e ON e.number = d.number"
);
const FILTER: &str = "d.namespace = ?1 AND d.expires_at > ?2
    AND (?3 IS NULL OR d.queue = ?3) AND (?4 IS NULL OR d.task = ?4)
    AND (?5 IS NULL OR d.reason = ?5) AND d.dead_at >= ?6";

#[async_trait]
impl DeadLetters for Store {
    async fn list(&self, filter: &DeadFilter, page: &Page) -> Result<Vec<DeadLetter>, StoreError> {
        let view = self.view(filter);
        let page = page.clone();
        self.list_rows("list dead letters", move |connection| {
            list(connection, &view, &page)
        })
        .await
    }

    async fn count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        let view = self.view(filter);
        self.list_rows("count dead letters", move |connection| {
            let sql = format!("SELECT count(*) FROM dead_letters d WHERE {FILTER}");
            let mut statement = connection.prepare_cached(&sql)?;
            let number: i64 = statement.query_row(&view.params()[..], |row| row.get(0))?;
            Ok(number.cast_unsigned())
        })
        .await
    }

    async fn show(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<DeadLetter>>, StoreError> {
        let (namespace, now, ids) = (self.shared.namespace, self.now(), ids.to_vec());
        self.read("show dead letters", move |connection| {
            let show = |id: &EnvelopeId| show(connection, namespace, *id, now);
            ids.iter().map(show).collect()
        })
        .await
    }

    async fn replay(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        let ids = ids.to_vec();
        self.write("replay dead letters", move |step| {
            // What has fallen due joined its lane before (B7).
            claim::promote(step)?;
            step.wake(Topic::Work);
            step.wake(Topic::Records);
            ids.iter().map(|id| replay(step, *id)).collect()
        })
        .await
    }

    async fn remove(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        let ids = ids.to_vec();
        self.write("remove dead letters", move |step| {
            step.wake(Topic::Records);
            let remove = |id: &EnvelopeId| match find(step, *id)? {
                Some(number) => bury(step, step.namespace, number, *id).map(|()| true),
                None => Ok(false),
            };
            ids.iter().map(remove).collect()
        })
        .await
    }
}

/// A filter as statements take it.
struct View {
    namespace: i64,
    now: i64,
    queue: Option<String>,
    task: Option<String>,
    reason: Option<&'static str>,
    since: i64,
}

impl View {
    fn params(&self) -> [&dyn ToSql; 6] {
        [
            &self.namespace,
            &self.now,
            &self.queue,
            &self.task,
            &self.reason,
            &self.since,
        ]
    }
}

impl Store {
    fn view(&self, filter: &DeadFilter) -> View {
        View {
            namespace: self.shared.namespace,
            now: millis(self.now()),
            queue: filter.queue.as_ref().map(ToString::to_string),
            task: filter.task.as_ref().map(ToString::to_string),
            reason: filter.reason.map(DeadReason::as_str),
            since: filter.since.map_or(0, millis),
        }
    }
}

fn list(connection: &Connection, view: &View, page: &Page) -> Stepped<Vec<DeadLetter>> {
    let seat = match page.after {
        Some(id) => seat(connection, view.namespace, id)?,
        None if page.is_oldest_first => 0,
        None => i64::MAX,
    };
    let (beyond, order) = match page.is_oldest_first {
        true => ("d.seat > ?7", "ASC"),
        false => ("d.seat < ?7", "DESC"),
    };
    let sql = format!("{COLUMNS} WHERE {FILTER} AND {beyond} ORDER BY d.seat {order} LIMIT ?8");
    let limit = count(page.limit);
    let mut params = view.params().to_vec();
    params.extend([&seat as &dyn ToSql, &limit]);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(&params[..])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

/// Where a dead letter stands in the list.
fn seat(connection: &Connection, namespace: i64, id: EnvelopeId) -> Stepped<i64> {
    const SEAT: &str = "SELECT d.seat FROM ids i JOIN dead_letters d ON d.number = i.number
        WHERE i.id = ?1 AND i.namespace = ?2";
    let mut statement = connection.prepare_cached(SEAT)?;
    let seat = statement.query_row((id.as_bytes(), namespace), |row| row.get(0));
    seat.optional()?.ok_or_else(|| {
        let message = format!("{id} is no dead letter any more: list from the beginning");
        Problem::new(StoreErrorKind::Refused, message)
    })
}

fn show(
    connection: &Connection,
    namespace: i64,
    id: EnvelopeId,
    now: Timestamp,
) -> Stepped<Option<DeadLetter>> {
    let Some(number) = rows::number(connection, namespace, id)? else {
        return Ok(None);
    };
    let sql = format!("{COLUMNS} WHERE d.number = ?1 AND d.expires_at > ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((number, millis(now)))?;
    rows.next()?.map(letter).transpose()
}

fn letter(row: &Row<'_>) -> Stepped<DeadLetter> {
    let reason = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let error = row
        .get_ref(4)?
        .as_blob_or_null()
        .map_err(rusqlite::Error::from)?;
    let error = error.map(|error| rows::decode::<Failure>("the error of a dead letter", error));
    Ok(DeadLetter {
        id: rows::id(row, 0)?,
        task: rows::name(row, 1, |text| TaskName::new(text))?,
        queue: rows::name(row, 2, |text| QueueName::new(text))?,
        reason: DeadReason::parse(reason)
            .ok_or_else(|| Problem::unreadable("the reason of a dead letter", reason))?,
        error: error.transpose()?,
        dead_at: time(row.get(5)?),
        generation: row.get(6)?,
        attempts: row.get(7)?,
        bytes: rows::bytes(row, 8)?,
    })
}

/// The number of a dead letter that has not expired.
fn find(step: &Step<'_>, id: EnvelopeId) -> Stepped<Option<i64>> {
    const FIND: &str = "SELECT d.number FROM ids i JOIN dead_letters d ON d.number = i.number
        WHERE i.id = ?1 AND i.namespace = ?2 AND d.expires_at > ?3";
    let params = (id.as_bytes(), step.namespace, millis(step.now));
    let number = step.prepare(FIND)?.query_row(params, |row| row.get(0));
    Ok(number.optional()?)
}

fn replay(step: &Step<'_>, id: EnvelopeId) -> Stepped<bool> {
    const REPLAY: &str = "UPDATE envelopes SET place = 0, position = ?2, ready_at = ?3,
        generation = generation + 1, attempts = 0, losses = 0, snoozes = 0, faults = 0,
        is_retry = 0, cancel = 0 WHERE number = ?1";
    // Its record and its checkpoint live on with it.
    const KEEP: [&str; 2] = [
        "UPDATE records SET expires_at = max(expires_at, ?2) WHERE number = ?1",
        "UPDATE fences SET expires_at = max(expires_at, ?2) WHERE number = ?1",
    ];
    let Some(number) = find(step, id)? else {
        return Ok(false);
    };
    step.execute("DELETE FROM dead_letters WHERE number = ?1", [number])?;
    let position = step.take_numbers(1)?;
    step.execute(REPLAY, (number, position, millis(step.now)))?;
    for sql in KEEP {
        step.execute(sql, (number, millis(step.now + LIVE_RECORD_RETENTION)))?;
    }
    Ok(true)
}

/// Removes a dead letter for ever; its record stays for its time.
pub(crate) fn bury(step: &Step<'_>, namespace: i64, number: i64, id: EnvelopeId) -> Stepped<()> {
    const REMOVE: [&str; 3] = [
        "DELETE FROM dead_letters WHERE number = ?1",
        "DELETE FROM envelopes WHERE number = ?1",
        "DELETE FROM bodies WHERE number = ?1",
    ];
    for sql in REMOVE {
        step.execute(sql, [number])?;
    }
    records::drop_fence(step, number)?;
    settle::depart(step, namespace, number, id)
}
