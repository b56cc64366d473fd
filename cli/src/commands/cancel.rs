//! `cancel`: ends envelopes wherever they are (W7).

use anyhow::{Context as _, Result};
use serde::Serialize;
use stem_core::control::Command;
use stem_core::ids::EnvelopeId;
use stem_core::lookup;
use stem_core::queues::{CancelMode, Cancelling};
use stem_core::state::State;
use stem_core::stores::Stores;

use crate::arguments::Ids;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::stores::Lifetime;

/// Which envelopes, and how
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ids: Ids,
    /// End at once what runs, instead of asking its task to stop
    #[arg(long)]
    now: bool,
}

/// What became of one cancellation.
#[derive(Serialize)]
struct Answer {
    id: String,
    /// The state that the envelope has now.
    state: Option<String>,
    /// Whether it is, or will be, cancelled by this.
    cancelled: bool,
    #[serde(skip)]
    mode: CancelMode,
}

/// Cancels each envelope; exit 1 where one is unknown.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let ids = args.ids.some("cancel")?;
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let mode = if args.now {
        CancelMode::Now
    } else {
        CancelMode::Ask
    };
    let answers = cancel(&stores, &ids, mode).await?;
    let output = &invocation.output;
    if output.is_json {
        output.json(&answers)?;
    } else {
        answers.iter().try_for_each(|answer| output.line(answer))?;
    }
    let unknown: Vec<&str> = answers
        .iter()
        .filter(|answer| answer.state.is_none())
        .map(|answer| answer.id.as_str())
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let problem = "no envelope has this id, or its record has expired";
    Err(Failure::not_found(format!("cancel {}", unknown.join(", ")), problem).into())
}

async fn cancel(stores: &Stores, ids: &[EnvelopeId], mode: CancelMode) -> Result<Vec<Answer>> {
    let cancellings = stores.queues.cancel(ids, mode).await.context("cancel")?;
    for (id, cancelling) in ids.iter().zip(&cancellings) {
        if *cancelling == Cancelling::Asked {
            // The broker has marked it durably; the broadcast only makes its worker look at once.
            let command = Command::Cancel { id: *id, mode };
            stores.control.broadcast(&command).await?;
        }
    }
    let found = lookup::look_up_all(stores, ids).await?;
    let answer =
        |((id, cancelling), found): ((&EnvelopeId, Cancelling), Option<lookup::Lookup>)| Answer {
            id: id.to_string(),
            state: found.map(|found| found.state.to_string()),
            cancelled: matches!(cancelling, Cancelling::Cancelled | Cancelling::Asked),
            mode,
        };
    Ok(ids.iter().zip(cancellings).zip(found).map(answer).collect())
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.state, self.cancelled) {
            (None, false) => write!(f, "{}: unknown", self.id),
            (Some(state), false) if state == State::Cancelled.as_str() => {
                write!(f, "{}: was cancelled already", self.id)
            }
            (Some(state), false) => write!(f, "{}: has {state} already", self.id),
            (Some(state), true) if state == State::Running.as_str() => match self.mode {
                CancelMode::Ask => {
                    let hint = "`cancel --now` ends it at once";
                    write!(f, "{}: its task was asked to stop; {hint}", self.id)
                }
                CancelMode::Now => write!(f, "{}: its worker was told to end it", self.id),
            },
            (_, true) => write!(f, "{}: cancelled", self.id),
        }
    }
}
