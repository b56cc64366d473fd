//! `worker start`: the worker with its stores and its sandbox, until a signal ends it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use stem_core::executor::Executor;
use stem_core::names::{QueueName, WorkerName};
use stem_core::stores::Stores;
use stem_core::units::format_duration;
use stem_worker::{Options, Shutdown, Summary, Worker};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::identity::{host_name, new_name};
use crate::arguments;
use crate::invocation::Invocation;
use crate::keys::SigningSettings;
use crate::sandbox::Engine;
use crate::signals::Signals;
use crate::stores::Lifetime;

/// Shorter ones end while they are on their way to be renewed.
const SHORTEST_LEASE: Duration = Duration::from_millis(300);

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
    /// How long a lost worker's envelopes wait for another one [default: 15s]
    #[arg(long, value_parser = lease)]
    lease: Option<Duration>,
    /// Workers lost in a row before an envelope is set aside as poison [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_deliveries: Option<u32>,
    /// How long tasks may take to wind up when the worker is told to stop [default: 30s]
    #[arg(long, value_parser = arguments::duration)]
    grace: Option<Duration>,
    /// Refuse modules that are not signed, and to start without a key to verify them with
    #[arg(long)]
    require_signed_modules: bool,
}

/// Runs a worker until it is told to stop.
pub async fn run(mut args: StartArgs, invocation: &Invocation) -> Result<()> {
    let signals = Signals::catch()?;
    let name = args.name().clone();
    let stores = invocation.open_stores_for(&name, Lifetime::Shared).await?;
    let options = args.options(&stores, invocation).await?;
    let engine = Engine::for_worker(options.slots, &stores.clock, &invocation.config)?;
    let sandbox = format!("sandbox: {}", engine.settings());
    invocation.output.note(sandbox);
    invocation.output.note(place(invocation));
    let signatures = args.signing(invocation).policy()?;
    let executor = engine.executor(&stores, signatures).await?;
    work(stores, executor, options, signals).await
}

/// Works with this executor until a signal comes.
pub async fn work(
    stores: Stores,
    executor: Arc<dyn Executor>,
    options: Options,
    signals: Signals,
) -> Result<()> {
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
    /// The worker's name: the given one, or a new one that it keeps.
    pub fn name(&mut self) -> &WorkerName {
        self.name.get_or_insert_with(new_name)
    }

    /// Where keys are, and what is asked of the signatures of modules.
    pub fn signing(&self, invocation: &Invocation) -> SigningSettings {
        let mut settings = invocation.config.signing.clone();
        if self.require_signed_modules {
            settings.is_required = Some(true);
        }
        settings
    }

    /// What the arguments say, and the defaults where they say nothing.
    pub async fn options(&self, stores: &Stores, invocation: &Invocation) -> Result<Options> {
        let queues = match self.queues.is_empty() {
            true => queues_of(stores, &invocation.config.default_queue).await?,
            false => self.queues.clone(),
        };
        let mut options = new_options(queues);
        options.name = self.name.clone().unwrap_or(options.name);
        options.payload_limit = invocation.config.payload_limit;
        options
            .default_queue
            .clone_from(&invocation.config.default_queue);
        options.slots = self.concurrency.unwrap_or(options.slots);
        options.lease = self.lease.unwrap_or(options.lease);
        options.max_deliveries = self.max_deliveries.unwrap_or(options.max_deliveries);
        options.grace = self.grace.unwrap_or(options.grace);
        Ok(options)
    }
}

/// A worker of this process with the defaults.
pub fn new_options(queues: Vec<QueueName>) -> Options {
    Options::new(new_name(), host_name(), queues)
}

/// The default queue, and every queue that an active task names.
async fn queues_of(stores: &Stores, default: &QueueName) -> Result<Vec<QueueName>> {
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

/// Which stores it works on.
fn place(invocation: &Invocation) -> String {
    let (place, config) = (invocation.place(), &invocation.config);
    match config.results == config.broker {
        true => format!("store: {place}"),
        false => format!("stores: {place}, results in {}", config.results),
    }
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

fn lease(text: &str) -> Result<Duration, String> {
    match arguments::duration(text) {
        Ok(lease) if lease < SHORTEST_LEASE => Err(format!(
            "a lease is {} at least: it is renewed every third of it",
            format_duration(SHORTEST_LEASE)
        )),
        other => other.map_err(|error| error.to_string()),
    }
}

fn slots(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(slots @ 1..=100_000) => Ok(slots),
        _ => Err(format!("`{text}` is no number from 1 to 100000")),
    }
}
