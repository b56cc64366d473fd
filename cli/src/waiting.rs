//! Waits for the end of an envelope, and hands over its result.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::payload::Payload;
use stem_core::queues::Place;
use stem_core::state::State;
use stem_core::store_error::StoreError;
use stem_core::stores::Stores;
use stem_core::units::format_duration;

use crate::errors::{self, Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Output, harmless};
use crate::progress;
use crate::views::{EnvelopeView, SHOWN_LIMIT};

/// What is said where there is no result though the task succeeded.
const NOT_KEPT: &str = "its task keeps no results";

/// How long it may take to find out why an envelope still waits.
const LOOKING: Duration = Duration::from_secs(2);
/// A store that does not answer is asked again after such a time, and then less and less often.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What was seen while it was waited for.
#[derive(Default)]
struct Watched {
    last: Option<Lookup>,
    /// Why the store did not answer, if it did not since.
    lost: Option<StoreError>,
}

/// Waits until the envelope has ended, at most so long; programs are then shown how far it came. A store that goes away
/// meanwhile is asked again until it is back (B13).
pub async fn wait(
    stores: &Stores,
    id: EnvelopeId,
    timeout: Duration,
    invocation: &Invocation,
) -> Result<Lookup> {
    let output = &invocation.output;
    let mut watched = Watched::default();
    let waiting = watched.follow(stores, id);
    let waited = tokio::time::timeout(timeout, waiting).await;
    match waited {
        Ok(Ok(found)) => found.ok_or_else(|| unknown(id, invocation)),
        Ok(Err(error)) => Err(errors::advised(error, format!("wait for {id}"), again(id))),
        Err(_) => {
            if let Some(seen) = watched.last.as_ref().filter(|_| output.is_json) {
                output.json(&EnvelopeView::new(id, seen))?;
            }
            Err(watched.ran_out(stores, id, timeout).await)
        }
    }
}

impl Watched {
    async fn follow(
        &mut self,
        stores: &Stores,
        id: EnvelopeId,
    ) -> Result<Option<Lookup>, StoreError> {
        let spinner = progress::spinner("waiting");
        let mut pause = FIRST_PAUSE;
        loop {
            let followed = lookup::wait(stores, id, |seen| {
                (self.last, self.lost) = (Some(seen.clone()), None);
                pause = FIRST_PAUSE;
                show(&spinner, seen);
            });
            match followed.await {
                Err(error) if error.is_transient() => {
                    spinner.set_message("the store does not answer");
                    self.lost = Some(error);
                }
                ended => {
                    spinner.finish_and_clear();
                    return ended;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ran_out(&self, stores: &Stores, id: EnvelopeId, timeout: Duration) -> anyhow::Error {
        let attempted = format!("wait for {id}");
        let last = self.last.as_ref();
        let state = last.map_or("not seen", |seen| seen.state.as_str());
        let after = format_duration(timeout);
        if let Some(lost) = &self.lost {
            let problem = format!(
                "it is {state} after {after} as far as is known: {lost}: {}",
                lost.cause()
            );
            let failure = Failure::new(Exit::Unreachable, attempted, problem);
            return failure.hint(again(id)).into();
        }
        let held_up = tokio::time::timeout(LOOKING, held_up(stores, last)).await;
        let reason = held_up.ok().flatten();
        let reason = reason.unwrap_or_else(|| "it goes on by itself".to_owned());
        Failure::new(
            Exit::TimedOut,
            attempted,
            format!("it is {state} after {after}"),
        )
        .hint(format!("{reason}: {}", again(id)))
        .into()
    }
}

/// How to wait for it once more.
fn again(id: EnvelopeId) -> String {
    format!("`stem-host result {id} --wait` waits again")
}

/// Why an envelope that waits for a worker may go on waiting.
async fn held_up(stores: &Stores, last: Option<&Lookup>) -> Option<String> {
    let status = last?.status.as_ref()?;
    if status.place != Place::Ready {
        return None;
    }
    let queue = &status.queue;
    let queues = stores.queues.queues().await.ok()?;
    if queues.iter().any(|one| one.name == *queue && one.is_paused) {
        return Some(format!(
            "its queue is paused (`stem-host queue resume {queue}`)"
        ));
    }
    let workers = stores.control.workers().await.ok()?;
    let mut live = workers.iter().filter(|worker| !worker.is_dead).peekable();
    if live.peek().is_none() {
        return Some("no worker runs (`stem-host worker start`)".to_owned());
    }
    let is_served = live.any(|worker| worker.heartbeat.queues.contains(queue));
    (!is_served).then(|| {
        format!("no worker takes from its queue (`stem-host worker start --queue {queue}`)")
    })
}

/// Nobody knows this id (any more).
pub fn unknown(id: EnvelopeId, invocation: &Invocation) -> anyhow::Error {
    let failure = Failure::not_found(
        format!("look {id} up"),
        format!(
            "no envelope has this id, or its record has expired, in {}",
            invocation.place()
        ),
    );
    match invocation.config.results == invocation.config.broker {
        true => failure
            .hint("where workers keep results elsewhere, STEM_RESULT_BACKEND_URL has to name that place here as well")
            .into(),
        false => failure.into(),
    }
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
