//! What attempts used, summed by the hour: one row for each key and hour, written once for a batch of reports.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Row;
use stem_core::store_error::StoreError;
use stem_core::usage::{UsageKey, UsageSums, first_kept_hour, hour_of};
use stem_core::usage_store::{UsageBy, UsageQuestion, UsageShare, UsageStore};

use crate::problem::Stepped;
use crate::rows::{count, millis};
use crate::store::Store;
use crate::writer::Step;

/// Sums by one column, which is the first of the answer; `''` stands for none.
macro_rules! shares_by {
    ($column:literal) => {
        concat!(
            "SELECT nullif(",
            $column,
            ", ''), sum(succeeded), sum(failed), sum(snoozed), sum(cancelled), sum(expired),
                sum(interrupted), sum(cpu_us), sum(wall_us), total(memory_byte_ms),
                max(peak_memory_bytes), sum(fuel), sum(host_calls), sum(bytes_out)
            FROM usage WHERE hour >= ?1 AND namespace = ?2 AND (?3 IS NULL OR task = ?3)
                AND (?4 IS NULL OR queue = ?4) AND (?5 IS NULL OR tenant = ?5)
            GROUP BY ",
            $column,
            " ORDER BY ",
            $column
        )
    };
}

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, question: &UsageQuestion) -> Result<Vec<UsageShare>, StoreError> {
        let (namespace, question) = (self.shared.namespace, question.clone());
        self.list_rows("sum up usage", move |connection| {
            let mut statement = connection.prepare_cached(match question.by {
                UsageBy::Task => shares_by!("task"),
                UsageBy::Queue => shares_by!("queue"),
                UsageBy::Tenant => shares_by!("tenant"),
            })?;
            let params = rusqlite::params![
                millis(question.since),
                namespace,
                question.task.as_ref().map(|task| task.as_str()),
                question.queue.as_ref().map(|queue| queue.as_str()),
                question.tenant,
            ];
            let shares = statement.query_map(params, share)?;
            Ok(shares.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn share(row: &Row<'_>) -> rusqlite::Result<UsageShare> {
    let number = |column| row.get(column).map(i64::cast_unsigned);
    let time = |column| number(column).map(Duration::from_micros);
    let sums = UsageSums {
        succeeded: number(1)?,
        failed: number(2)?,
        snoozed: number(3)?,
        cancelled: number(4)?,
        expired: number(5)?,
        interrupted: number(6)?,
        cpu: time(7)?,
        wall: time(8)?,
        // Bytes times time leave SQLite's whole numbers within a month: their total is a floating-point number.
        memory_byte_millis: row.get::<_, f64>(9)? as u128,
        peak_memory_bytes: number(10)?,
        fuel: number(11)?,
        host_calls: number(12)?,
        bytes_out: number(13)?,
    };
    let name = row.get(0)?;
    Ok(UsageShare { name, sums })
}

/// What a batch of reports adds to the hour that is.
#[derive(Default)]
pub(crate) struct Tally<'e>(BTreeMap<&'e UsageKey, UsageSums>);

impl<'e> Tally<'e> {
    pub(crate) fn add(&mut self, key: &'e UsageKey, sums: &UsageSums) {
        self.0.entry(key).or_default().add(sums);
    }

    /// Adds all of it: a row is looked for first, since only new ones have to be counted.
    pub(crate) fn write(&self, step: &Step<'_>) -> Stepped<()> {
        let mut rows_of_hour = None;
        for (key, sums) in &self.0 {
            if !add(step, key, sums)? {
                let rows = match rows_of_hour {
                    Some(rows) => rows,
                    None => count_rows(step)?,
                };
                put(step, &(*key).clone().among(rows), sums)?;
                rows_of_hour = Some(rows + 1);
            }
        }
        Ok(())
    }
}

/// Adds to a row, if there is one.
fn add(step: &Step<'_>, key: &UsageKey, sums: &UsageSums) -> Stepped<bool> {
    const ADD: &str = "UPDATE usage SET succeeded = succeeded + ?6, failed = failed + ?7,
        snoozed = snoozed + ?8, cancelled = cancelled + ?9, expired = expired + ?10,
        interrupted = interrupted + ?11, cpu_us = cpu_us + ?12, wall_us = wall_us + ?13,
        memory_byte_ms = memory_byte_ms + ?14, peak_memory_bytes = max(peak_memory_bytes, ?15),
        fuel = fuel + ?16, host_calls = host_calls + ?17, bytes_out = bytes_out + ?18
        WHERE hour = ?1 AND namespace = ?2 AND task = ?3 AND queue = ?4 AND tenant = ?5";
    Ok(run(step, ADD, key, sums)? == 1)
}

/// Adds to a row, and makes it where there is none.
fn put(step: &Step<'_>, key: &UsageKey, sums: &UsageSums) -> Stepped<()> {
    const PUT: &str = "INSERT INTO usage VALUES
        (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
    if !add(step, key, sums)? {
        run(step, PUT, key, sums)?;
    }
    Ok(())
}

fn run(step: &Step<'_>, sql: &str, key: &UsageKey, sums: &UsageSums) -> Stepped<usize> {
    let params = rusqlite::params![
        millis(hour_of(step.now)),
        step.namespace,
        key.task.as_str(),
        key.queue.as_str(),
        key.tenant.as_deref().unwrap_or_default(),
        number(sums.succeeded),
        number(sums.failed),
        number(sums.snoozed),
        number(sums.cancelled),
        number(sums.expired),
        number(sums.interrupted),
        micros(sums.cpu),
        micros(sums.wall),
        i64::try_from(sums.memory_byte_millis).unwrap_or(i64::MAX),
        number(sums.peak_memory_bytes),
        number(sums.fuel),
        number(sums.host_calls),
        number(sums.bytes_out),
    ];
    step.execute(sql, params)
}

fn count_rows(step: &Step<'_>) -> Stepped<usize> {
    const COUNT: &str = "SELECT count(*) FROM usage WHERE hour = ?1 AND namespace = ?2";
    let params = (millis(hour_of(step.now)), step.namespace);
    let rows: i64 = step.prepare(COUNT)?.query_row(params, |row| row.get(0))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// Removes sums that have been kept long enough (R4).
pub(crate) fn sweep(step: &Step<'_>, limit: usize) -> Stepped<usize> {
    const EXPIRED: &str = "DELETE FROM usage WHERE (hour, namespace, task, queue, tenant) IN
        (SELECT hour, namespace, task, queue, tenant FROM usage WHERE hour < ?1 LIMIT ?2)";
    let first_kept = first_kept_hour(step.now);
    step.execute(EXPIRED, (millis(first_kept), count(limit)))
}

/// What no attempts come to that are measured: a thousand sums as large stay within SQLite's whole numbers.
fn number(count: u64) -> i64 {
    const MOST: u64 = 1 << 53;
    count.min(MOST).cast_signed()
}

fn micros(time: Duration) -> i64 {
    number(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
