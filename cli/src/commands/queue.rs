//! `queue`: list, show, pause, resume, purge.

use std::collections::BTreeSet;

use anyhow::Result;
use comfy_table::Cell;
use stem_core::names::{QueueName, nearest};
use stem_core::queues::{CancelMode, Cancelling, QueueStatus};
use stem_core::stores::Stores;

use crate::arguments::OneQueue;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::output::{Columns, Output, alarm_cell};
use crate::progress;
use crate::stores::Lifetime;
use crate::terminal::Consent;

/// Envelopes that are cancelled in one step.
const CHUNK: usize = 500;

/// What to do with queues
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Every queue that holds something or is paused
    List,
    /// One queue
    Show(OneQueue),
    /// Let nothing more start from a queue
    Pause(OneQueue),
    /// Let it go on
    Resume(OneQueue),
    /// Cancel everything that waits in a queue
    Purge(PurgeArgs),
}

/// Which queue is purged, and how sure that is
#[derive(Debug, clap::Args)]
pub struct PurgeArgs {
    #[command(flatten)]
    queue: OneQueue,
    #[command(flatten)]
    consent: Consent,
}

/// Looks after queues.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    // A queue may be paused before anything lies in it.
    let lifetime = match verb {
        Verb::Pause(_) => Lifetime::Shared,
        Verb::List | Verb::Show(_) | Verb::Resume(_) | Verb::Purge(_) => Lifetime::Existing,
    };
    let stores = invocation.open_stores(lifetime).await?;
    let desk = Desk {
        stores: &stores,
        invocation,
    };
    match verb {
        Verb::List => list(&stores, &invocation.output).await,
        Verb::Show(queue) => desk.show(&queue.get()).await,
        Verb::Pause(queue) => desk.set_paused(&queue.get(), true).await,
        Verb::Resume(queue) => desk.set_paused(&queue.get(), false).await,
        Verb::Purge(args) => desk.purge(&args.queue.get(), args.consent).await,
    }
}

struct Desk<'a> {
    stores: &'a Stores,
    invocation: &'a Invocation,
}

async fn list(stores: &Stores, output: &Output) -> Result<()> {
    let queues = stores.queues.queues().await?;
    let columns = Columns {
        header: &HEADER,
        row,
        none: "no queue holds anything",
    };
    output.list(&queues, QueueStatus::clone, &columns)
}

const HEADER: [&str; 6] = ["queue", "paused", "queued", "scheduled", "running", "dead"];

fn row(queue: &QueueStatus) -> Vec<Cell> {
    vec![
        Cell::new(&queue.name),
        alarm_cell(if queue.is_paused { "paused" } else { "" }, true),
        Cell::new(queue.queued),
        Cell::new(queue.scheduled),
        Cell::new(queue.running),
        alarm_cell(queue.dead, queue.dead > 0),
    ]
}

impl Desk<'_> {
    async fn show(&self, name: &QueueName) -> Result<()> {
        let queue = self.find(name, "show").await?;
        let output = &self.invocation.output;
        if output.is_json {
            return output.json(&queue);
        }
        output.details(HEADER.into_iter().zip(row(&queue)))
    }

    async fn set_paused(&self, name: &QueueName, is_paused: bool) -> Result<()> {
        let output = &self.invocation.output;
        if !is_paused {
            // A queue may be paused before anything lies in it; resuming one that nobody knows is a slip.
            self.find(name, "resume").await?;
        }
        self.stores.queues.set_paused(name, is_paused).await?;
        if output.is_json {
            return output.json(&serde_json::json!({"queue": name, "paused": is_paused}));
        }
        let verb = if is_paused { "paused" } else { "resumed" };
        output.line(format!("{verb} `{name}`"))
    }

    async fn purge(&self, name: &QueueName, consent: Consent) -> Result<()> {
        let queue = self.find(name, "purge").await?;
        let waiting = queue.queued + queue.scheduled;
        if !consent.dry_run && waiting > 0 {
            consent.obtain(&format!(
                "cancel the {waiting} envelopes that wait in `{name}`"
            ))?;
        }
        let cancelled = match consent.dry_run {
            true => 0,
            false => self.cancel_waiting(name, waiting).await?,
        };
        let output = &self.invocation.output;
        if output.is_json {
            return output.json(&serde_json::json!({
                "queue": name, "waiting": waiting, "cancelled": cancelled, "dry_run": consent.dry_run,
            }));
        }
        match consent.dry_run {
            true => output.line(format!("would cancel {waiting} envelopes of `{name}`")),
            false => output.line(format!("cancelled {cancelled} envelopes of `{name}`")),
        }
    }

    /// Cancels chunk by chunk, and no more than waited at the start: what producers add meanwhile stays.
    async fn cancel_waiting(&self, name: &QueueName, waiting: u64) -> Result<u64> {
        let bar = progress::bar(waiting, "cancelling");
        let (mut cancelled, mut seen) = (0, 0);
        while seen < waiting {
            let chunk = CHUNK.min(usize::try_from(waiting - seen).unwrap_or(CHUNK));
            let ids = self.stores.queues.waiting(name, chunk).await?;
            if ids.is_empty() {
                break;
            }
            let ended = self.stores.queues.cancel(&ids, CancelMode::Ask).await?;
            cancelled += ended
                .iter()
                .filter(|ended| **ended == Cancelling::Cancelled)
                .count() as u64;
            seen += ids.len() as u64;
            bar.set_position(seen);
        }
        bar.finish_and_clear();
        Ok(cancelled)
    }

    /// The queue's counts: zeros where a task, a worker or the configuration names it and nothing lies in it.
    async fn find(&self, name: &QueueName, verb: &str) -> Result<QueueStatus> {
        let queues = self.stores.queues.queues().await?;
        if let Some(found) = queues.iter().find(|queue| queue.name == *name) {
            return Ok(found.clone());
        }
        let mut known: BTreeSet<QueueName> = queues.into_iter().map(|queue| queue.name).collect();
        known.extend(self.named_elsewhere().await?);
        if known.contains(name) {
            return Ok(QueueStatus {
                name: name.clone(),
                is_paused: false,
                queued: 0,
                scheduled: 0,
                running: 0,
                dead: 0,
            });
        }
        let near = nearest(name.as_str(), known.iter().map(QueueName::as_str));
        let hint = near.map(|near| format!("; did you mean `{near}`?"));
        let problem = format!(
            "no queue named `{name}` holds anything{}",
            hint.unwrap_or_default()
        );
        Err(Failure::not_found(format!("{verb} `{name}`"), problem).into())
    }

    async fn named_elsewhere(&self) -> Result<Vec<QueueName>> {
        let mut names = vec![self.invocation.config.default_queue.clone()];
        for deployment in self.stores.modules.deployments().await? {
            names.extend(
                deployment
                    .tasks
                    .into_iter()
                    .filter_map(|task| task.policy.queue),
            );
        }
        for worker in self.stores.control.workers().await? {
            names.extend(worker.heartbeat.queues);
        }
        Ok(names)
    }
}
