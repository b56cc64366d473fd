//! `dlq`: list, show, replay and purge dead letters (B10).

mod local;
mod selection;
mod show;

use std::path::PathBuf;

use anyhow::Result;
use comfy_table::Cell;
use stem_core::clock::Timestamp;
use stem_core::dead_letters::{DeadLetter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::stores::Stores;

use crate::arguments::OneId;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::output::{Columns, Output, ago, harmless};
use crate::progress;
use crate::stores::Lifetime;
use crate::terminal::Consent;
use crate::views::DeadLetterView;

use selection::{Filter, Paging, Selection};

/// Dead letters that are replayed or removed in one step.
const CHUNK: usize = 500;
const DEFAULT_PAGE: usize = 50;

/// What to do with dead letters
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Dead letters, newest first
    List(ListArgs),
    /// One dead letter: its envelope, its error, its attempts
    Show(OneId),
    /// Put dead letters back into their queues, oldest first; attempts start again
    Replay(ReplayArgs),
    /// Remove dead letters for ever
    Purge(PurgeArgs),
}

/// Which part of which list
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    paging: Paging,
}

/// Which dead letters, and how sure that is
#[derive(Debug, clap::Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    consent: Consent,
}

/// Which dead letters go back, or which one is run here
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    which: ChangeArgs,
    /// Run one here, on its own module version: nothing is written or charged, and it stays where it is
    #[arg(long, conflicts_with_all = ["yes", "dry_run"])]
    local: bool,
    /// Write the result to a file
    #[arg(long, value_name = "FILE", requires = "local")]
    output: Option<PathBuf>,
}

/// Which dead letters are lost for ever, and how sure that is
#[derive(Debug, clap::Args)]
pub struct PurgeArgs {
    /// Every dead letter there is
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: ChangeArgs,
}

/// Looks after dead letters.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let output = &invocation.output;
    match verb {
        Verb::List(args) => list(&args, &stores, output).await,
        Verb::Show(id) => show::run(id.get(), &stores, output).await,
        Verb::Replay(args) if args.local => {
            let id = args.which.selection.one("replay")?;
            local::run(id, args.output.as_deref(), &stores, invocation).await
        }
        Verb::Replay(args) => change(Change::Replay, &args.which, &stores, output).await,
        Verb::Purge(args) => {
            args.check()?;
            change(Change::Purge, &args.which, &stores, output).await
        }
    }
}

impl PurgeArgs {
    /// A filter that was forgotten must not cost every dead letter.
    fn check(&self) -> Result<()> {
        let is_everything = self.which.selection.is_everything();
        let is_meant = self.all || self.which.consent.dry_run;
        let problem = match (self.all, is_everything) {
            (true, false) => "--all excludes ids and filters",
            (false, true) if !is_meant => "no ID and no filter is given",
            _ => return Ok(()),
        };
        Err(Failure::usage("purge dead letters", problem)
            .hint("--all means every dead letter; --dry-run counts them")
            .into())
    }
}

async fn list(args: &ListArgs, stores: &Stores, output: &Output) -> Result<()> {
    let page = Page {
        after: args.paging.cursor,
        limit: args.paging.limit.unwrap_or(DEFAULT_PAGE),
        is_oldest_first: false,
    };
    args.paging.check(stores, "list").await?;
    let now = stores.clock.now();
    let letters = stores
        .dead_letters
        .list_heads(&args.filter.at(now), &page)
        .await?;
    let letters: Vec<(DeadLetter, Timestamp)> = letters.into_iter().map(|one| (one, now)).collect();
    output.list(
        &letters,
        |(letter, _)| DeadLetterView::new(letter),
        &COLUMNS,
    )?;
    if let Some((last, _)) = letters.last().filter(|_| letters.len() == page.limit) {
        output.note(format!("there may be more: --cursor {}", last.id));
    }
    Ok(())
}

const COLUMNS: Columns<(DeadLetter, Timestamp)> = Columns {
    header: &["id", "task", "queue", "reason", "died", "error"],
    row,
    none: "no dead letters",
};

fn row((letter, now): &(DeadLetter, Timestamp)) -> Vec<Cell> {
    let error = letter.error.as_ref().map(|error| harmless(&error.message));
    vec![
        Cell::new(letter.id),
        Cell::new(&letter.task),
        Cell::new(&letter.queue),
        Cell::new(letter.reason.as_str()),
        Cell::new(ago(letter.dead_at, *now)),
        Cell::new(error.unwrap_or_default()),
    ]
}

/// What is done to dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Replay,
    Purge,
}

impl Change {
    fn verb(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Purge => "purge",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Purge => "purged",
        }
    }

    async fn make(self, stores: &Stores, ids: &[EnvelopeId]) -> Result<Vec<bool>> {
        Ok(match self {
            Self::Replay => stores.dead_letters.replay(ids).await?,
            Self::Purge => stores.dead_letters.remove(ids).await?,
        })
    }
}

async fn change(change: Change, args: &ChangeArgs, stores: &Stores, output: &Output) -> Result<()> {
    let ids = args.selection.ids(stores, change.verb()).await?;
    let (count, consent) = (ids.len(), args.consent);
    // Naming ids is deliberate, and a replay loses nothing: only what is chosen by filter, or lost for ever, asks.
    let asks = change == Change::Purge || !args.selection.is_by_id();
    if asks && count > 0 && !consent.dry_run {
        consent.obtain(&format!("{} {}", change.verb(), letters(count)))?;
    }
    let changed = match consent.dry_run {
        true => 0,
        false => change_all(change, &ids, stores).await?,
    };
    if output.is_json {
        return output.json(&serde_json::json!({
            "matched": count, change.done(): changed, "dry_run": consent.dry_run,
        }));
    }
    match consent.dry_run {
        true => output.line(format!("would {} {}", change.verb(), letters(count))),
        false => output.line(format!("{} {}", change.done(), letters(changed))),
    }
}

async fn change_all(change: Change, ids: &[EnvelopeId], stores: &Stores) -> Result<usize> {
    let bar = progress::bar(ids.len() as u64, change.verb());
    let mut changed = 0;
    for chunk in ids.chunks(CHUNK) {
        let were_there = change.make(stores, chunk).await?;
        changed += were_there
            .into_iter()
            .filter(|was_there| *was_there)
            .count();
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    Ok(changed)
}

fn letters(count: usize) -> String {
    match count {
        1 => "1 dead letter".to_owned(),
        _ => format!("{count} dead letters"),
    }
}
