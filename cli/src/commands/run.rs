//! `run`: one attempt of a task here, with no store and no worker: for trying a module, and for finding out why it
//! fails.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use stem_core::client;
use stem_core::clock::{Clock, SystemClock};
use stem_core::envelope::Envelope;
use stem_core::grants::Grants;
use stem_core::module_store::DeployedTask;
use stem_core::names::{HeaderName, TaskName, nearest};
use stem_core::payload::{Payload, StoredPayload};

use super::enqueue::payload::{self, Given};
use super::grants::GrantFlags;
use super::limits::Limits;
use crate::arguments;
use crate::config::Config;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::local::{Attempt, Checkpoint, Place, Plans};
use crate::module_file;
use crate::output::Output;
use crate::progress;
use crate::sandbox::Engine;

/// Which task of which module, and with what
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component that the build made
    file: PathBuf,
    /// The task that is to be run [default: the module's only one]
    task: Option<TaskName>,
    #[command(flatten)]
    given: Given,
    /// Something that goes with it
    #[arg(long = "header", value_name = "K=V", value_parser = arguments::header)]
    headers: Vec<(HeaderName, String)>,
    /// Which attempt it is
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    attempt: u32,
    /// Attempts in all [default: the task's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    max_attempts: Option<u32>,
    /// Where the task finds its checkpoint, and leaves it for the next attempt
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The tasks' policy [default: stem.toml beside the file, or above its target folder]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    grants: GrantFlags,
    /// It is a command (`wasi:cli/run`), and TASK is what it is to be called [default: stem.toml's, or the file's name]
    #[arg(long = "command")]
    is_command: bool,
    /// Run without asking whether the payload fits the task
    #[arg(long)]
    unchecked: bool,
    /// Write the result to a file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs what the arguments say.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let output = &invocation.output;
    let clock = SystemClock::shared();
    let engine = Engine::for_attempts(&clock, &invocation.config)?;
    let module = module_file::read(&args.file)?;
    let (task, grants) = args.inspect(&module, &engine, output).await?;
    let attempted = format!("run `{}`", task.name);
    let attempt = args.attempt(&task, &invocation.config, &clock)?;
    let program = engine.program(&module, (task, &grants), &attempted).await?;
    let told = attempt.run(&*program, &clock, output).await?;
    told.tell(&attempted, args.output.as_deref(), output)
}

impl Args {
    /// The task that is meant, after the checks that deploying makes.
    async fn inspect(
        &self,
        module: &Bytes,
        engine: &Engine,
        output: &Output,
    ) -> Result<(DeployedTask, Grants)> {
        let attempted = format!("run `{}`", self.file.display());
        let flags = ("run", self.limits.settings());
        let mut policy = module_file::policy(&self.file, self.policy.as_deref(), flags)?;
        policy.overrides.grant(self.grants.grants()?);
        if self.is_command {
            let task = match policy.overrides.command_task() {
                Some(_) => self.task.clone(),
                None => Some(self.command_name()?),
            };
            policy.overrides.make_command(task);
        }
        let spinner = progress::spinner("checking the module");
        let inspected = engine.inspect(module, &policy.overrides, &attempted).await;
        spinner.finish_and_clear();
        let inspected = inspected?;
        policy.warn(&inspected, output);
        let grants = inspected.grants;
        Ok((self.choose(inspected.tasks, &attempted)?, grants))
    }

    fn command_name(&self) -> Result<TaskName> {
        if let Some(task) = &self.task {
            return Ok(task.clone());
        }
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy());
        TaskName::new(stem.unwrap_or_default().as_ref()).map_err(|error| {
            Failure::usage(format!("run `{}`", self.file.display()), error)
                .hint("name the command after the file")
                .into()
        })
    }

    /// The attempt of an envelope that is made for it.
    fn attempt(
        &self,
        task: &DeployedTask,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Attempt> {
        let attempted = format!("run `{}`", task.name);
        let limit = config.payload_limit;
        let payload = self.given.read(limit)?;
        self.check(task, &payload, &attempted)?;
        let queue = task.policy.queue.as_ref().unwrap_or(&config.default_queue);
        let stored = StoredPayload::pack(payload.clone());
        let mut envelope = Envelope::new(task.name.clone(), queue.clone(), stored, clock.now());
        envelope.max_attempts = self.max_attempts;
        envelope.headers = self.headers.iter().cloned().collect();
        let encoded = envelope.encode(limit);
        encoded.map_err(|error| Failure::refused(attempted, error))?;
        Ok(Attempt {
            plans: Plans::new(&envelope, None, (config, clock))?,
            envelope,
            payload,
            place: Place {
                number: self.attempt,
                delivery: self.attempt,
            },
            checkpoint: match &self.checkpoint {
                Some(file) => Checkpoint::in_file(file.clone())?,
                None => Checkpoint::default(),
            },
            limit,
        })
    }

    /// The task that is meant.
    fn choose(&self, tasks: Vec<DeployedTask>, attempted: &str) -> Result<DeployedTask> {
        let names: Vec<String> = tasks.iter().map(|task| task.name.to_string()).collect();
        let listed = names.join(", ");
        let Some(wanted) = &self.task else {
            let [only] = <[DeployedTask; 1]>::try_from(tasks).map_err(|_| {
                let problem = format!("it has more than one task: name one of {listed}");
                Failure::usage(attempted, problem)
            })?;
            return Ok(only);
        };
        let mut named = tasks.into_iter().filter(|task| task.name == *wanted);
        named.next().ok_or_else(|| {
            let hint = match nearest(wanted.as_str(), names.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!(": it has {listed}"),
            };
            let problem = format!("it has no task named `{wanted}`{hint}");
            Failure::not_found(attempted, problem).into()
        })
    }

    /// What enqueueing and a worker would refuse (E6).
    fn check(&self, task: &DeployedTask, payload: &Payload, attempted: &str) -> Result<()> {
        let max_attempts = self.max_attempts.unwrap_or(task.policy.max_attempts);
        if self.attempt > max_attempts {
            let problem = format!("attempt {} of {max_attempts} never comes", self.attempt);
            return Err(Failure::usage(attempted, problem)
                .hint("--max-attempts says how many there are")
                .into());
        }
        if self.unchecked {
            return Ok(());
        }
        payload::check(payload, attempted)?;
        client::check(task, payload).map_err(|error| {
            let file = self.file.display();
            let refused = Failure::refused(attempted, error);
            let hint = format!("see what it takes with `stem-host deploy {file} --dry-run --verbose --json`; --unchecked runs it all the same");
            refused.hint(hint).into()
        })
    }
}
