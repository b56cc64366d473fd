//! `dev`: everything in one process, and a project that is built and deployed again whenever it changes.

mod build;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_core::module_store::Deployment;
use stem_core::names::QueueName;
use stem_core::signing::PrivateKey;
use stem_core::stores::Stores;
use tokio::task::JoinSet;

use super::deploy::Candidate;
use super::worker::{self, StartArgs};
use crate::errors;
use crate::invocation::Invocation;
use crate::module_file;
use crate::output::Output;
use crate::sandbox::Engine;
use crate::signals::Signals;
use crate::stores::Lifetime;

/// What is deployed, and what is watched
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Components to deploy first
    files: Vec<PathBuf>,
    /// A task project: built and deployed, and again whenever its source changes
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
    #[command(flatten)]
    worker: StartArgs,
}

/// Deploys, runs a worker, and follows the project until a signal comes.
pub async fn run(mut args: Args, invocation: &Invocation) -> Result<()> {
    let signals = Signals::catch()?;
    let signing = args.worker.signing(invocation);
    // Without anything to deploy it is a worker, which needs no private key.
    let key = match args.files.is_empty() && args.watch.is_none() {
        true => None,
        false => signing.module_signer()?,
    };
    let name = args.worker.name().clone();
    let stores = invocation
        .open_stores_for(&name, Lifetime::OneProcess)
        .await?;
    let output = &invocation.output;
    let mut bench = Workbench {
        engine: Engine::for_inspection(&stores.clock, &invocation.config)?,
        stores: stores.clone(),
        output: output.clone(),
        served: Vec::new(),
        key,
    };
    for file in &args.files {
        bench.deploy(file).await?;
    }
    let watched = match &args.watch {
        None => None,
        Some(project) => {
            let watch = watch::Watch::start(project)?;
            bench.build_and_deploy(project).await;
            Some((watch, project.clone()))
        }
    };
    let signatures = signing.policy()?;
    let options = args.worker.options(&stores, invocation).await?;
    let engine = Engine::for_worker(options.slots, &stores.clock, &invocation.config)?;
    let executor = engine.executor(&stores, signatures).await?;
    bench.served.clone_from(&options.queues);
    output.note(format!("store: {}", invocation.config.broker));
    output.note(format!("sandbox: {}", engine.settings()));
    let mut following = JoinSet::new();
    if let Some((watch, project)) = watched {
        following.spawn(bench.follow(watch, project));
    }
    worker::work(stores, executor, options, signals).await
}

/// Where modules are checked and deployed.
struct Workbench {
    engine: Engine,
    stores: Stores,
    output: Output,
    /// What this process's worker takes from, once it is made.
    served: Vec<QueueName>,
    /// What modules are signed with.
    key: Option<PrivateKey>,
}

impl Workbench {
    async fn deploy(&self, file: &Path) -> Result<()> {
        let candidate = Candidate {
            name: None,
            module: module_file::read(file)?,
            policy: module_file::policy(file, None, ("deploy", []))?,
            file: file.to_owned(),
            // Whoever develops a task renames and drops others: nothing is to stand in the way.
            is_forced: true,
            canary: None,
            key: self.key.clone(),
        };
        let checked = candidate.check(&self.stores, &self.engine).await?;
        if let Some(same) = checked.in_force(&self.stores).await? {
            let unchanged = format!("{}@{} is unchanged", same.name, same.version);
            self.output.note(unchanged);
            return Ok(());
        }
        checked.warn(&self.output);
        let deployment = checked.activate(&self.stores).await?;
        self.output.note(format!(
            "deployed {}@{} with the tasks {}",
            deployment.name,
            deployment.version,
            checked.tasks().join(", ")
        ));
        self.note_unserved(&deployment);
        Ok(())
    }

    /// A worker's queues are chosen when it starts: envelopes in another one would wait for ever.
    fn note_unserved(&self, deployment: &Deployment) {
        let tasks = deployment.tasks.iter();
        let named: BTreeSet<_> = tasks
            .filter_map(|task| task.policy.queue.as_ref())
            .collect();
        let is_new = |queue: &&QueueName| !self.served.is_empty() && !self.served.contains(queue);
        for queue in named.into_iter().filter(is_new) {
            self.output.note(format!(
                "warning: this worker does not take from `{queue}` yet: start `stem-host dev` again"
            ));
        }
    }

    /// Builds a project and deploys what came of it; where that fails the version before it goes on.
    async fn build_and_deploy(&self, project: &Path) {
        if let Err(error) = self.try_to_build_and_deploy(project).await {
            errors::print(&error);
            self.output
                .note("what was deployed before goes on; waiting for a change");
        }
    }

    async fn try_to_build_and_deploy(&self, project: &Path) -> Result<()> {
        for module in build::run(project).await? {
            self.deploy(&module).await?;
        }
        Ok(())
    }

    async fn follow(self, mut watch: watch::Watch, project: PathBuf) {
        while watch.changed().await {
            self.output
                .note(format!("`{}` has changed", project.display()));
            self.build_and_deploy(&project).await;
        }
    }
}
