//! Claiming: what was lost comes back, what is due joins its lane, and the heads of the lanes are leased (B2, B3, B7).

use std::cmp::Reverse;
use std::collections::VecDeque;

use rusqlite::{Connection, Row};
use stem_core::broker::{AGEING, Claim, Delivery, Receipt};
use stem_core::clock::Timestamp;
use stem_core::names::{QueueName, TaskName};

use crate::problem::Stepped;
use crate::rows::{self, count, envelope_bytes, millis, time};
use crate::writer::Step;

/// How many envelopes one step brings back or promotes: the rest follows with the next claim.
const CHUNK: i64 = 1_000;

/// An envelope at its place in a lane.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    number: i64,
    ready_at: Timestamp,
}

/// A lane's candidates, the first one first.
struct Lane {
    priority: u8,
    waiting: VecDeque<Candidate>,
}

/// Leases at most what was asked for.
pub(crate) fn claim(step: &Step<'_>, claim: &Claim) -> Stepped<Vec<Delivery>> {
    rescue(step)?;
    promote(step)?;
    let mut deliveries = Vec::new();
    for queue in &claim.queues {
        let wanted = claim.limit - deliveries.len();
        if wanted == 0 {
            break;
        }
        let chosen = choose(step, queue, wanted)?;
        deliveries.extend(lease(step, claim, queue, &chosen)?);
    }
    Ok(deliveries)
}

/// Puts back what a lost worker had: at its old place, so before those waiting at its priority.
fn rescue(step: &Step<'_>) -> Stepped<()> {
    const RESCUE: &str = "UPDATE envelopes SET place = 0, until = 0, losses = losses + 1
        WHERE number IN (SELECT number FROM envelopes INDEXED BY envelopes_leased
            WHERE place = 1 AND namespace = ?1 AND until <= ?2 ORDER BY until LIMIT ?3)";
    let now = millis(step.now);
    if earliest(step, LEASE_END)?.is_some_and(|until| until <= now) {
        step.execute(RESCUE, (step.namespace, now, CHUNK))?;
    }
    Ok(())
}

/// Puts what is due at the end of its lane, in the order in which it fell due.
pub(crate) fn promote(step: &Step<'_>) -> Stepped<()> {
    const DUE: &str = "SELECT number FROM envelopes INDEXED BY envelopes_held
        WHERE place = 2 AND namespace = ?1 AND until <= ?2 ORDER BY until, number LIMIT ?3";
    const PROMOTE: &str = "UPDATE envelopes
        SET place = 0, position = ?2, ready_at = until, until = 0, is_retry = 0 WHERE number = ?1";
    let now = millis(step.now);
    if earliest(step, NEXT_DUE)?.is_none_or(|until| until > now) {
        return Ok(());
    }
    let mut due = step.prepare(DUE)?;
    let numbers: Vec<i64> = due
        .query_map((step.namespace, now, CHUNK), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let first = step.take_numbers(numbers.len())?;
    for (position, number) in (first..).zip(numbers) {
        step.execute(PROMOTE, (number, position))?;
    }
    Ok(())
}

const LEASE_END: &str = "SELECT min(until) FROM envelopes INDEXED BY envelopes_leased
    WHERE place = 1 AND namespace = ?1 AND until > ?2";
const NEXT_DUE: &str = "SELECT min(until) FROM envelopes INDEXED BY envelopes_held
    WHERE place = 2 AND namespace = ?1 AND until > ?2";

fn earliest(step: &Step<'_>, sql: &str) -> Stepped<Option<i64>> {
    let mut statement = step.prepare(sql)?;
    Ok(statement.query_row((step.namespace, -1), |row| row.get(0))?)
}

/// When the next thing falls due or the next lease ends, after a time that has been told already.
pub(crate) fn next_time(
    connection: &Connection,
    namespace: i64,
    told: Timestamp,
) -> Stepped<Option<Timestamp>> {
    let mut times = [None, None];
    for (at, sql) in times.iter_mut().zip([LEASE_END, NEXT_DUE]) {
        let mut statement = connection.prepare_cached(sql)?;
        *at = statement.query_row((namespace, millis(told)), |row| row.get(0))?;
    }
    Ok(times.into_iter().flatten().min().map(time))
}

/// The envelopes of a queue that are to be run next, the first one first.
fn choose(step: &Step<'_>, queue: &QueueName, wanted: usize) -> Stepped<Vec<i64>> {
    const LANES: &str = "SELECT lane, priority FROM lanes WHERE namespace = ?1 AND queue = ?2
        AND EXISTS (SELECT 1 FROM envelopes WHERE place = 0 AND lane = lanes.lane)
        AND NOT EXISTS (SELECT 1 FROM paused WHERE namespace = ?1 AND queue = ?2)";
    let mut statement = step.prepare(LANES)?;
    let lanes = statement.query_map((step.namespace, queue.as_str()), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    let lanes: Vec<(i64, u8)> = lanes.collect::<rusqlite::Result<_>>()?;
    if let [(lane, _)] = lanes[..] {
        return first(step, lane, wanted);
    }
    let lane = |(lane, priority)| {
        let waiting = heads(step, lane, wanted)?;
        Ok(Lane { priority, waiting })
    };
    let lanes = lanes.into_iter().map(lane).collect::<Stepped<_>>()?;
    Ok(merge(lanes, step.now, wanted))
}

/// The first ones of the only lane that holds anything: their age decides nothing, so only the index is read.
fn first(step: &Step<'_>, lane: i64, wanted: usize) -> Stepped<Vec<i64>> {
    const FIRST: &str = "SELECT number FROM envelopes INDEXED BY envelopes_ready
        WHERE place = 0 AND lane = ?1 ORDER BY position LIMIT ?2";
    let mut statement = step.prepare(FIRST)?;
    let numbers = statement.query_map((lane, count(wanted)), |row| row.get(0))?;
    Ok(numbers.collect::<rusqlite::Result<_>>()?)
}

fn heads(step: &Step<'_>, lane: i64, wanted: usize) -> Stepped<VecDeque<Candidate>> {
    const HEADS: &str = "SELECT number, ready_at FROM envelopes INDEXED BY envelopes_ready
        WHERE place = 0 AND lane = ?1 ORDER BY position LIMIT ?2";
    let mut statement = step.prepare(HEADS)?;
    let candidates = statement.query_map((lane, count(wanted)), |row| {
        Ok(Candidate {
            number: row.get(0)?,
            ready_at: time(row.get(1)?),
        })
    })?;
    Ok(candidates.collect::<rusqlite::Result<_>>()?)
}

/// Takes from the lane whose head has the highest priority, counted with its age; of equals the older one (B7).
fn merge(mut lanes: Vec<Lane>, now: Timestamp, wanted: usize) -> Vec<i64> {
    let rank = |lane: &Lane| {
        let head = lane.waiting.front()?;
        let waited = now.since(head.ready_at).as_millis() / AGEING.as_millis();
        let level = u128::from(lane.priority) + waited;
        Some((level, Reverse(head.ready_at), Reverse(head.number)))
    };
    let mut chosen =
        Vec::with_capacity(wanted.min(lanes.iter().map(|lane| lane.waiting.len()).sum()));
    while chosen.len() < wanted {
        let best = lanes
            .iter_mut()
            .filter(|lane| !lane.waiting.is_empty())
            .max_by_key(|lane| rank(lane));
        let Some(head) = best.and_then(|lane| lane.waiting.pop_front()) else {
            break;
        };
        chosen.push(head.number);
    }
    chosen
}

/// Leases what was chosen. Envelopes that were published in a row are taken in two statements.
fn lease(
    step: &Step<'_>,
    claim: &Claim,
    queue: &QueueName,
    chosen: &[i64],
) -> Stepped<Vec<Delivery>> {
    const LEASE: &str = "UPDATE envelopes
        SET place = 1, until = ?3, worker = ?4, deliveries = deliveries + 1
        WHERE number BETWEEN ?1 AND ?2";
    const READ: &str = concat!(
        "SELECT e.number, e.id, e.task, e.generation, e.attempts, e.deliveries, e.losses, e.snoozes,
            e.faults, e.cancel, ",
        envelope_bytes!(),
        " FROM envelopes e WHERE e.number BETWEEN ?1 AND ?2"
    );
    let until = millis(step.now + claim.lease);
    let mut lease = step.prepare(LEASE)?;
    let mut read = step.prepare(READ)?;
    let mut deliveries = Vec::with_capacity(chosen.len());
    for (first, last) in runs(chosen) {
        lease.execute((first, last, until, claim.worker.as_str()))?;
        let mut rows = read.query((first, last))?;
        while let Some(row) = rows.next()? {
            deliveries.push(delivery(row, queue, step.now)?);
        }
    }
    Ok(deliveries)
}

/// The numbers as runs without a gap: all of a run were chosen, so a range of them holds nothing else.
fn runs(numbers: &[i64]) -> impl Iterator<Item = (i64, i64)> {
    numbers
        .chunk_by(|one, next| one + 1 == *next)
        .filter_map(|run| Some((*run.first()?, *run.last()?)))
}

fn delivery(row: &Row<'_>, queue: &QueueName, now: Timestamp) -> rusqlite::Result<Delivery> {
    let number: i64 = row.get(0)?;
    Ok(Delivery {
        receipt: Receipt {
            id: rows::id(row, 1)?,
            delivery: row.get(5)?,
            position: number.cast_unsigned(),
        },
        queue: queue.clone(),
        task: rows::name(row, 2, |text| TaskName::new(text))?,
        bytes: rows::bytes(row, 10)?,
        generation: row.get(3)?,
        attempts: row.get(4)?,
        losses: row.get(6)?,
        snoozes: row.get(7)?,
        faults: row.get(8)?,
        is_cancelled: row.get::<_, i64>(9)? != 0,
        claimed_at: now,
    })
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
