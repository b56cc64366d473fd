//! What is said of an attempt that ran here: the result on standard output, everything else beside it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use stem_core::lookup::Lookup;
use stem_core::outcome::FailureKind;
use stem_core::payload::Payload;
use stem_core::record::{AttemptError, AttemptRecord, OutcomeWord, Record};
use stem_core::units::format_duration;
use stem_core::usage::Usage;

use super::plans::Plan;
use crate::commands::result::{elapsed, log_lines};
use crate::errors::Failure;
use crate::output::{Output, harmless, size};
use crate::progress;
use crate::views::EnvelopeView;
use crate::waiting;

/// An attempt that has ended.
pub struct Told {
    pub(super) lookup: Lookup,
    pub(super) result: Option<Payload>,
    /// What it would have enqueued.
    pub(super) plans: Vec<Plan>,
    /// How long it puts itself off, where it does.
    pub(super) comes_again_after: Duration,
}

impl Told {
    /// Tells how it went; an error where the task did not succeed.
    pub fn tell(&self, attempted: &str, file: Option<&Path>, output: &Output) -> Result<()> {
        let record = self.lookup.record.as_ref();
        match (output.is_json, record) {
            (true, Some(record)) => output.json(&self.view(record)?)?,
            (true, None) | (false, _) => self.note(output),
        }
        if let Some(problem) = self.problem() {
            return Err(Failure::not_found(attempted, problem).into());
        }
        match (&self.result, file) {
            (Some(result), Some(file)) => waiting::write(result, file, output),
            (Some(result), None) if !output.is_json => {
                waiting::print_payload(result, "--output FILE saves it".to_owned(), output)
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// As `result --json` has it; with what would have been enqueued, where something would.
    fn view(&self, record: &Record) -> Result<Value> {
        let mut view = serde_json::to_value(EnvelopeView::new(record.id, &self.lookup))?;
        if !self.plans.is_empty() {
            view["would_enqueue"] = serde_json::to_value(&self.plans)?;
        }
        Ok(view)
    }

    fn attempt(&self) -> Option<&AttemptRecord> {
        self.lookup.record.as_ref()?.attempts.last()
    }

    fn problem(&self) -> Option<String> {
        let attempt = self.attempt()?;
        match attempt.outcome {
            OutcomeWord::Snoozed => {
                let after = format_duration(self.comes_again_after);
                Some(format!("it put itself off for {after}"))
            }
            OutcomeWord::Succeeded
            | OutcomeWord::Failed
            | OutcomeWord::Cancelled
            | OutcomeWord::Expired
            | OutcomeWord::Interrupted => waiting::problem(&self.lookup),
        }
    }

    /// Log, progress, backtrace and usage, for a person.
    fn note(&self, output: &Output) {
        let Some(attempt) = self.attempt() else {
            return;
        };
        for line in log_lines(attempt) {
            output.note(line);
        }
        Plan::note(&self.plans, output);
        let record = self.lookup.record.as_ref();
        if let Some(last) = record.and_then(|record| record.progress.as_ref()) {
            output.note(format!("progress: {}", progress::said(last)));
        }
        for frame in backtrace(attempt) {
            output.note(format!("  {}", harmless(frame)));
        }
        output.note(used(&attempt.usage));
    }
}

fn backtrace(attempt: &AttemptRecord) -> &[String] {
    let Some(AttemptError::Failure(failure)) = &attempt.error else {
        return &[];
    };
    if let FailureKind::Trapped { backtrace, .. } = &failure.kind {
        backtrace
    } else {
        &[]
    }
}

fn used(usage: &Usage) -> String {
    let fuel = usage.fuel.map(|fuel| format!(", {fuel} units of fuel"));
    format!(
        "used {} of cpu in {}, at most {} of memory{}; called the host {} times, sent {}",
        elapsed(usage.cpu),
        elapsed(usage.wall),
        size(usage.peak_memory_bytes),
        fuel.unwrap_or_default(),
        usage.host_calls,
        size(usage.bytes_out)
    )
}
