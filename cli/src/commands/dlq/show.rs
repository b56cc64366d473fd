//! `dlq show`: one dead letter with its envelope, its error and its attempts.

use anyhow::Result;
use comfy_table::Cell;
use serde_json::{Value, json};
use stem_core::dead_letters::DeadLetter;
use stem_core::envelope::Envelope;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::FailureKind;
use stem_core::stores::Stores;
use stem_core::units::format_duration;

use super::selection::not_dead;
use crate::commands::result;
use crate::output::{Output, alarm_cell, harmless, size};
use crate::views::{AttemptView, DeadLetterView, SHOWN_LIMIT, payload_value, stored_value};

/// Shows one dead letter.
pub async fn run(id: EnvelopeId, stores: &Stores, output: &Output) -> Result<()> {
    let found = stores.dead_letters.show(&[id]).await?.pop().flatten();
    let letter = found.ok_or_else(|| not_dead(id, "show"))?;
    let record = stores.results.records(&[id]).await?.pop().flatten();
    let attempts = record.map(|record| record.attempts).unwrap_or_default();
    if output.is_json {
        let mut view = serde_json::to_value(DeadLetterView::new(&letter))?;
        view["envelope"] = envelope_value(&letter);
        view["attempts"] =
            serde_json::to_value(attempts.iter().map(AttemptView::new).collect::<Vec<_>>())?;
        return output.json(&view);
    }
    output.details(summary(&letter))?;
    show_backtrace(&letter, output)?;
    show_envelope(&letter, output)?;
    result::show_attempts(&attempts, output)
}

fn summary(letter: &DeadLetter) -> Vec<(&'static str, Cell)> {
    let error = letter.error.as_ref().map(result::describe);
    vec![
        ("id", Cell::new(letter.id)),
        ("task", Cell::new(&letter.task)),
        ("queue", Cell::new(&letter.queue)),
        ("reason", alarm_cell(letter.reason.as_str(), true)),
        ("error", alarm_cell(error.unwrap_or_default(), true)),
        ("dead at", Cell::new(letter.dead_at)),
        ("generation", Cell::new(letter.generation)),
        ("attempts", Cell::new(letter.attempts)),
    ]
}

fn show_backtrace(letter: &DeadLetter, output: &Output) -> Result<()> {
    let kind = letter.error.as_ref().map(|error| &error.kind);
    let Some(FailureKind::Trapped { backtrace, .. }) = kind else {
        return Ok(());
    };
    output.line("\nbacktrace")?;
    backtrace
        .iter()
        .try_for_each(|frame| output.line(format!("  {}", harmless(frame))))
}

fn show_envelope(letter: &DeadLetter, output: &Output) -> Result<()> {
    output.line("\nenvelope")?;
    let envelope = match Envelope::decode(&letter.bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            let size = size(letter.bytes.len() as u64);
            return output.line(format!("  {error} ({size}; --json shows the bytes)"));
        }
    };
    let text = |value: Option<String>| Cell::new(value.unwrap_or_default());
    let headers: Vec<String> = envelope
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", harmless(value)))
        .collect();
    output.details([
        ("enqueued", Cell::new(envelope.enqueued_at)),
        ("priority", Cell::new(envelope.priority)),
        (
            "max attempts",
            text(envelope.max_attempts.map(|number| number.to_string())),
        ),
        (
            "not before",
            text(envelope.not_before.map(|time| time.to_string())),
        ),
        (
            "expires",
            text(envelope.expires_at.map(|time| time.to_string())),
        ),
        (
            "keeps result",
            text(envelope.result_retention.map(format_duration)),
        ),
        ("headers", Cell::new(headers.join("\n"))),
        ("payload", Cell::new(payload_text(&envelope))),
    ])
}

fn payload_text(envelope: &Envelope) -> String {
    let payload = match envelope.payload.unpack(SHOWN_LIMIT) {
        Ok(payload) => payload,
        Err(error) => return error.to_string(),
    };
    let shown = match std::str::from_utf8(&payload.body) {
        Ok(text) if payload.is_json() || payload.content_type.starts_with("text/") => {
            harmless(text)
        }
        _ => size(payload.body.len() as u64),
    };
    format!("{}: {shown}", harmless(&payload.content_type))
}

/// The envelope as JSON; its very bytes where this build cannot read them.
fn envelope_value(letter: &DeadLetter) -> Value {
    match Envelope::decode(&letter.bytes) {
        Ok(envelope) => json!({
            "id": envelope.id,
            "task": envelope.task,
            "queue": envelope.queue,
            "priority": envelope.priority,
            "payload": stored_value(&envelope.payload),
            "content_type": envelope.payload.content_type,
            "headers": envelope.headers,
            "max_attempts": envelope.max_attempts,
            "enqueued_at": envelope.enqueued_at.to_string(),
            "not_before": envelope.not_before.map(|time| time.to_string()),
            "expires_at": envelope.expires_at.map(|time| time.to_string()),
            "module": envelope.module,
        }),
        Err(error) => {
            let bytes =
                stem_core::payload::Payload::new("application/octet-stream", letter.bytes.clone());
            json!({"undecodable": error.to_string(), "bytes": payload_value(&bytes)})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::clock::Timestamp;
    use stem_core::names::{QueueName, TaskName};
    use stem_core::payload::{Payload, StoredPayload};

    #[test]
    fn a_media_type_that_another_producer_stored_cannot_steer_the_terminal() {
        let payload = Payload::new("text/\u{1b}[2J", "a\u{9b}b");
        let envelope = Envelope::new(
            TaskName::new("t").expect("a name"),
            QueueName::new("q").expect("a name"),
            StoredPayload::pack(payload),
            Timestamp::default(),
        );
        assert_eq!(payload_text(&envelope), "text/\\u{1b}[2J: a\\u{9b}b");
    }
}
