//! Waits for the end of an envelope, and hands over its result.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::payload::Payload;
use stem_core::state::State;
use stem_core::stores::Stores;
use stem_core::units::format_duration;

use crate::errors::{Exit, Failure};
use crate::output::{Output, harmless};
use crate::progress;
use crate::views::SHOWN_LIMIT;

/// Waits until the envelope has ended, at most so long.
pub async fn wait(stores: &Stores, id: EnvelopeId, timeout: Duration) -> Result<Lookup> {
    let spinner = progress::spinner("waiting");
    let mut last = None;
    let waiting = lookup::wait(stores, id, |seen| {
        last = Some(seen.state);
        show(&spinner, seen);
    });
    let waited = tokio::time::timeout(timeout, waiting).await;
    spinner.finish_and_clear();
    match waited {
        Ok(found) => found?.ok_or_else(|| unknown(id)),
        Err(_) => {
            let state = last.map_or("not seen", State::as_str);
            let problem = format!("it is {state} after {}", format_duration(timeout));
            Err(
                Failure::new(Exit::TimedOut, format!("wait for {id}"), problem)
                    .hint(format!(
                        "it goes on by itself: `stem-host result {id} --wait` waits again"
                    ))
                    .into(),
            )
        }
    }
}

/// Nobody knows this id (any more).
pub fn unknown(id: EnvelopeId) -> anyhow::Error {
    Failure::not_found(
        format!("look {id} up"),
        "no envelope has this id, or its record has expired",
    )
    .into()
}

fn show(spinner: &ProgressBar, seen: &Lookup) {
    let progress = seen
        .record
        .as_ref()
        .and_then(|record| record.progress.as_ref());
    let message = match progress.filter(|_| seen.state == State::Running) {
        Some(progress) => format!(
            "{} {:.0} % {}",
            seen.state,
            progress.fraction * 100.0,
            harmless(&progress.note)
        ),
        None => seen.state.to_string(),
    };
    spinner.set_message(message);
}

/// An error where the awaited envelope has not succeeded.
pub fn check(id: EnvelopeId, ended: &Lookup) -> Result<()> {
    let error = ended.end().and_then(|end| end.error.as_ref());
    let problem = match (ended.state, error) {
        (State::Succeeded, _) => return Ok(()),
        (_, Some(error)) => format!(
            "it has {}: {}: {}",
            ended.state,
            error.kind.as_str(),
            harmless(&error.message)
        ),
        (state, None) => format!("it is {state}"),
    };
    Err(
        Failure::new(Exit::NotFound, format!("wait for {id}"), problem)
            .hint(format!("see its attempts with `stem-host result {id}`"))
            .into(),
    )
}

/// What the envelope returned, where it is kept.
pub fn result_of(ended: &Lookup) -> Result<Option<Payload>> {
    let stored = ended.end().and_then(|end| end.result.as_ref());
    stored
        .map(|stored| stored.unpack(SHOWN_LIMIT).context("read the result"))
        .transpose()
}

/// Writes the result to a file, or prints it: indented JSON or text for a person, the very bytes for a program.
pub fn hand_over(
    id: EnvelopeId,
    ended: &Lookup,
    file: Option<&Path>,
    output: &Output,
) -> Result<()> {
    let Some(result) = result_of(ended)? else {
        output.note("its task keeps no results");
        return Ok(());
    };
    if let Some(file) = file {
        return save(&result, file, output);
    }
    if result.is_json() {
        return print_json(&result, output);
    }
    if !output.is_terminal() {
        return output.bytes(&result.body);
    }
    match std::str::from_utf8(&result.body) {
        Ok(text) if result.content_type.starts_with("text/") => output.line(harmless(text)),
        _ => {
            let problem = format!(
                "it is {}, and a terminal shows text only",
                result.content_type
            );
            Err(Failure::usage("print the result", problem)
                .hint(format!("`stem-host result {id} --output FILE` saves it"))
                .into())
        }
    }
}

fn print_json(result: &Payload, output: &Output) -> Result<()> {
    match serde_json::from_slice::<serde_json::Value>(&result.body) {
        Ok(value) if output.is_terminal() => output.json(&value),
        _ => output.line(String::from_utf8_lossy(&result.body).trim_end()),
    }
}

/// Writes a result to a file.
pub fn save(result: &Payload, file: &Path, output: &Output) -> Result<()> {
    std::fs::write(file, &result.body)
        .map_err(|error| Failure::usage(format!("write `{}`", file.display()), error))?;
    output.note(format!(
        "wrote {} ({}, {} bytes)",
        file.display(),
        result.content_type,
        result.body.len()
    ));
    Ok(())
}
