//! `bench`: what this machine reaches, every figure with its spread, with the settings that a user has by default.

mod drain;
mod figure;
mod latency;
mod lateness;
mod memory;
mod no_guest;
mod open_loop;
mod parts;
mod promises;
mod queue;
mod rig;
mod sandbox;
mod waiting;
mod worker;

use anyhow::Result;

use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::signals::Signals;
use crate::stores::StoreUrl;

use figure::Figure;

/// What is measured, and how often
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    subject: Option<Subject>,
    #[command(flatten)]
    setup: Setup,
}

/// Fewer say nothing of a spread.
const FEWEST_RUNS: u32 = 5;

fn runs(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(runs @ FEWEST_RUNS..) => Ok(runs),
        _ => Err(format!(
            "`{text}` is no number from {FEWEST_RUNS} on: fewer runs say nothing of the spread"
        )),
    }
}

/// How every subject is measured
#[derive(Debug, Clone, clap::Args)]
pub struct Setup {
    /// Runs of each measurement
    #[arg(long, value_name = "N", global = true, default_value_t = FEWEST_RUNS, value_parser = runs)]
    pub runs: u32,
    /// The store that is measured, in a namespace of its own [default: a new SQLite file beside the store in force]
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
}

impl Setup {
    /// The store that was named. It is not read by the parser of arguments, which says a bad one again, password and all.
    pub fn store(&self) -> Result<Option<StoreUrl>> {
        let url = self.url.as_deref().map(StoreUrl::parse).transpose();
        url.map_err(|problem| Failure::usage("read --url", problem).into())
    }
}

/// One family of figures.
#[derive(Debug, clap::Subcommand)]
enum Subject {
    /// A fresh instance, one call, and its end: on one thread, on two, and part by part for guests in several languages
    Sandbox(sandbox::Args),
    /// Enqueueing in batches, and running what was enqueued with one worker process
    Queue(queue::Args),
    /// From enqueueing to the result, on an idle worker
    Latency(latency::Args),
    /// From enqueueing to the result while so many a second are enqueued, whether others have ended or not
    OpenLoop(open_loop::Args),
    /// What a claim costs while few envelopes wait and while a million do, and what the store takes for each
    Waiting(waiting::Args),
    /// What a worker takes while a thousand attempts sleep, and after a million that have ended
    Memory(memory::Args),
    /// Every promise that names a time
    Promises(promises::Args),
    /// The worker whose guest is replaced
    #[command(hide = true)]
    Worker(super::worker::StartArgs),
}

/// Measures one subject, or all of them.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    if let Some(Subject::Worker(args)) = args.subject {
        return no_guest::work(args, invocation).await;
    }
    let mut signals = Signals::catch()?;
    // An interrupted measurement takes its workers and its store with it.
    let figures = tokio::select! {
        figures = Box::pin(measure(args, invocation)) => figures?,
        () = signals.next() => return Err(Failure::not_found("bench", "interrupted").into()),
    };
    figure::print(&figures, &invocation.output)
}

async fn measure(args: Args, invocation: &Invocation) -> Result<Vec<Figure>> {
    let setup = &args.setup;
    match args.subject {
        Some(Subject::Sandbox(args)) => sandbox::run(&args, setup, &invocation.output).await,
        Some(Subject::Queue(args)) => queue::run(&args, setup, invocation).await,
        Some(Subject::Latency(args)) => latency::run(&args, setup, invocation).await,
        Some(Subject::OpenLoop(args)) => open_loop::run(&args, setup, invocation).await,
        Some(Subject::Waiting(args)) => waiting::run(&args, setup, invocation).await,
        Some(Subject::Memory(args)) => memory::run(&args, setup, invocation).await,
        Some(Subject::Promises(args)) => promises::run(&args, setup, invocation).await,
        Some(Subject::Worker(_)) | None => all(setup, invocation).await,
    }
}

async fn all(setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let mut figures = sandbox::run(&sandbox::Args::default(), setup, &invocation.output).await?;
    figures.extend(queue::run(&queue::Args::default(), setup, invocation).await?);
    figures.extend(latency::run(&latency::Args::default(), setup, invocation).await?);
    figures.extend(open_loop::run(&open_loop::Args::default(), setup, invocation).await?);
    figures.extend(waiting::run(&waiting::Args::default(), setup, invocation).await?);
    figures.extend(memory::run(&memory::Args::default(), setup, invocation).await?);
    figures.extend(promises::run(&promises::Args::default(), setup, invocation).await?);
    Ok(figures)
}
