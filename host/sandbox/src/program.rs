//! A task on its compiled module: what a worker runs.

use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stem_core::clock::{Clock, in_millis};
use stem_core::executor::{AttemptFacts, Execution, ExecutorError, Program, Run};
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::module_store::DeployedTask;
use stem_core::outcome::Outcome;
use stem_core::policy::Limits;
use wasmtime::component::ComponentExportIndex;

use crate::bindings::by_reference;
use crate::command::Console;
use crate::context::{Guest, Ties};
use crate::deploy_error::DeployError;
use crate::engine::Class;
use crate::fate::{Returned, ended, outcome};
use crate::grants::Granted;
use crate::grants::enqueue::Budget;
use crate::grants::values::Values;
use crate::instance::{Instance, Remains, bounded};
use crate::limits::MemoryMeter;
use crate::log::Log;
use crate::module::{Entry, Module};
use crate::sandbox::Sandbox;
use crate::timing::{Stopwatch, Untimed};
use crate::watch::Watch;

/// A task with its policy, on the module that it runs on.
pub(crate) struct SandboxedTask {
    pub(crate) task: DeployedTask,
    pub(crate) digest: Digest,
    pub(crate) module: Arc<Module>,
    pub(crate) granted: Arc<Granted>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Program for SandboxedTask {
    fn task(&self) -> &DeployedTask {
        &self.task
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn run(&self, run: Run) -> Result<Execution, ExecutorError> {
        self.run_timed(&run, &Untimed).await
    }
}

impl Sandbox {
    /// One task of a module that was inspected, without a store: for benchmarks and trials.
    pub async fn program(
        self: &Arc<Self>,
        module: &Bytes,
        task: DeployedTask,
        grants: &Grants,
    ) -> Result<Arc<dyn Program>, DeployError> {
        let granted = Granted::new(grants.clone(), self);
        Ok(Arc::new(self.sandboxed(module, task, granted).await?))
    }

    pub(crate) async fn sandboxed(
        self: &Arc<Self>,
        module: &Bytes,
        task: DeployedTask,
        granted: Arc<Granted>,
    ) -> Result<SandboxedTask, DeployError> {
        let class = Class::of(&task.policy.limits);
        let loaded = self.load(module.clone(), class).await;
        Ok(SandboxedTask {
            task,
            digest: Digest::of(module),
            module: Arc::new(loaded.map_err(DeployError::unloaded)?),
            granted,
            clock: Arc::clone(self.clock()),
        })
    }
}

impl SandboxedTask {
    /// One attempt from its beginning to its end; the stopwatch hears of its parts.
    pub(crate) async fn run_timed(
        &self,
        run: &Run,
        stopwatch: &impl Stopwatch,
    ) -> Result<Execution, ExecutorError> {
        if run.limits.fuel.is_some() && self.module.class != Class::Fuel {
            let problem = "the attempt has a fuel limit, and its deployment counts no fuel";
            return Err(ExecutorError::new(problem));
        }
        let watch = Watch::start(&self.clock, &run.limits, run.stop.clone());
        let opening = pin!(async { Ok(self.granted.open().await) });
        let values = match bounded(opening, &watch).await {
            Ok(opened) => match opened? {
                Ok(values) => values,
                Err(refusal) => return Ok(Execution::ended(Outcome::Failed(refusal))),
            },
            Err(error) => return Ok(Execution::ended(ended(&error, &run.limits, &watch)?)),
        };
        let masks = values.masks.clone();
        let (returned, remains) = self.call(run, &watch, values, stopwatch).await?;
        let mut outcome = outcome(returned, &run.limits, &watch)?;
        masks.hide_in(&mut outcome);
        Ok(Execution {
            outcome,
            usage: remains.usage,
            log: remains.log,
            log_dropped: remains.log_dropped,
        })
    }

    fn equip(
        &self,
        run: &Run,
        watch: &Arc<Watch>,
        values: Values,
        console: Option<Arc<Console>>,
    ) -> Result<Instance, ExecutorError> {
        let Run { facts, limits, .. } = run;
        let log = Log::new(facts.id, facts.task.clone(), limits.log).hiding(values.masks.clone());
        let memory = MemoryMeter::new(limits.memory);
        let ties = Ties {
            watch: Arc::clone(watch),
            context: Arc::clone(&run.context),
            granted: Arc::clone(&self.granted),
            fixed: self.granted.fixed(facts),
            values,
            enqueueing: Budget::of(limits),
        };
        let mut guest = Guest::new(memory, log, ties);
        guest.console = console;
        Instance::new(&self.module, guest, limits)
            .map_err(|error| ExecutorError::new("prepare a sandbox").because(format!("{error:#}")))
    }

    /// Calls what the module has; gives what it returned, and what is left of the instance.
    async fn call(
        &self,
        run: &Run,
        watch: &Arc<Watch>,
        values: Values,
        stopwatch: &impl Stopwatch,
    ) -> Result<(Returned, Remains), ExecutorError> {
        match &self.module.entry {
            Entry::Handler { run: function, .. } => {
                let mut instance = self.equip(run, watch, values, None)?;
                let returned = self.handle(&mut instance, function, run, stopwatch).await;
                stopwatch.returned();
                Ok((returned, instance.finish()))
            }
            Entry::Command(function) => {
                let console = Arc::new(Console::new(&self.task, run));
                let mut instance = self.equip(run, watch, values, Some(Arc::clone(&console)))?;
                let ended = instance.call(&self.module, function, (), stopwatch).await;
                stopwatch.returned();
                let remains = instance.finish();
                let last_line = remains.last_error_line.as_deref();
                Ok((console.returned(ended, last_line), remains))
            }
        }
    }

    async fn handle(
        &self,
        instance: &mut Instance,
        function: &ComponentExportIndex,
        run: &Run,
        stopwatch: &impl Stopwatch,
    ) -> Returned {
        let facts = &run.facts;
        let id = facts.id.to_string();
        let (headers, attributes) = (headers(facts), attributes(facts));
        let attempt = by_reference::Attempt {
            id: &id,
            task: facts.task.as_str(),
            queue: facts.queue.as_str(),
            number: facts.number,
            max_attempts: facts.max_attempts,
            delivery: facts.delivery,
            enqueued_at: facts.enqueued_at.as_millis(),
            soft_time_limit: soft_time(&run.limits),
            hard_time_limit: in_millis(run.limits.hard_time),
            headers: &headers,
            attributes: &attributes,
        };
        let payload = by_reference::Payload {
            content_type: &run.payload.content_type,
            body: &run.payload.body,
        };
        instance
            .call(&self.module, function, (attempt, payload), stopwatch)
            .await
    }
}

fn headers(facts: &AttemptFacts) -> Vec<(&str, &str)> {
    let headers = facts.headers.iter();
    headers
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn attributes(facts: &AttemptFacts) -> Vec<(&str, &str)> {
    let attributes = facts.attributes.iter();
    attributes
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn soft_time(limits: &Limits) -> Option<u64> {
    limits.soft_time.map(in_millis)
}
