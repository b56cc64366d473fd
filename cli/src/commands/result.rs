//! `result`: what an envelope is doing, and how its attempts went.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use comfy_table::Cell;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, DEFAULT_WAIT, Lookup};
use stem_core::outcome::{Failure, FailureKind};
use stem_core::queues::Place;
use stem_core::record::{AttemptError, AttemptRecord, LogLine, OutcomeWord};

use crate::arguments::{self, OneId};
use crate::invocation::Invocation;
use crate::output::{Output, alarm_cell, harmless, size, state_cell};
use crate::progress;
use crate::stores::Lifetime;
use crate::views::{EnvelopeView, enqueued_at, payload_value};
use crate::waiting;

/// Which envelope, and whether to wait for it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    id: OneId,
    /// Wait for the end; exit 1 if it failed, 4 if the wait ran out
    #[arg(long)]
    wait: bool,
    /// How long to wait [default: 30s]
    #[arg(long, value_parser = arguments::duration, requires = "wait")]
    timeout: Option<Duration>,
    /// Write the result to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Shows one envelope.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let output = &invocation.output;
    let id = args.id.get();
    let found = if args.wait {
        waiting::wait(
            &stores,
            id,
            args.timeout.unwrap_or(DEFAULT_WAIT),
            invocation,
        )
        .await?
    } else {
        lookup::look_up(&stores, id)
            .await?
            .ok_or_else(|| waiting::unknown(id, invocation))?
    };
    match (output.is_json, &args.output) {
        (true, _) => output.json(&EnvelopeView::new(id, &found))?,
        (false, None) => show(id, &found, output)?,
        (false, Some(_)) => {}
    }
    if args.wait {
        waiting::check(id, &found, "wait for")?;
    }
    match &args.output {
        Some(file) => waiting::save(id, &found, file, output),
        None => Ok(()),
    }
}

fn show(id: EnvelopeId, found: &Lookup, output: &Output) -> Result<()> {
    output.details(summary(id, found))?;
    let attempts = found.record.as_ref().map(|record| &record.attempts[..]);
    let attempts = attempts.unwrap_or_default();
    show_attempts(attempts, output)?;
    show_result(found, output)
}

/// Attempts as a table, then what each of them wrote.
pub fn show_attempts(attempts: &[AttemptRecord], output: &Output) -> Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(&HEADER, attempts.iter().map(row))?;
    attempts
        .iter()
        .try_for_each(|attempt| show_log(attempt, output))
}

fn summary(id: EnvelopeId, found: &Lookup) -> Vec<(&'static str, Cell)> {
    let (record, status) = (found.record.as_ref(), found.status.as_ref());
    let task = status
        .map(|status| status.task.clone())
        .or_else(|| record?.task.clone());
    let queue = status
        .map(|status| &status.queue)
        .or_else(|| record?.queue.as_ref());
    let end = found.end();
    let progress = record.and_then(|record| record.progress.as_ref());
    let text = |value: Option<String>| Cell::new(value.unwrap_or_default());
    vec![
        ("id", Cell::new(id)),
        ("state", state_cell(found.state)),
        ("task", text(task.map(|task| task.to_string()))),
        ("queue", text(queue.map(ToString::to_string))),
        (
            "place",
            text(status.and_then(|status| place(&status.place))),
        ),
        (
            "enqueued",
            text(enqueued_at(found).map(|time| time.to_string())),
        ),
        ("ended", text(end.map(|end| end.at.to_string()))),
        ("progress", text(progress.map(progress::said))),
        (
            "error",
            alarm_cell(
                end.and_then(|end| end.error.as_ref())
                    .map(describe)
                    .unwrap_or_default(),
                true,
            ),
        ),
    ]
}

fn place(place: &Place) -> Option<String> {
    match place {
        Place::Held { until, .. } => Some(format!("due at {until}")),
        Place::Leased { worker, until } => Some(format!("with {worker}, leased until {until}")),
        Place::Ready | Place::Dead => None,
    }
}

const HEADER: [&str; 10] = [
    "attempt", "delivery", "outcome", "started", "took", "cpu", "memory", "calls", "sent", "error",
];

fn row(attempt: &AttemptRecord) -> Vec<Cell> {
    let usage = &attempt.usage;
    let error = attempt.error.as_ref().map(|error| match error {
        AttemptError::Failure(failure) => describe(failure),
        AttemptError::HostFault { host_fault } => format!("host fault: {}", harmless(host_fault)),
    });
    let is_bad = attempt.outcome == OutcomeWord::Failed;
    vec![
        Cell::new(attempt.number),
        Cell::new(attempt.delivery),
        alarm_cell(word(attempt.outcome), is_bad),
        Cell::new(attempt.started_at),
        Cell::new(elapsed(usage.wall)),
        Cell::new(elapsed(usage.cpu)),
        Cell::new(size(usage.peak_memory_bytes)),
        Cell::new(usage.host_calls),
        Cell::new(size(usage.bytes_out)),
        Cell::new(error.unwrap_or_default()),
    ]
}

/// A short time with three digits.
pub fn elapsed(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1e3 => format!("{micros:.0} µs"),
        _ if micros < 1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

fn word(outcome: OutcomeWord) -> &'static str {
    match outcome {
        OutcomeWord::Succeeded => "succeeded",
        OutcomeWord::Failed => "failed",
        OutcomeWord::Snoozed => "snoozed",
        OutcomeWord::Cancelled => "cancelled",
        OutcomeWord::Expired => "expired",
        OutcomeWord::Interrupted => "interrupted",
    }
}

/// A failure in one line.
pub fn describe(failure: &Failure) -> String {
    let more = match &failure.kind {
        FailureKind::Returned { code, .. } => format!(" ({})", harmless(code)),
        FailureKind::Trapped { .. }
        | FailureKind::Limit { .. }
        | FailureKind::InvalidPayload
        | FailureKind::InvalidOutput
        | FailureKind::UnknownTask
        | FailureKind::ModuleUnavailable
        | FailureKind::NotPermitted
        | FailureKind::BadSignature
        | FailureKind::Undecryptable
        | FailureKind::Poison
        | FailureKind::Undecodable => String::new(),
    };
    format!(
        "{}{more}: {}",
        failure.kind.as_str(),
        harmless(&failure.message)
    )
}

fn show_log(attempt: &AttemptRecord, output: &Output) -> Result<()> {
    let lines = log_lines(attempt);
    if lines.is_empty() {
        return Ok(());
    }
    output.line(format!("\nlog of delivery {}", attempt.delivery))?;
    lines.iter().try_for_each(|line| output.line(line))
}

/// What an attempt wrote, as people read it.
pub fn log_lines(attempt: &AttemptRecord) -> Vec<String> {
    let shown = |line: &LogLine| {
        let fields = line.fields.iter();
        let fields: String = fields
            .map(|(name, value)| format!(" {}={}", harmless(name), harmless(value)))
            .collect();
        let (level, message) = (line.level.as_str(), harmless(&line.message));
        format!("  {level:<6} {message}{fields}")
    };
    let dropped = attempt.log_dropped;
    let rest = (dropped > 0).then(|| format!("  … and {dropped} lines that were not kept"));
    attempt.log.iter().map(shown).chain(rest).collect()
}

fn show_result(found: &Lookup, output: &Output) -> Result<()> {
    let Some(result) = waiting::result_of(found)? else {
        return Ok(());
    };
    output.line(format!("\nresult ({})", harmless(&result.content_type)))?;
    match std::str::from_utf8(&result.body) {
        Ok(text) if result.content_type.starts_with("text/") => output.line(harmless(text)),
        _ if result.is_json() => {
            let pretty = serde_json::to_string_pretty(&payload_value(&result))?;
            output.line(harmless(&pretty))
        }
        _ => output.line(format!(
            "{}: --output FILE saves it",
            size(result.body.len() as u64)
        )),
    }
}
