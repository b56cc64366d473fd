//! A worker whose guest is replaced by an in-process no-op: what the queue's path costs alone.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use stem_core::executor::{Execution, Executor, ExecutorError, Program, Resolution, Run};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::module_store::DeployedTask;
use stem_core::names::TaskName;
use stem_core::outcome::Outcome;
use stem_core::policy::TaskPolicy;

use super::rig::NAMESPACE_PREFIX;
use crate::commands::worker::{self, StartArgs};
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::signals::Signals;
use crate::stores::Lifetime;

/// Runs a worker with this executor until a signal comes; elsewhere it would acknowledge work that nobody has done.
pub async fn work(mut args: StartArgs, invocation: &Invocation) -> Result<()> {
    let namespace = &invocation.config.namespace;
    if !namespace.as_str().starts_with(NAMESPACE_PREFIX) {
        let problem = format!("no benchmark made the namespace `{namespace}`");
        return Err(Failure::usage("run a worker without guests", problem).into());
    }
    let signals = Signals::catch()?;
    let name = args.name().clone();
    let stores = invocation.open_stores_for(&name, Lifetime::Shared).await?;
    let options = args.options(&stores, invocation).await?;
    worker::work(stores, Arc::new(NoGuest::default()), options, signals).await
}

/// Gives back every payload as it is, without any sandbox.
pub struct NoGuest(Arc<Echo>);

struct Echo {
    task: DeployedTask,
    digest: Digest,
}

impl Default for NoGuest {
    fn default() -> Self {
        let task = DeployedTask {
            name: TaskName::new("noop").expect("a constant that keeps the rule"),
            description: String::new(),
            payload_schema: None,
            result_schema: None,
            command: None,
            policy: TaskPolicy::default(),
        };
        let digest = Digest::of(b"no guest");
        Self(Arc::new(Echo { task, digest }))
    }
}

#[async_trait]
impl Executor for NoGuest {
    async fn resolve(
        &self,
        _: &TaskName,
        _: EnvelopeId,
        _: Option<Digest>,
    ) -> Result<Resolution, ExecutorError> {
        Ok(Resolution::Ready(Arc::clone(&self.0) as _))
    }

    async fn refresh(&self) -> Result<(), ExecutorError> {
        Ok(())
    }
}

#[async_trait]
impl Program for Echo {
    fn task(&self) -> &DeployedTask {
        &self.task
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn run(&self, run: Run) -> Result<Execution, ExecutorError> {
        Ok(Execution::ended(Outcome::Succeeded(run.payload)))
    }
}
