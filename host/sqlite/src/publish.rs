//! Publishing: ids that are new get a row, in their lane or held until they are due (B1, B15).

use std::time::Duration;

use rusqlite::CachedStatement;
use stem_core::broker::{DERIVED_ID_RETENTION, Due, Publication, Published};
use stem_core::clock::Timestamp;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::QueueName;

use crate::claim;
use crate::problem::Stepped;
use crate::rows::{self, millis, place};
use crate::wake::Topic;
use crate::writer::Step;

/// Envelopes longer than this lie apart: a page holds a few of the others.
const LONG: usize = 2_048;
/// How old `lanes.used_at` may be: rough is enough for a clean-up of what has lain idle for an hour.
const LANE_STAMP_MILLIS: i64 = 600_000;

/// Stores what is new, all or none.
pub(crate) fn publish(step: &Step<'_>, publications: &[Publication]) -> Stepped<Vec<Published>> {
    // What is due joined its lane before what is published now (B7).
    claim::promote(step)?;
    let mut shelf = Shelf::new(step, publications.len())?;
    let published: Vec<Published> = publications
        .iter()
        .map(|publication| shelf.put(publication))
        .collect::<Stepped<_>>()?;
    if published.contains(&Published::Stored) {
        step.wake(Topic::Work);
    }
    Ok(published)
}

/// The statements, the numbers and the lanes that one batch needs.
struct Shelf<'s, 'c> {
    step: &'s Step<'c>,
    take_id: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    next: i64,
    lanes: Vec<(&'s QueueName, u8, i64)>,
}

impl<'s, 'c> Shelf<'s, 'c> {
    fn new(step: &'s Step<'c>, size: usize) -> Stepped<Self> {
        const TAKE_ID: &str =
            "INSERT INTO ids (id, namespace, number) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        const INSERT: &str = "INSERT INTO envelopes (number, namespace, id, lane, position, place, \
             until, ready_at, generation, attempts, deliveries, losses, snoozes, faults, is_retry, \
             cancel, task, bytes, module) \
             VALUES (?1, ?2, ?3, ?4, ?1, ?5, ?6, ?7, 1, 0, 0, 0, 0, 0, 0, 0, ?8, ?9, ?10)";
        Ok(Self {
            step,
            take_id: step.prepare(TAKE_ID)?,
            insert: step.prepare(INSERT)?,
            next: step.take_numbers(size)?,
            lanes: Vec::new(),
        })
    }

    fn put(&mut self, publication: &'s Publication) -> Stepped<Published> {
        let number = self.next;
        self.next += 1;
        if !self.take_id(publication.id, number)? {
            return Ok(Published::AlreadyKnown);
        }
        let lane = self.lane(&publication.queue, publication.priority)?;
        let now = self.step.now;
        let due = due_at(publication.due, now);
        let (place, until) = match due <= now {
            true => (place::READY, 0),
            false => (place::HELD, millis(due)),
        };
        let is_long = publication.bytes.len() > LONG;
        self.insert.execute(rusqlite::params![
            number,
            self.step.namespace,
            publication.id.as_bytes(),
            lane,
            place,
            until,
            millis(now),
            publication.task.as_str(),
            (!is_long).then_some(&publication.bytes[..]),
            publication.module.as_ref().map(Digest::as_bytes),
        ])?;
        if is_long {
            const INSERT: &str = "INSERT INTO bodies (number, bytes) VALUES (?1, ?2)";
            self.step
                .execute(INSERT, (number, &publication.bytes[..]))?;
        }
        Ok(Published::Stored)
    }

    /// Takes an id that nobody has, or that only something expired has.
    fn take_id(&mut self, id: EnvelopeId, number: i64) -> Stepped<bool> {
        let namespace = self.step.namespace;
        let params = (id.as_bytes(), namespace, number);
        if self.take_id.execute(params)? == 1 {
            return Ok(true);
        }
        if is_known(self.step, id)? {
            return Ok(false);
        }
        if let Some(former) = rows::number(self.step.connection, namespace, id)? {
            rows::erase(self.step, former)?;
        }
        const MOVE: &str =
            "UPDATE ids SET number = ?3, kept_until = NULL WHERE id = ?1 AND namespace = ?2";
        self.step.execute(MOVE, params)?;
        Ok(true)
    }

    fn lane(&mut self, queue: &'s QueueName, priority: u8) -> Stepped<i64> {
        let is_it =
            |(known, level, _): &&(&QueueName, u8, i64)| *known == queue && *level == priority;
        if let Some((.., lane)) = self.lanes.iter().find(is_it) {
            return Ok(*lane);
        }
        let lane = find_lane(self.step, queue, priority)?;
        self.lanes.push((queue, priority, lane));
        Ok(lane)
    }
}

/// Whether an id lives, is dead, has a record, or is remembered (B15): what has expired does not count, but a derived id
/// is remembered beyond its dead letter, whether that was swept yet or not.
fn is_known(step: &Step<'_>, id: EnvelopeId) -> Stepped<bool> {
    const KNOWN: &str = "SELECT i.kept_until > ?3 OR EXISTS (
            SELECT 1 FROM records r WHERE r.number = i.number AND r.expires_at > ?3
        ) OR EXISTS (
            SELECT 1 FROM envelopes e LEFT JOIN dead_letters d ON d.number = e.number
            WHERE e.number = i.number AND (d.number IS NULL OR d.expires_at > ?4)
        ) FROM ids i WHERE i.id = ?1 AND i.namespace = ?2";
    let beyond = match id.is_derived() {
        true => DERIVED_ID_RETENTION,
        false => Duration::ZERO,
    };
    let params = (
        id.as_bytes(),
        step.namespace,
        millis(step.now),
        millis(step.now - beyond),
    );
    let is_known: Option<bool> = step.prepare(KNOWN)?.query_row(params, |row| row.get(0))?;
    Ok(is_known.unwrap_or(false))
}

fn find_lane(step: &Step<'_>, queue: &QueueName, priority: u8) -> Stepped<i64> {
    // A stamp that is recent enough is left alone, and then the row is only read.
    const FIND: &str = "SELECT lane, used_at FROM lanes
        WHERE namespace = ?1 AND queue = ?2 AND priority = ?3 AND key = ''";
    const MAKE: &str = "INSERT INTO lanes (namespace, queue, priority, key, used_at)
        VALUES (?1, ?2, ?3, '', ?4)
        ON CONFLICT DO UPDATE SET used_at = ?4 RETURNING lane";
    let now = millis(step.now);
    let mut find = step.prepare(FIND)?;
    let mut rows = find.query((step.namespace, queue.as_str(), priority))?;
    if let Some(row) = rows.next()?
        && (now - row.get::<_, i64>(1)?).abs() < LANE_STAMP_MILLIS
    {
        return Ok(row.get(0)?);
    }
    let params = (step.namespace, queue.as_str(), priority, now);
    Ok(step.prepare(MAKE)?.query_row(params, |row| row.get(0))?)
}

fn due_at(due: Due, now: Timestamp) -> Timestamp {
    match due {
        Due::Now => now,
        Due::After(delay) => now + delay,
        Due::At(time) => time,
    }
}
