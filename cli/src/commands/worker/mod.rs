//! `worker`: start one here, list all of them.

mod identity;
mod start;

use anyhow::Result;
use comfy_table::Cell;
use stem_core::clock::Timestamp;
use stem_core::control::WorkerStatus;

use crate::invocation::Invocation;
use crate::output::{Columns, ago, alarm_cell, size};
use crate::stores::Lifetime;
use crate::views::{WorkerView, running};

pub use start::{StartArgs, new_options, work};

/// What to do with workers
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Run tasks until SIGINT or SIGTERM
    Start(StartArgs),
    /// Every worker that was seen within the last hour
    List,
}

/// Starts or lists workers.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    match verb {
        Verb::Start(args) => start::run(args, invocation).await,
        Verb::List => list(invocation).await,
    }
}

async fn list(invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let workers = stores.control.workers().await?;
    let output = &invocation.output;
    let columns = Columns {
        header: &[
            "worker",
            "host",
            "process",
            "version",
            "queues",
            "slots",
            "running",
            "succeeded",
            "failed",
            "memory",
            "seen",
        ],
        row,
        none: "no worker was seen",
    };
    let now = stores.clock.now();
    let seen: Vec<(WorkerStatus, Timestamp)> = workers.into_iter().map(|one| (one, now)).collect();
    output.list(&seen, |(worker, _)| WorkerView::new(worker), &columns)
}

fn row((worker, now): &(WorkerStatus, Timestamp)) -> Vec<Cell> {
    let beat = &worker.heartbeat;
    let queues: Vec<&str> = beat.queues.iter().map(|queue| queue.as_str()).collect();
    let seen = match worker.is_dead {
        true => format!("dead, {}", ago(worker.seen_at, *now)),
        false => ago(worker.seen_at, *now),
    };
    vec![
        Cell::new(&beat.worker),
        Cell::new(&beat.host),
        Cell::new(beat.process),
        Cell::new(&beat.version),
        Cell::new(queues.join(", ")),
        Cell::new(beat.slots),
        Cell::new(running(worker)),
        Cell::new(beat.succeeded),
        Cell::new(beat.failed),
        Cell::new(size(beat.memory_bytes)),
        alarm_cell(seen, worker.is_dead),
    ]
}
