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
use crate::views::{EnvelopeView, SHOWN_LIMIT};

/// What is said where there is no result though the task succeeded.
const NOT_KEPT: &str = "its task keeps no results";

/// Waits until the envelope has ended, at most so long; programs are then shown how far it came.
pub async fn wait(
    stores: &Stores,
    id: EnvelopeId,
    timeout: Duration,
    output: &Output,
) -> Result<Lookup> {
    let spinner = progress::spinner("waiting");
    let mut last = None;
    let waiting = lookup::wait(stores, id, |seen| {
        last = Some(seen.clone());
        show(&spinner, seen);
    });
    let waited = tokio::time::timeout(timeout, waiting).await;
    spinner.finish_and_clear();
    match waited {
        Ok(found) => found?.ok_or_else(|| unknown(id)),
        Err(_) => {
            if let Some(seen) = last.as_ref().filter(|_| output.is_json) {
                output.json(&EnvelopeView::new(id, seen))?;
            }
            Err(ran_out(id, last.as_ref(), timeout))
        }
    }
}

fn ran_out(id: EnvelopeId, last: Option<&Lookup>, timeout: Duration) -> anyhow::Error {
    let state = last.map_or("not seen", |seen| seen.state.as_str());
    let problem = format!("it is {state} after {}", format_duration(timeout));
    Failure::new(Exit::TimedOut, format!("wait for {id}"), problem)
        .hint(format!(
            "it goes on by itself: `stem-host result {id} --wait` waits again"
        ))
        .into()
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
        Some(progress) => format!("{} {}", seen.state, progress::said(progress)),
        None => seen.state.to_string(),
    };
    spinner.set_message(message);
}

/// An error where the envelope has not succeeded; `verb` says what that was needed for.
pub fn check(id: EnvelopeId, found: &Lookup, verb: &str) -> Result<()> {
    let Some(problem) = problem(found) else {
        return Ok(());
    };
    Err(Failure::not_found(format!("{verb} {id}"), problem)
        .hint(format!("see its attempts with `stem-host result {id}`"))
        .into())
}

/// What stands between the envelope and its result; nothing where it has succeeded.
pub fn problem(found: &Lookup) -> Option<String> {
    let error = found.end().and_then(|end| end.error.as_ref());
    match (found.state, error) {
        (State::Succeeded, _) => None,
        (_, Some(error)) => Some(format!(
            "it has {}: {}: {}",
            found.state,
            error.kind.as_str(),
            harmless(&error.message)
        )),
        (state, None) => Some(format!("it is {state}")),
    }
}

/// What the envelope returned, where it is kept.
pub fn result_of(ended: &Lookup) -> Result<Option<Payload>> {
    let stored = ended.end().and_then(|end| end.result.as_ref());
    stored
        .map(|stored| stored.unpack(SHOWN_LIMIT).context("read the result"))
        .transpose()
}

/// Prints the result, where it is kept.
pub fn print(id: EnvelopeId, ended: &Lookup, output: &Output) -> Result<()> {
    match result_of(ended)? {
        Some(result) => {
            let save = format!("`stem-host result {id} --output FILE` saves it");
            print_payload(&result, save, output)
        }
        None => {
            output.note(NOT_KEPT);
            Ok(())
        }
    }
}

/// Prints a result: indented JSON or text for a person, the very bytes for a program; `save` says what to do where
/// neither can be shown.
pub fn print_payload(result: &Payload, save: String, output: &Output) -> Result<()> {
    if result.is_json() {
        return print_json(result, output);
    }
    if !output.is_terminal() {
        return output.bytes(&result.body);
    }
    match std::str::from_utf8(&result.body) {
        Ok(text) if result.content_type.starts_with("text/") => output.line(harmless(text)),
        _ => {
            let kind = harmless(&result.content_type);
            let problem = format!("it is {kind}, and a terminal shows text only");
            let unprinted = Failure::usage("print the result", problem);
            Err(unprinted.hint(save).into())
        }
    }
}

fn print_json(result: &Payload, output: &Output) -> Result<()> {
    match serde_json::from_slice::<serde_json::Value>(&result.body) {
        Ok(value) if output.is_terminal() => output.json(&value),
        _ => output.line(String::from_utf8_lossy(&result.body).trim_end()),
    }
}

/// Writes the result to a file; an error where there is none.
pub fn save(id: EnvelopeId, found: &Lookup, file: &Path, output: &Output) -> Result<()> {
    let verb = format!("write to `{}` the result of", file.display());
    check(id, found, &verb)?;
    let result = result_of(found)?;
    let result = result.ok_or_else(|| Failure::not_found(format!("{verb} {id}"), NOT_KEPT))?;
    write(&result, file, output)
}

/// Writes a result to a file.
pub fn write(result: &Payload, file: &Path, output: &Output) -> Result<()> {
    std::fs::write(file, &result.body)
        .map_err(|error| Failure::usage(format!("write `{}`", file.display()), error))?;
    output.note(format!(
        "wrote {} ({}, {} bytes)",
        file.display(),
        harmless(&result.content_type),
        result.body.len()
    ));
    Ok(())
}
