//! How long the parts of an attempt take: for benchmarks, on the very way that workers take.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use stem_core::clock::Clock;
use stem_core::executor::{Execution, ExecutorError, Run};
use stem_core::module_store::DeployedTask;

use crate::deploy_error::DeployError;
use crate::grants::Granted;
use crate::program::SandboxedTask;
use crate::sandbox::Sandbox;

/// Hears when a part of an attempt is over; workers listen with nothing.
pub(crate) trait Stopwatch: Sync {
    /// The instance is there, and is called now.
    fn instantiated(&self) {}
    /// The call is over, and the instance goes.
    fn returned(&self) {}
}

/// Nobody wants to know.
pub(crate) struct Untimed;

impl Stopwatch for Untimed {}

/// The parts of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// From nothing to an instance that can be called.
    pub instantiate: Duration,
    /// The call.
    pub call: Duration,
    /// From its return until everything is given back, and its outcome known.
    pub teardown: Duration,
}

/// A task whose attempts are timed.
pub struct TimedTask(SandboxedTask);

impl TimedTask {
    /// The task with its policy in force.
    pub fn task(&self) -> &DeployedTask {
        &self.0.task
    }

    /// Runs one attempt in a fresh sandbox.
    pub async fn run(&self, run: Run) -> Result<(Execution, Parts), ExecutorError> {
        let laps = Laps::start(&self.0.clock);
        let execution = self.0.run_timed(&run, &laps).await?;
        Ok((execution, laps.parts()))
    }
}

impl Sandbox {
    /// One task of a module that was inspected, with nothing granted.
    pub async fn timed(
        self: &Arc<Self>,
        module: &Bytes,
        task: DeployedTask,
    ) -> Result<TimedTask, DeployError> {
        let task = self.sandboxed(module, task, Granted::nothing()).await?;
        Ok(TimedTask(task))
    }
}

struct Laps {
    clock: Arc<dyn Clock>,
    began: Duration,
    instantiated: OnceLock<Duration>,
    returned: OnceLock<Duration>,
}

impl Laps {
    fn start(clock: &Arc<dyn Clock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            began: clock.monotonic(),
            instantiated: OnceLock::new(),
            returned: OnceLock::new(),
        }
    }

    /// An attempt that ended before its call has no call, and one that could not be made has nothing to tear down.
    fn parts(&self) -> Parts {
        let ended = self.clock.monotonic();
        let returned = self.returned.get().copied().unwrap_or(ended);
        let instantiated = self.instantiated.get().copied().unwrap_or(returned);
        Parts {
            instantiate: instantiated.saturating_sub(self.began),
            call: returned.saturating_sub(instantiated),
            teardown: ended.saturating_sub(returned),
        }
    }
}

impl Stopwatch for Laps {
    fn instantiated(&self) {
        let _ = self.instantiated.set(self.clock.monotonic());
    }

    fn returned(&self) {
        let _ = self.returned.set(self.clock.monotonic());
    }
}
