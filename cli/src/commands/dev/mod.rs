//! `dev`: everything in one process, and a project that is built and deployed again whenever it changes.

mod build;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use stem_core::ids::Digest;
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
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let signals = Signals::catch()?;
    let stores = invocation.open_stores(Lifetime::OneProcess).await?;
    let output = &invocation.output;
    let mut bench = Workbench {
        engine: Engine::for_inspection(Arc::clone(&stores.clock))?,
        stores: stores.clone(),
        output: output.clone(),
        last: None,
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
    let options = args.worker.options(&stores, invocation).await?;
    let engine = Engine::for_worker(options.slots, Arc::clone(&stores.clock))?;
    let executor = engine.executor(&stores).await?;
    output.note(format!("store: {}", invocation.config.broker));
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
    /// The module that was deployed last: the same one is not deployed again.
    last: Option<Digest>,
}

impl Workbench {
    async fn deploy(&mut self, file: &Path) -> Result<()> {
        let module = module_file::read(file)?;
        let digest = Digest::of(&module);
        let candidate = Candidate {
            name: None,
            module,
            policy: module_file::policy(file, None, [])?,
            file: file.to_owned(),
            // Whoever develops a task renames and drops others: nothing is to stand in the way.
            is_forced: true,
        };
        let checked = candidate.check(&self.stores, &self.engine).await?;
        checked.warn(&self.output);
        let deployment = checked.activate(&self.stores).await?;
        self.last = Some(digest);
        self.output.note(format!(
            "deployed {}@{} with the tasks {}",
            deployment.name,
            deployment.version,
            checked.tasks().join(", ")
        ));
        Ok(())
    }

    /// Builds a project and deploys what came of it; where that fails the version before it goes on.
    async fn build_and_deploy(&mut self, project: &Path) {
        if let Err(error) = self.try_to_build_and_deploy(project).await {
            errors::print(&error);
            self.output
                .note("what was deployed before goes on; waiting for a change");
        }
    }

    async fn try_to_build_and_deploy(&mut self, project: &Path) -> Result<()> {
        for module in build::run(project).await? {
            let digest = Digest::of(&module_file::read(&module)?);
            if self.last != Some(digest) {
                self.deploy(&module).await?;
            }
        }
        Ok(())
    }

    async fn follow(mut self, mut watch: watch::Watch, project: PathBuf) {
        while watch.changed().await {
            self.output
                .note(format!("`{}` has changed", project.display()));
            self.build_and_deploy(&project).await;
        }
    }
}
