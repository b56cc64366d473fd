//! `stem-host`: deploy, enqueue, run and watch sandboxed background tasks.
//!
//! The composition root: the only crate that names stores, sandbox and worker together. This file is its table of
//! contents.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod config;
mod deployed;
mod errors;
mod guarded_file;
mod invocation;
mod keys;
mod local;
mod logging;
mod module_file;
mod output;
mod progress;
mod sandbox;
mod secrets;
mod signals;
mod stores;
mod terminal;
mod views;
mod waiting;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use commands::worker::Verb;
use config::{Environment, Flags};
use invocation::Invocation;
use output::Output;

/// Deploy, enqueue, run and watch background tasks, each in a WebAssembly sandbox of its own
#[derive(Debug, Parser)]
#[command(
    name = "stem-host",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct CommandLine {
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a task project that builds, tests and deploys as it is
    New(commands::new::Args),
    /// Everything in one process: deploys, runs, and starts again when the source changes
    Dev(commands::dev::Args),
    /// Check a module, and make it active for its tasks
    Deploy(Box<commands::deploy::Args>),
    /// Run one attempt of a task here, with no store and no worker
    Run(Box<commands::run::Args>),
    /// Run a task: prints its id, or with --wait its result
    Enqueue(Box<commands::enqueue::Args>),
    /// Show what an envelope is doing: state, result, error, attempts
    Result(commands::result::Args),
    /// End envelopes wherever they are
    Cancel(commands::cancel::Args),
    /// What is deployed
    #[command(subcommand)]
    Module(commands::module::Verb),
    /// What can be enqueued
    #[command(subcommand)]
    Task(commands::task::Verb),
    /// Run a worker, or see all of them
    #[command(subcommand)]
    Worker(commands::worker::Verb),
    /// Look after queues
    #[command(subcommand)]
    Queue(commands::queue::Verb),
    /// Look after dead letters
    #[command(subcommand)]
    Dlq(commands::dlq::Verb),
    /// Look at what goes on
    #[command(subcommand)]
    Observe(commands::observe::Verb),
    /// Look after what tasks keep in buckets
    #[command(subcommand)]
    Bucket(commands::bucket::Verb),
    /// Make and check the keys that sign modules
    #[command(subcommand)]
    Keys(commands::keys::Verb),
    /// Where the stores are, and what they promise
    #[command(subcommand)]
    Store(commands::store::Verb),
    /// Measure what this machine reaches
    Bench(commands::bench::Args),
    /// Print a script that completes commands and flags in a shell
    Completions(commands::completions::Args),
}

fn main() -> ExitCode {
    // The sandbox starts this program again for every module that is to be compiled (S5).
    if let Some(code) = sandbox::compile_module(std::env::args_os()) {
        return code;
    }
    let matches = CommandLine::command().get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match start(line, matches.subcommand_name().unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::report(&error),
    }
}

fn start(line: CommandLine, command: &str) -> Result<()> {
    let environment = Environment::read();
    let output = Output::new(line.json, environment.allows_color());
    // What needs no settings must not stumble over bad ones.
    if let Command::New(args) = &line.command {
        return commands::new::run(args, &output);
    }
    if let Command::Completions(args) = &line.command {
        return commands::completions::run(args, &output);
    }
    let invocation = Invocation::new(&line.flags, &environment, output)?.named(command);
    let level = invocation.config.log_level.as_deref();
    logging::start(
        level,
        line.command.default_log_level(),
        environment.allows_color(),
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let done = runtime.block_on(Box::pin(line.command.run(&invocation)));
    // What still reads a signal or a terminal must not hold up the end.
    runtime.shutdown_background();
    done
}

impl Command {
    async fn run(self, invocation: &Invocation) -> Result<()> {
        match self {
            Self::Dev(args) => commands::dev::run(args, invocation).await,
            Self::Deploy(args) => commands::deploy::run(*args, invocation).await,
            Self::Run(args) => commands::run::run(*args, invocation).await,
            Self::Enqueue(args) => commands::enqueue::run(*args, invocation).await,
            Self::Result(args) => commands::result::run(args, invocation).await,
            Self::Cancel(args) => commands::cancel::run(args, invocation).await,
            Self::Module(verb) => commands::module::run(verb, invocation).await,
            Self::Task(verb) => commands::task::run(verb, invocation).await,
            Self::Worker(verb) => commands::worker::run(verb, invocation).await,
            Self::Queue(verb) => commands::queue::run(verb, invocation).await,
            Self::Dlq(verb) => commands::dlq::run(verb, invocation).await,
            Self::Observe(verb) => commands::observe::run(verb, invocation).await,
            Self::Bucket(verb) => commands::bucket::run(verb, invocation).await,
            Self::Keys(verb) => commands::keys::run(verb, invocation),
            Self::Store(verb) => commands::store::run(verb, invocation).await,
            Self::Bench(args) => commands::bench::run(args, invocation).await,
            Self::New(args) => commands::new::run(&args, &invocation.output),
            Self::Completions(args) => commands::completions::run(&args, &invocation.output),
        }
    }

    /// A worker tells what it does; other commands speak up only where something is odd.
    fn default_log_level(&self) -> &'static str {
        let is_worker = matches!(self, Self::Dev(_) | Self::Worker(Verb::Start(_)));
        if is_worker { "info" } else { "warn" }
    }
}
