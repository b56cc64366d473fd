//! The worker that is measured: a process of its own, started as a user starts it; a part of this process only where
//! the store is this process's memory.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use stem_core::manifest::SignaturePolicy;
use stem_worker::{Options, Shutdown, Worker};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::drain;
use super::no_guest::NoGuest;
use super::rig::Rig;
use crate::commands::worker::new_options;
use crate::config::NO_CACHE;
use crate::sandbox::Engine;
use crate::stores::StoreUrl;

/// What runs the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Guest {
    /// The built-in guest in its sandbox
    #[default]
    Sandbox,
    /// Nothing: a no-op in the worker's own process takes the guest's place
    None,
}

impl Guest {
    /// The word that figures say.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::None => "none",
        }
    }
}

/// A running worker; it ends with this value.
pub enum BenchWorker {
    /// A process.
    Process {
        /// The process.
        child: Child,
        /// What it writes is read, or it would wait for a reader in the end.
        _reading: JoinSet<()>,
    },
    /// A part of this process.
    Here {
        /// Tells it to stop.
        shutdown: watch::Sender<Shutdown>,
        /// The worker.
        running: JoinSet<()>,
    },
}

impl BenchWorker {
    /// Starts a worker with a user's settings, and returns when it is ready.
    pub async fn start(rig: &Rig, guest: Guest) -> Result<Self> {
        match rig.config.broker {
            StoreUrl::Memory => Self::start_here(rig, guest).await,
            StoreUrl::Sqlite { .. } | StoreUrl::Redis(_) => {
                Self::start_process(command(rig, guest)?).await
            }
        }
    }

    /// Starts a process that runs so many attempts at once, whatever the cores.
    pub async fn with_slots(rig: &Rig, slots: usize) -> Result<Self> {
        let mut command = command(rig, Guest::Sandbox)?;
        command.args(["--concurrency", &slots.to_string()]);
        Self::start_process(command).await
    }

    async fn start_process(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().context("start a worker")?;
        let stderr = child.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        drain::bounded(until_ready(&mut lines)).await?;
        let mut reading = JoinSet::new();
        reading.spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self::Process {
            child,
            _reading: reading,
        })
    }

    async fn start_here(rig: &Rig, guest: Guest) -> Result<Self> {
        let options: Options = new_options(vec![rig.queue().clone()]);
        let stores = rig.stores.clone();
        let executor = match guest {
            Guest::None => Arc::new(NoGuest::default()),
            Guest::Sandbox => {
                let engine = Engine::for_worker(options.slots, &stores.clock, &rig.config)?;
                engine.executor(&stores, SignaturePolicy::default()).await?
            }
        };
        let worker = Worker::new(stores, executor, options)?;
        let (shutdown, told) = watch::channel(Shutdown::No);
        let mut running = JoinSet::new();
        running.spawn(async move {
            if let Err(error) = worker.run(told).await {
                tracing::error!(%error, "the worker has failed");
            }
        });
        Ok(Self::Here { shutdown, running })
    }

    /// Ends it in order.
    pub async fn stop(self) -> Result<()> {
        match self {
            Self::Process { mut child, .. } => {
                if let Some(process) = process_of(&child) {
                    kill_process(process, Signal::TERM).context("stop the worker")?;
                }
                drain::bounded(child.wait())
                    .await
                    .context("wait for the worker's end")?;
            }
            Self::Here {
                shutdown,
                mut running,
            } => {
                shutdown.send_replace(Shutdown::Graceful);
                drain::bounded(async { anyhow::Ok(running.join_next().await) }).await?;
            }
        }
        Ok(())
    }

    /// Its resident memory in MiB, as the system counts it.
    pub fn resident(&self) -> Result<f64> {
        let process = match self {
            Self::Process { child, .. } => child.id().context("the worker has ended")?,
            Self::Here { .. } => std::process::id(),
        };
        let file = format!("/proc/{process}/status");
        let status = std::fs::read_to_string(&file)
            .context("read how much memory a worker takes, which only Linux tells")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("`{file}` has no VmRSS"))? / 1024.0)
    }

    /// `kill -9`; nothing where the worker is a part of this process.
    pub async fn kill(self) -> Result<()> {
        match self {
            Self::Process { mut child, .. } => child.kill().await.context("kill the worker"),
            Self::Here { .. } => Ok(()),
        }
    }
}

fn process_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

fn command(rig: &Rig, guest: Guest) -> Result<Command> {
    let program = std::env::current_exe().context("find this program")?;
    let verb = match guest {
        Guest::Sandbox => ["worker", "start"],
        Guest::None => ["bench", "worker"],
    };
    let url = rig.config.broker.reveal();
    let file = rig.config.file.iter();
    let cache = rig.config.cache.as_ref().map(|cache| &cache.folder);
    let mut command = Command::new(program);
    command
        .args(verb)
        .args(file.flat_map(|file| ["--config".as_ref(), file.as_os_str()]))
        .args([
            "--cache-dir".as_ref(),
            cache.map_or(NO_CACHE.as_ref(), |path| path.as_os_str()),
        ])
        .args(["--queue", rig.queue().as_str()])
        // The arguments of a process are seen by everybody, its environment is not.
        .env("STEM_BROKER_URL", &url)
        .env("STEM_RESULT_BACKEND_URL", &url)
        .envs(rig.config.servers.variables())
        .args(["--namespace", rig.config.namespace.as_str()])
        // What is measured is a module of the benchmark's own, which nobody has signed.
        .env("STEM_REQUIRE_SIGNED_MODULES", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

async fn until_ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<()> {
    let mut said = Vec::new();
    while let Some(line) = lines
        .next_line()
        .await
        .context("read what the worker says")?
    {
        if line.starts_with("worker ") && line.contains(" ready") {
            return Ok(());
        }
        said.push(line);
    }
    bail!("start a worker: it ended at once: {}", said.join("; "))
}
