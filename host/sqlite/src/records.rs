//! Records as rows: a report on its own is ready to be stored, and only what was kept before makes it be merged (R5).

use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension};
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::record::{DEAD_LETTER_RETENTION, Progress, Record, Report, kept_for};
use stem_core::state::{EndState, State};
use stem_core::usage::{UsageKey, UsageSums};

use crate::problem::{Problem, Stepped};
use crate::rows::{self, millis};
use crate::usage_store::Tally;
use crate::writer::Step;

/// A report as it is stored where nothing was kept before. It is made by the caller, so that the writer need not.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: EnvelopeId,
    pub(crate) generation: u32,
    pub(crate) delivery: u32,
    pub(crate) end: Option<EndState>,
    retention: Duration,
    usage: Option<(UsageKey, UsageSums)>,
    body: Vec<u8>,
}

impl Entry {
    pub(crate) fn of(report: &Report) -> Stepped<Self> {
        Ok(Self {
            id: report.id,
            generation: report.generation,
            delivery: report.delivery,
            end: report.end.as_ref().map(|end| end.state),
            retention: report.retention,
            usage: report.usage(),
            body: rows::encode(&report.clone().merge_into(None))?,
        })
    }

    /// Until when the record is kept from now on (R4).
    pub(crate) fn expires_at(&self, now: Timestamp) -> Timestamp {
        now + kept_for(self.end, self.retention)
    }

    fn state(&self) -> Option<&'static str> {
        self.end.map(|end| State::from(end).as_str())
    }

    /// The report again: a record of it alone holds all that it said.
    fn report(&self) -> Stepped<Report> {
        let mut record: Record = rows::decode("a record", &self.body)?;
        Ok(Report {
            id: self.id,
            task: record.task,
            queue: record
                .queue
                .ok_or_else(|| Problem::unreadable("a record", "no queue"))?,
            tenant: None,
            generation: self.generation,
            delivery: self.delivery,
            enqueued_at: record.enqueued_at,
            attempt: record.attempts.pop(),
            end: record.end,
            retention: self.retention,
        })
    }
}

/// Adds reports to the records of their envelopes, and what their attempts used to the sums.
pub(crate) struct Recorder<'s, 'c, 'e> {
    step: &'s Step<'c>,
    add: CachedStatement<'c>,
    tally: Tally<'e>,
}

impl<'s, 'c, 'e> Recorder<'s, 'c, 'e> {
    pub(crate) fn new(step: &'s Step<'c>) -> Stepped<Self> {
        const ADD: &str = "INSERT INTO records
            (number, namespace, id, generation, delivery, state, expires_at, body)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
        let add = step.prepare(ADD)?;
        let tally = Tally::default();
        Ok(Self { step, add, tally })
    }

    pub(crate) fn add(&mut self, number: i64, entry: &'e Entry) -> Stepped<()> {
        let added = self.add.execute(rusqlite::params![
            number,
            self.step.namespace,
            entry.id.as_bytes(),
            entry.generation,
            entry.delivery,
            entry.state(),
            millis(entry.expires_at(self.step.now)),
            entry.body,
        ])?;
        let is_new = match added {
            0 => merge(self.step, number, entry)?,
            _ => true,
        };
        if let (true, Some((key, sums))) = (is_new, &entry.usage) {
            self.tally.add(key, sums);
        }
        Ok(())
    }

    /// Writes the sums: to be called once everything is added.
    pub(crate) fn finish(&self) -> Stepped<()> {
        self.tally.write(self.step)
    }
}

/// Adds a report to what was kept before; gives whether its attempt was not known.
fn merge(step: &Step<'_>, number: i64, entry: &Entry) -> Stepped<bool> {
    const MERGE: &str = "UPDATE records SET generation = ?2, delivery = max(delivery, ?3),
        state = ?4, expires_at = ?5, body = ?6 WHERE number = ?1";
    let kept = kept(step.connection, number, step.now)?;
    let report = entry.report()?;
    let knows = |record: &Record| report.attempt.as_ref().is_some_and(|it| record.knows(it));
    let is_known = kept.as_ref().is_some_and(knows);
    let body = rows::encode(&report.merge_into(kept))?;
    let params = rusqlite::params![
        number,
        entry.generation,
        entry.delivery,
        entry.state(),
        millis(entry.expires_at(step.now)),
        body,
    ];
    step.execute(MERGE, params)?;
    Ok(!is_known)
}

/// The record of this number, unless it has expired.
fn kept(connection: &Connection, number: i64, now: Timestamp) -> Stepped<Option<Record>> {
    const KEPT: &str = "SELECT body FROM records WHERE number = ?1 AND expires_at > ?2";
    let mut statement = connection.prepare_cached(KEPT)?;
    let body = statement.query_row((number, millis(now)), |row| {
        Ok(rows::decode("a record", row.get_ref(0)?.as_blob()?))
    });
    body.optional()?.transpose()
}

/// The record as it is shown: with the progress of the attempt that runs, also where nothing else is known yet.
pub(crate) fn show(
    connection: &Connection,
    namespace: i64,
    id: EnvelopeId,
    now: Timestamp,
) -> Stepped<Option<Record>> {
    let Some(number) = rows::number(connection, namespace, id)? else {
        return Ok(None);
    };
    let record = kept(connection, number, now)?;
    let Some((generation, progress)) = progress(connection, number, now)? else {
        return Ok(record);
    };
    Ok(Some(Record {
        progress: Some(progress),
        ..Record::continued(record, id, generation)
    }))
}

fn progress(
    connection: &Connection,
    number: i64,
    now: Timestamp,
) -> Stepped<Option<(u32, Progress)>> {
    const PROGRESS: &str = "SELECT generation, progress FROM fences
        WHERE number = ?1 AND expires_at > ?2 AND progress IS NOT NULL";
    let mut statement = connection.prepare_cached(PROGRESS)?;
    let found = statement.query_row((number, millis(now)), |row| {
        let progress: Stepped<Progress> =
            rows::decode("the progress of an attempt", row.get_ref(1)?.as_blob()?);
        Ok(progress.and_then(|progress| Ok((row.get(0)?, progress))))
    });
    found.optional()?.transpose()
}

/// Forgets checkpoints and progress of envelopes that end. Most stores have none: that is asked once for a batch.
pub(crate) struct Leftovers {
    has_fences: bool,
}

impl Leftovers {
    pub(crate) fn of(step: &Step<'_>) -> Stepped<Self> {
        const FENCES: &str = "SELECT EXISTS (SELECT 1 FROM fences)";
        Ok(Self {
            has_fences: rows::has_rows(step.connection, FENCES)?,
        })
    }

    /// Only a replay can go on from a checkpoint: it waits for one as long as the dead letter does.
    pub(crate) fn bury(&self, step: &Step<'_>, number: i64) -> Stepped<()> {
        if self.has_fences {
            bury_fence(step, number)?;
        }
        Ok(())
    }

    /// What lives on is kept as long as its record.
    pub(crate) fn prolong(&self, step: &Step<'_>, number: i64, entry: &Entry) -> Stepped<()> {
        if self.has_fences {
            prolong_fence(step, number, entry)?;
        }
        Ok(())
    }

    pub(crate) fn clear(&self, step: &Step<'_>, number: i64) -> Stepped<()> {
        if self.has_fences {
            drop_fence(step, number)?;
        }
        Ok(())
    }
}

/// A checkpoint lives as long as its fence.
pub(crate) fn drop_fence(step: &Step<'_>, number: i64) -> Stepped<()> {
    step.execute("DELETE FROM checkpoints WHERE number = ?1", [number])?;
    step.execute("DELETE FROM fences WHERE number = ?1", [number])?;
    Ok(())
}

/// Keeps progress and checkpoint as long as the record of this report.
pub(crate) fn prolong_fence(step: &Step<'_>, number: i64, entry: &Entry) -> Stepped<()> {
    const PROLONG: &str = "UPDATE fences SET expires_at = max(expires_at, ?2) WHERE number = ?1";
    step.execute(PROLONG, (number, millis(entry.expires_at(step.now))))?;
    Ok(())
}

/// Keeps the checkpoint of an envelope that has failed for a replay.
pub(crate) fn bury_fence(step: &Step<'_>, number: i64) -> Stepped<()> {
    const BURY: &str = "UPDATE fences SET progress = NULL, expires_at = ?2 WHERE number = ?1";
    step.execute(BURY, (number, millis(step.now + DEAD_LETTER_RETENTION)))?;
    Ok(())
}
