//! Removes what has outlived its retention, and says what this store is (R4).
//!
//! The file does not shrink: pages that become free are used again, and `describe` says how many there are.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use stem_core::control::FORGOTTEN_AFTER;
use stem_core::store_error::StoreError;
use stem_core::units::ByteSize;
use stem_core::upkeep::{Fact, Upkeep};

use crate::dead_letters;
use crate::open::SCHEMA_VERSION;
use crate::problem::Stepped;
use crate::records;
use crate::rows::{self, count, millis};
use crate::store::{Store, Synchronous};
use crate::usage_store;
use crate::writer::Step;

/// How long an empty lane stays.
const LANE_RETENTION: Duration = Duration::from_secs(3_600);

#[async_trait]
impl Upkeep for Store {
    async fn sweep(&self, limit: usize) -> Result<u64, StoreError> {
        self.write("sweep", move |step| {
            let mut swept = 0;
            for part in [
                records,
                fences,
                dead,
                remembered,
                rest,
                lanes,
                usage_store::sweep,
            ] {
                if swept < limit {
                    swept += part(step, limit - swept)?;
                }
            }
            Ok(swept as u64)
        })
        .await
    }

    async fn describe(&self) -> Result<Vec<(&'static str, Fact)>, StoreError> {
        let namespace = self.shared.namespace;
        let mut facts = self.facts()?;
        let counted = self.list_rows("describe the store", move |connection| {
            contents(connection, namespace)
        });
        facts.extend(counted.await?);
        Ok(facts)
    }
}

/// A row that has expired: its number, and whose it was.
type Expired = (i64, i64, stem_core::ids::EnvelopeId);

fn expired(step: &Step<'_>, sql: &str, limit: usize) -> Stepped<Vec<Expired>> {
    let mut statement = step.prepare(sql)?;
    let rows = statement.query_map((millis(step.now), count(limit)), |row| {
        Ok((row.get(0)?, row.get(1)?, rows::id(row, 2)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn records(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    const EXPIRED: &str = "SELECT number, namespace, id FROM records
        WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let gone = expired(step, EXPIRED, limit)?;
    for (number, namespace, id) in &gone {
        step.execute("DELETE FROM records WHERE number = ?1", [number])?;
        rows::forget_id(step, *namespace, *number, *id)?;
    }
    Ok(gone.len())
}

fn fences(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    const EXPIRED: &str = "SELECT number, namespace, id FROM fences
        WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let gone = expired(step, EXPIRED, limit)?;
    for (number, namespace, id) in &gone {
        records::drop_fence(step, *number)?;
        rows::forget_id(step, *namespace, *number, *id)?;
    }
    Ok(gone.len())
}

fn dead(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    // They died in the order of their seats, and all are kept equally long.
    const EXPIRED: &str = "SELECT d.number, d.namespace, e.id
        FROM (SELECT * FROM dead_letters ORDER BY seat LIMIT ?2) d
        JOIN envelopes e ON e.number = d.number WHERE d.expires_at <= ?1";
    let gone = expired(step, EXPIRED, limit)?;
    for (number, namespace, id) in &gone {
        dead_letters::bury(step, *namespace, *number, *id)?;
    }
    Ok(gone.len())
}

fn remembered(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    const EXPIRED: &str = "SELECT number, namespace, id FROM ids
        WHERE kept_until IS NOT NULL AND kept_until <= ?1 ORDER BY kept_until LIMIT ?2";
    const LET_GO: &str = "UPDATE ids SET kept_until = NULL WHERE id = ?1 AND namespace = ?2";
    let gone = expired(step, EXPIRED, limit)?;
    for (number, namespace, id) in &gone {
        step.execute(LET_GO, (id.as_bytes(), namespace))?;
        rows::forget_id(step, *namespace, *number, *id)?;
    }
    Ok(gone.len())
}

/// Commands and workers: there are never many.
fn rest(step: &Step<'_>, _limit: usize) -> Stepped<usize> {
    const COMMANDS: &str = "DELETE FROM commands WHERE expires_at <= ?1";
    const WORKERS: &str = "DELETE FROM workers WHERE seen_at <= ?1";
    let commands = step.execute(COMMANDS, [millis(step.now)])?;
    let workers = step.execute(WORKERS, [millis(step.now - FORGOTTEN_AFTER)])?;
    Ok(commands + workers)
}

/// Lanes that nothing lies in, and into which nothing was put for long.
fn lanes(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    const IDLE: &str = "DELETE FROM lanes WHERE lane IN (
        SELECT l.lane FROM lanes l WHERE l.used_at <= ?1
            AND NOT EXISTS (SELECT 1 FROM envelopes WHERE place = 0 AND lane = l.lane)
            AND NOT EXISTS (SELECT 1 FROM envelopes WHERE place = 3 AND lane = l.lane)
            AND NOT EXISTS (SELECT 1 FROM envelopes INDEXED BY envelopes_leased
                WHERE place = 1 AND namespace = l.namespace AND lane = l.lane)
            AND NOT EXISTS (SELECT 1 FROM envelopes INDEXED BY envelopes_held
                WHERE place = 2 AND namespace = l.namespace AND lane = l.lane)
        LIMIT ?2)";
    step.execute(IDLE, (millis(step.now - LANE_RETENTION), count(limit)))
}

impl Store {
    fn facts(&self) -> Result<Vec<(&'static str, Fact)>, StoreError> {
        let options = &self.shared.options;
        let free = self.shared.reserve.free();
        let free = free.map_err(|problem| self.shared.error("describe the store", problem))?;
        let durability = match options.synchronous {
            Synchronous::Normal => {
                "survives any kill of our processes; may lose its last commits when the power fails \
                 (synchronous=normal)"
            }
            Synchronous::Full => {
                "survives any kill of our processes, and power loss (synchronous=full)"
            }
        };
        Ok(vec![
            ("store", "sqlite".into()),
            ("path", Fact::Text(options.path.display().to_string())),
            ("namespace", options.namespace.as_str().into()),
            ("format", Fact::Count(SCHEMA_VERSION.unsigned_abs())),
            ("sqlite version", rusqlite::version().into()),
            ("durability", durability.into()),
            ("free on its disk", Fact::Size(free)),
            ("publishing stops at", Fact::Size(options.reserve)),
        ])
    }
}

fn contents(connection: &Connection, namespace: i64) -> Stepped<Vec<(&'static str, Fact)>> {
    const COUNTS: [(&str, &str); 6] = [
        (
            "envelopes",
            "SELECT (SELECT count(*) FROM lanes l
                    CROSS JOIN envelopes e INDEXED BY envelopes_ready ON e.lane = l.lane
                    WHERE e.place = 0 AND l.namespace = ?1)
                + (SELECT count(*) FROM envelopes INDEXED BY envelopes_leased
                    WHERE place = 1 AND namespace = ?1)
                + (SELECT count(*) FROM envelopes INDEXED BY envelopes_held
                    WHERE place = 2 AND namespace = ?1)",
        ),
        (
            "dead letters",
            "SELECT count(*) FROM dead_letters WHERE namespace = ?1",
        ),
        (
            "records",
            "SELECT count(*) FROM records WHERE namespace = ?1",
        ),
        (
            "modules",
            "SELECT count(*) FROM modules WHERE namespace = ?1",
        ),
        (
            "buckets",
            "SELECT count(*) FROM buckets WHERE namespace = ?1",
        ),
        (
            "keys in buckets",
            "SELECT coalesce(sum(keys), 0) FROM buckets WHERE namespace = ?1",
        ),
    ];
    const IN_BUCKETS: &str = "SELECT coalesce(sum(bytes), 0) FROM buckets WHERE namespace = ?1";
    let mut facts = sizes(connection)?;
    for (name, sql) in COUNTS {
        let number: i64 = connection.query_row(sql, [namespace], |row| row.get(0))?;
        facts.push((name, Fact::Count(number.unsigned_abs())));
    }
    let bytes: i64 = connection.query_row(IN_BUCKETS, [namespace], |row| row.get(0))?;
    facts.push((
        "size of buckets",
        Fact::Size(ByteSize(bytes.unsigned_abs())),
    ));
    Ok(facts)
}

fn sizes(connection: &Connection) -> Stepped<Vec<(&'static str, Fact)>> {
    let size = pages(connection, "page_count")?;
    let free = free_within(connection)?;
    Ok(vec![
        ("size of the database", Fact::Size(size)),
        ("of that free for new rows", Fact::Size(free)),
    ])
}

/// The room within the file that new rows take first.
pub(crate) fn free_within(connection: &Connection) -> Stepped<ByteSize> {
    pages(connection, "freelist_count")
}

fn pages(connection: &Connection, number: &str) -> Stepped<ByteSize> {
    let pragma = |name| -> Stepped<u64> {
        let number: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
        Ok(number.cast_unsigned())
    };
    Ok(ByteSize(pragma(number)? * pragma("page_size")?))
}
