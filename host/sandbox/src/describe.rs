//! Asks a module what its tasks are: in a sandbox of its own, with nothing granted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::children::{Child, Refusal};
use stem_core::executor::{AttemptContext, CheckpointError, Stop};
use stem_core::ids::EnvelopeId;
use stem_core::names::TaskName;
use stem_core::outcome::Outcome;
use stem_core::payload::Payload;
use stem_core::policy::Limits;
use stem_core::record::LogLine;
use stem_core::units::ByteSize;
use tokio::sync::watch;

use crate::bindings::stem::task::types;
use crate::context::{Guest, Ties};
use crate::deploy_error::DeployError;
use crate::fate;
use crate::grants::Granted;
use crate::grants::enqueue::Budget;
use crate::grants::values::Values;
use crate::instance::Instance;
use crate::limits::{MemoryMeter, OverMemory};
use crate::log::Log;
use crate::module::{Entry, Module};
use crate::sandbox::Sandbox;
use crate::timing::Untimed;
use crate::watch::Watch;

/// Time to describe a few tasks, on a busy machine.
const TIME: Duration = Duration::from_secs(5);
/// Lines of its log that are shown when it fails.
const SHOWN_LINES: usize = 10;

/// What the module says about its tasks.
pub(crate) async fn describe(
    sandbox: &Arc<Sandbox>,
    module: &Module,
    memory: ByteSize,
) -> Result<Vec<types::Descriptor>, DeployError> {
    let Entry::Handler { describe, .. } = &module.entry else {
        return Err(DeployError::Command);
    };
    let limits = limits(memory);
    let watch = Watch::start(sandbox.clock(), &limits, watch::channel(Stop::No).1);
    let mut instance = nobody(module, &limits, &watch)?;
    let returned = instance.call(module, describe, (), &Untimed).await;
    let remains = instance.finish();
    match returned {
        Ok((descriptors,)) => Ok(descriptors),
        Err(error) => Err(failed(&error, &limits, &watch, &remains.log)),
    }
}

/// Instantiates the module with this memory; gives what it asked for where that is more, and leaves every other problem
/// to its attempts.
pub(crate) async fn memory_over(
    sandbox: &Arc<Sandbox>,
    module: &Module,
    memory: ByteSize,
) -> Result<Option<ByteSize>, DeployError> {
    let limits = limits(memory);
    let watch = Watch::start(sandbox.clock(), &limits, watch::channel(Stop::No).1);
    let mut instance = nobody(module, &limits, &watch)?;
    let started = instance.start(module).await;
    let over = started
        .as_ref()
        .err()
        .and_then(|error| error.downcast_ref());
    Ok(over.map(|OverMemory { asked, .. }| ByteSize(*asked)))
}

fn limits(memory: ByteSize) -> Limits {
    Limits {
        hard_time: TIME,
        memory,
        ..Limits::default()
    }
}

/// An instance that has no attempt.
fn nobody(module: &Module, limits: &Limits, watch: &Arc<Watch>) -> Result<Instance, DeployError> {
    let name = TaskName::new("describe").expect("a good name");
    let log = Log::new(EnvelopeId::new(), name, limits.log);
    let ties = Ties {
        watch: Arc::clone(watch),
        context: Arc::new(NoAttempt),
        granted: Granted::nothing(),
        values: Values::default(),
        fixed: None,
        enqueueing: Budget::of(limits),
    };
    let guest = Guest::new(MemoryMeter::new(limits.memory), log, ties);
    Instance::new(module, guest, limits)
        .map_err(|error| DeployError::Host(format!("{error:#}").into()))
}

fn failed(error: &wasmtime::Error, limits: &Limits, watch: &Watch, log: &[LogLine]) -> DeployError {
    let outcome = match fate::ended(error, limits, watch) {
        Ok(outcome) => outcome,
        Err(fault) => return DeployError::Host(fault.into()),
    };
    let problem = match outcome {
        Outcome::Failed(failure) => failure.message,
        Outcome::Succeeded(_)
        | Outcome::Snoozed(_)
        | Outcome::Cancelled
        | Outcome::Expired
        | Outcome::Interrupted(_) => "it was stopped".to_owned(),
    };
    let shown = log.iter().filter(|line| !line.message.is_empty());
    let log = shown
        .take(SHOWN_LINES)
        .map(|line| format!("\n  {}", line.message))
        .collect();
    DeployError::Describe { problem, log }
}

/// Describing is no attempt: nothing is kept of it.
struct NoAttempt;

#[async_trait]
impl AttemptContext for NoAttempt {
    fn progress(&self, _: f64, _: String) {}

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(None)
    }

    async fn save_checkpoint(&self, _: Payload) -> Result<(), CheckpointError> {
        let why = "a module that is being described has no attempt";
        Err(CheckpointError::Unavailable(why.to_owned()))
    }

    async fn enqueue(&self, children: Vec<Child>) -> Vec<Result<EnvelopeId, Refusal>> {
        vec![Err(Refusal::NotGranted); children.len()]
    }
}
