//! `worker start`: the worker with its stores and its sandbox, until a signal ends it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use stem_core::names::{QueueName, WorkerName};
use stem_core::stores::Stores;
use stem_worker::{Options, Shutdown, Summary, Worker};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::identity::{host_name, new_name};
use crate::invocation::Invocation;
use crate::sandbox::Engine;
use crate::signals::Signals;
use crate::stores::Lifetime;

/// Which queues, and how much at once
#[derive(Debug, Clone, clap::Args)]
pub struct StartArgs {
    /// A queue to take from [default: the default queue, and those that deployed tasks name]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<QueueName>,
    /// How many attempts run at once [default: 32 for each core]
    #[arg(long, value_name = "N", value_parser = slots)]
    concurrency: Option<usize>,
    /// The worker's name: unique for each start [default: made from host and process]
    #[arg(long)]
    name: Option<WorkerName>,
}

/// Runs a worker until it is told to stop.
pub async fn run(args: StartArgs, invocation: &Invocation) -> Result<()> {
    let signals = Signals::catch()?;
    let stores = invocation.open_stores(Lifetime::Shared).await?;
    let options = args.options(&stores, invocation).await?;
    let engine = Engine::for_worker(options.slots, Arc::clone(&stores.clock))?;
    let executor = engine.executor(&stores).await?;
    let worker =
        Worker::new(stores, executor, options.clone()).context("start the worker's threads")?;
    announce(&options);
    let (sender, receiver) = watch::channel(Shutdown::No);
    let mut listening = JoinSet::new();
    listening.spawn(signals.pass_on(sender));
    let summary = worker.run(receiver).await?;
    farewell(&options, summary);
    Ok(())
}

impl StartArgs {
    async fn options(&self, stores: &Stores, invocation: &Invocation) -> Result<Options> {
        let name = self.name.clone().unwrap_or_else(new_name);
        let queues = match self.queues.is_empty() {
            true => queues_of(stores, &invocation.config.default_queue).await?,
            false => self.queues.clone(),
        };
        let mut options = Options::new(name, host_name(), queues);
        options.payload_limit = invocation.config.payload_limit;
        if let Some(slots) = self.concurrency {
            options.slots = slots;
        }
        Ok(options)
    }
}

/// The default queue, and every queue that an active task names.
pub async fn queues_of(stores: &Stores, default: &QueueName) -> Result<Vec<QueueName>> {
    let deployments = stores.modules.deployments().await?;
    let named: BTreeSet<QueueName> = deployments
        .into_iter()
        .filter(|deployment| deployment.is_active)
        .flat_map(|deployment| deployment.tasks)
        .filter_map(|task| task.policy.queue)
        .filter(|queue| queue != default)
        .collect();
    Ok(std::iter::once(default.clone()).chain(named).collect())
}

fn announce(options: &Options) {
    let queues: Vec<&str> = options.queues.iter().map(QueueName::as_str).collect();
    let _ = writeln!(
        std::io::stderr().lock(),
        "worker {} ready: {} slots, queues {}",
        options.name,
        options.slots,
        queues.join(", ")
    );
}

fn farewell(options: &Options, summary: Summary) {
    let _ = writeln!(
        std::io::stderr().lock(),
        "worker {} stopped: {} attempts succeeded, {} failed",
        options.name,
        summary.succeeded,
        summary.failed
    );
}

fn slots(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(slots @ 1..=100_000) => Ok(slots),
        _ => Err(format!("`{text}` is no number from 1 to 100000")),
    }
}
