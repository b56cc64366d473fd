//! Counts, pauses, look-ups and cancellations (B11, W7).

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row};
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName, WorkerName};
use stem_core::queues::{CancelMode, Cancelling, EnvelopeStatus, Place, QueueStatus, Queues};
use stem_core::record::Report;
use stem_core::store_error::StoreError;

use crate::problem::Stepped;
use crate::records::{Entry, Leftovers, Recorder};
use crate::rows::{self, count, envelope_bytes, millis, place, time};
use crate::settle;
use crate::store::Store;
use crate::wake::Topic;
use crate::writer::Step;

#[async_trait]
impl Queues for Store {
    async fn queues(&self) -> Result<Vec<QueueStatus>, StoreError> {
        let (namespace, now) = (self.shared.namespace, self.now());
        self.list_rows("list queues", move |connection| {
            statuses(connection, namespace, now)
        })
        .await
    }

    async fn set_paused(&self, queue: &QueueName, is_paused: bool) -> Result<(), StoreError> {
        const PAUSE: &str =
            "INSERT INTO paused (namespace, queue) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        const RESUME: &str = "DELETE FROM paused WHERE namespace = ?1 AND queue = ?2";
        let queue = queue.clone();
        self.write("pause or resume a queue", move |step| {
            let sql = if is_paused { PAUSE } else { RESUME };
            step.execute(sql, (step.namespace, queue.as_str()))?;
            step.wake(Topic::Work);
            Ok(())
        })
        .await
    }

    async fn find(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        let (namespace, now, ids) = (self.shared.namespace, self.now(), ids.to_vec());
        self.read("find envelopes", move |connection| {
            let find = |id: &EnvelopeId| {
                Ok(find(connection, namespace, *id)?.map(|status| status.at(now)))
            };
            ids.iter().map(find).collect()
        })
        .await
    }

    async fn waiting(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<Vec<EnvelopeId>, StoreError> {
        // Lanes first: what is held is scanned, since it lies in the order of its times.
        const WAITING: &str = "SELECT e.id FROM lanes l
                CROSS JOIN envelopes e INDEXED BY envelopes_ready ON e.lane = l.lane AND e.place = 0
            WHERE l.namespace = ?1 AND l.queue = ?2
            UNION ALL SELECT e.id FROM envelopes e INDEXED BY envelopes_held
            WHERE e.place = 2 AND e.namespace = ?1
                AND e.lane IN (SELECT lane FROM lanes WHERE namespace = ?1 AND queue = ?2)
            UNION ALL SELECT e.id FROM envelopes e INDEXED BY envelopes_leased
            WHERE e.place = 1 AND e.namespace = ?1 AND e.until <= ?4
                AND e.lane IN (SELECT lane FROM lanes WHERE namespace = ?1 AND queue = ?2)
            LIMIT ?3";
        let (namespace, queue) = (self.shared.namespace, queue.clone());
        let now = millis(self.now());
        self.list_rows("list waiting envelopes", move |connection| {
            let mut statement = connection.prepare_cached(WAITING)?;
            let params = (namespace, queue.as_str(), count(limit), now);
            let ids = statement.query_map(params, |row| rows::id(row, 0))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn count_waiting(
        &self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, u64>, StoreError> {
        let (namespace, now, tasks) = (self.shared.namespace, self.now(), tasks.clone());
        self.list_rows("count waiting envelopes", move |connection| {
            count_waiting(connection, (namespace, now), &tasks)
        })
        .await
    }

    async fn cancel(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Cancelling>, StoreError> {
        let ids = ids.to_vec();
        self.write("cancel", move |step| {
            let leftovers = Leftovers::of(step)?;
            step.wake(Topic::Records);
            ids.iter()
                .map(|id| cancel(step, *id, mode, &leftovers))
                .collect()
        })
        .await
    }
}

/// What the database holds of an envelope.
pub(crate) fn find(
    connection: &Connection,
    namespace: i64,
    id: EnvelopeId,
) -> Stepped<Option<EnvelopeStatus>> {
    const FIND: &str = concat!(
        "SELECT e.id, e.task, l.queue, l.priority, e.generation, e.attempts, e.deliveries, e.place,
            e.until, e.is_retry, e.worker, ",
        envelope_bytes!(),
        " FROM ids i CROSS JOIN envelopes e ON e.number = i.number JOIN lanes l ON l.lane = e.lane
        WHERE i.id = ?1 AND i.namespace = ?2"
    );
    let mut statement = connection.prepare_cached(FIND)?;
    let found = statement.query_row((id.as_bytes(), namespace), status);
    Ok(found.optional()?)
}

fn status(row: &Row<'_>) -> rusqlite::Result<EnvelopeStatus> {
    let until = time(row.get(8)?);
    let place = match row.get(7)? {
        place::LEASED => Place::Leased {
            worker: rows::name(row, 10, |text| WorkerName::new(text))?,
            until,
        },
        place::HELD => Place::Held {
            until,
            is_retry: row.get(9)?,
        },
        place::DEAD => Place::Dead,
        _ => Place::Ready,
    };
    Ok(EnvelopeStatus {
        id: rows::id(row, 0)?,
        task: rows::name(row, 1, |text| TaskName::new(text))?,
        queue: rows::name(row, 2, |text| QueueName::new(text))?,
        priority: row.get(3)?,
        generation: row.get(4)?,
        attempts: row.get(5)?,
        deliveries: row.get(6)?,
        place,
        bytes: rows::bytes(row, 11)?,
    })
}

fn cancel(
    step: &Step<'_>,
    id: EnvelopeId,
    mode: CancelMode,
    leftovers: &Leftovers,
) -> Stepped<Cancelling> {
    const MARK: &str = "UPDATE envelopes SET cancel = max(cancel, ?2) WHERE number = ?1";
    let number = rows::number(step.connection, step.namespace, id)?;
    let Some((number, status)) = number.zip(find(step.connection, step.namespace, id)?) else {
        return Ok(Cancelling::Unknown);
    };
    match status.clone().at(step.now).place {
        Place::Dead => Ok(Cancelling::Dead),
        Place::Leased { .. } => {
            step.execute(MARK, (number, settle::cancel_mark(mode)))?;
            Ok(Cancelling::Asked)
        }
        Place::Ready | Place::Held { .. } => {
            step.execute("DELETE FROM envelopes WHERE number = ?1", [number])?;
            step.execute("DELETE FROM bodies WHERE number = ?1", [number])?;
            let entry = Entry::of(&Report::cancelled(&status, step.now))?;
            Recorder::new(step)?.add(number, &entry)?;
            leftovers.clear(step, number)?;
            settle::depart(step, step.namespace, number, id)?;
            Ok(Cancelling::Cancelled)
        }
    }
}

/// Everything that waits is looked at once, whichever tasks are asked for: no index has their names.
fn count_waiting(
    connection: &Connection,
    (namespace, now): (i64, Timestamp),
    tasks: &BTreeSet<TaskName>,
) -> Stepped<BTreeMap<TaskName, u64>> {
    const COUNTS: &str = "SELECT task, count(*) FROM (
            SELECT e.task FROM lanes l
                CROSS JOIN envelopes e INDEXED BY envelopes_ready ON e.lane = l.lane AND e.place = 0
            WHERE l.namespace = ?1
            UNION ALL SELECT e.task FROM envelopes e INDEXED BY envelopes_held
            WHERE e.place = 2 AND e.namespace = ?1
            UNION ALL SELECT e.task FROM envelopes e INDEXED BY envelopes_leased
            WHERE e.place = 1 AND e.namespace = ?1 AND e.until <= ?2
        ) GROUP BY task";
    let mut statement = connection.prepare_cached(COUNTS)?;
    let mut rows = statement.query((namespace, millis(now)))?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        if let Some(task) = tasks.iter().find(|task| task.as_str() == name) {
            counts.insert(task.clone(), row.get::<_, i64>(1)?.cast_unsigned());
        }
    }
    Ok(counts)
}

/// Every queue that holds something or is paused.
fn statuses(connection: &Connection, namespace: i64, now: Timestamp) -> Stepped<Vec<QueueStatus>> {
    // Lanes are few; each count is a range of one index.
    const COUNTS: &str = "
        WITH held AS (SELECT lane, until <= ?2 AS is_due, count(*) AS number
                FROM envelopes INDEXED BY envelopes_held WHERE place = 2 AND namespace = ?1 GROUP BY 1, 2),
            leased AS (SELECT lane, until <= ?2 AS is_over, count(*) AS number
                FROM envelopes INDEXED BY envelopes_leased WHERE place = 1 AND namespace = ?1 GROUP BY 1, 2)
        SELECT l.queue,
            (SELECT count(*) FROM envelopes INDEXED BY envelopes_ready WHERE place = 0 AND lane = l.lane)
                + coalesce((SELECT number FROM held WHERE lane = l.lane AND is_due), 0)
                + coalesce((SELECT number FROM leased WHERE lane = l.lane AND is_over), 0),
            coalesce((SELECT number FROM held WHERE lane = l.lane AND NOT is_due), 0),
            coalesce((SELECT number FROM leased WHERE lane = l.lane AND NOT is_over), 0),
            (SELECT count(*) FROM envelopes INDEXED BY envelopes_dead WHERE place = 3 AND lane = l.lane)
        FROM lanes l WHERE l.namespace = ?1";
    const PAUSED: &str = "SELECT queue FROM paused WHERE namespace = ?1";
    let mut queues = BTreeMap::new();
    let mut paused = connection.prepare_cached(PAUSED)?;
    let names = paused.query_map([namespace], |row| {
        rows::name(row, 0, |text| QueueName::new(text))
    })?;
    for name in names {
        let name = name?;
        queues.insert(name.clone(), idle(name, true));
    }
    let mut counts = connection.prepare_cached(COUNTS)?;
    let mut lanes = counts.query((namespace, millis(now)))?;
    while let Some(row) = lanes.next()? {
        let name: QueueName = rows::name(row, 0, |text| QueueName::new(text))?;
        let queue = queues
            .entry(name)
            .or_insert_with_key(|name| idle(name.clone(), false));
        add(queue, row)?;
    }
    let is_shown = |queue: &QueueStatus| {
        queue.is_paused || queue.queued + queue.scheduled + queue.running + queue.dead > 0
    };
    Ok(queues.into_values().filter(is_shown).collect())
}

fn idle(name: QueueName, is_paused: bool) -> QueueStatus {
    QueueStatus {
        name,
        is_paused,
        queued: 0,
        scheduled: 0,
        running: 0,
        dead: 0,
    }
}

fn add(queue: &mut QueueStatus, row: &Row<'_>) -> rusqlite::Result<()> {
    let fields = [
        &mut queue.queued,
        &mut queue.scheduled,
        &mut queue.running,
        &mut queue.dead,
    ];
    for (column, field) in (1..).zip(fields) {
        *field += row.get::<_, i64>(column)?.cast_unsigned();
    }
    Ok(())
}
