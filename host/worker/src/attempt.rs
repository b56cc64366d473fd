//! The life of one delivery, from its claim to its settlement. Read this file first.
//!
//! ```text
//! 1 open     what never runs: undecodable, poison, cancelled, expired
//! 2 resolve  task → deployment → compiled module
//! 3 unpack   the payload, bounded
//! 4 execute  one call in a fresh sandbox; the lease is renewed from outside meanwhile
//! 5 settle   pure: (outcome, standing, policy) → what the broker is told
//! 6 report   what the record is told, in the same step or just before
//! ```
//!
//! Nothing is written when an attempt starts: its lease says that it runs. What becomes of the task is a value
//! (`Outcome`); whatever goes wrong with us is an interruption and charges nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use stem_core::broker::{Delivery, Settling};
use stem_core::clock::Clock;
use stem_core::envelope::Envelope;
use stem_core::executor::{
    AttemptFacts, Execution, Executor, Program, Resolution, Run, StopSignal,
};
use stem_core::ids::Digest;
use stem_core::names::WorkerName;
use stem_core::outcome::{
    Failure, FailureKind, Interruption, MAX_SNOOZES, Outcome, Standing, settle,
};
use stem_core::payload::Payload;
use stem_core::policy::TaskPolicy;
use stem_core::result_store::{Fence, ResultStore};
use stem_core::units::ByteSize;

use crate::context::Context;
use crate::progress::ProgressBoard;
use crate::report;

/// What every attempt of a worker needs.
pub(crate) struct Desk {
    pub(crate) worker: WorkerName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) results: Arc<dyn ResultStore>,
    pub(crate) progress: Arc<ProgressBoard>,
    pub(crate) max_deliveries: u32,
    pub(crate) payload_limit: ByteSize,
}

/// One attempt, and what becomes known of it on its way.
pub(crate) struct Attempt<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) delivery: &'a Delivery,
    /// When the claim was answered, by the monotonic clock.
    pub(crate) claimed: Duration,
    /// When this attempt began.
    pub(crate) started: Duration,
    pub(crate) envelope: Option<Envelope>,
    pub(crate) policy: TaskPolicy,
    pub(crate) module: Option<Digest>,
    /// Whether the guest was called: what never ran leaves no attempt in the record.
    pub(crate) has_run: bool,
}

/// Runs one delivery, and says what the broker and the record are to be told.
///
/// A panic of ours is caught here and nowhere else.
pub(crate) async fn run(
    desk: &Desk,
    delivery: &Delivery,
    claimed: Duration,
    stop: StopSignal,
) -> Settling {
    let mut attempt = Attempt {
        desk,
        delivery,
        claimed,
        started: desk.clock.monotonic(),
        envelope: None,
        policy: TaskPolicy::default(),
        module: None,
        has_run: false,
    };
    let lived = AssertUnwindSafe(attempt.live(stop)).catch_unwind().await;
    let execution = lived.unwrap_or_else(|panic| {
        Execution::ended(fault(format!(
            "the host panicked: {}",
            panic_message(panic.as_ref())
        )))
    });
    if let Outcome::Interrupted(Interruption::HostFault(problem)) = &execution.outcome {
        tracing::error!(id = %delivery.receipt.id, task = %delivery.task, problem, "an attempt failed on our side");
    }
    attempt.conclude(execution)
}

impl Attempt<'_> {
    /// Steps 1 to 4.
    async fn live(&mut self, stop: StopSignal) -> Execution {
        match self.make_ready(stop).await {
            Err(outcome) => Execution::ended(outcome),
            Ok((program, run)) => match program.run(run).await {
                Ok(execution) => execution,
                Err(error) => Execution::ended(fault(chain(&error))),
            },
        }
    }

    async fn make_ready(&mut self, stop: StopSignal) -> Result<(Arc<dyn Program>, Run), Outcome> {
        let envelope = self.open()?;
        self.envelope = Some(envelope.clone());
        self.check_still_wanted(&envelope)?;
        let program = self.resolve(&envelope).await?;
        self.policy = program.task().policy.clone();
        self.module = Some(program.digest());
        let payload = envelope
            .payload
            .unpack(self.desk.payload_limit)
            .map_err(|error| {
                Outcome::Failed(Failure::permanent(
                    FailureKind::InvalidPayload,
                    error.to_string(),
                ))
            })?;
        self.has_run = true;
        Ok((program, self.prepare(envelope, payload, stop)))
    }

    /// Step 1: the envelope, unless there is none that could be run.
    fn open(&self) -> Result<Envelope, Outcome> {
        let envelope = Envelope::decode(&self.delivery.bytes).map_err(|error| {
            Outcome::Failed(Failure::permanent(FailureKind::Undecodable, chain(&error)))
        })?;
        if self.delivery.losses < self.desk.max_deliveries {
            return Ok(envelope);
        }
        let message = format!(
            "its worker was lost {} times in a row",
            self.delivery.losses
        );
        Err(Outcome::Failed(Failure::permanent(
            FailureKind::Poison,
            message,
        )))
    }

    /// Step 1, continued: whether it is to be run at all.
    fn check_still_wanted(&self, envelope: &Envelope) -> Result<(), Outcome> {
        if self.delivery.is_cancelled {
            return Err(Outcome::Cancelled);
        }
        match envelope.expires_at {
            Some(expiry) if expiry <= self.delivery.claimed_at => Err(Outcome::Expired),
            _ => Ok(()),
        }
    }

    /// Step 2.
    async fn resolve(&self, envelope: &Envelope) -> Result<Arc<dyn Program>, Outcome> {
        match self
            .desk
            .executor
            .resolve(&envelope.task, envelope.module)
            .await
        {
            Ok(Resolution::Ready(program)) => Ok(program),
            Ok(Resolution::Refused(failure)) => Err(Outcome::Failed(failure)),
            Err(error) => Err(fault(chain(&error))),
        }
    }

    /// Step 4: what the executor is given.
    fn prepare(&self, envelope: Envelope, payload: Payload, stop: StopSignal) -> Run {
        let own = &self.policy.limits;
        let limits = match &envelope.limits {
            Some(asked) => own.tightened_by(asked),
            None => own.clone(),
        };
        let context = Arc::new(Context::new(self.fence(), self.desk));
        Run {
            facts: self.facts(envelope),
            payload,
            limits,
            stop,
            context,
        }
    }

    fn facts(&self, envelope: Envelope) -> AttemptFacts {
        let lineage = envelope.lineage.iter();
        let ids = lineage.flat_map(|line| [("root", line.root), ("parent", line.parent)]);
        AttemptFacts {
            id: envelope.id,
            task: envelope.task,
            queue: self.delivery.queue.clone(),
            number: self.delivery.attempts + 1,
            max_attempts: self.max_attempts(),
            delivery: self.delivery.receipt.delivery,
            enqueued_at: envelope.enqueued_at,
            attributes: ids.map(|(name, id)| (name, id.to_string())).collect(),
            headers: envelope.headers,
        }
    }

    /// Steps 5 and 6.
    fn conclude(&self, execution: Execution) -> Settling {
        let standing = Standing {
            attempts: self.delivery.attempts,
            max_attempts: self.max_attempts(),
            snoozes: self.delivery.snoozes,
            max_snoozes: MAX_SNOOZES,
            faults: self.delivery.faults,
        };
        let own = self
            .envelope
            .as_ref()
            .and_then(|envelope| envelope.retry.as_ref());
        let retry = own.unwrap_or(&self.policy.retry);
        let (settlement, end) = settle(&execution.outcome, &standing, retry, rand::random());
        let report = report::of(self, execution, settlement, end);
        let error = report.end.as_ref().and_then(|end| end.error.clone());
        Settling {
            receipt: self.delivery.receipt,
            settlement,
            error,
            report: Some(report),
        }
    }

    /// What an envelope says wins over its deployment (E4).
    fn max_attempts(&self) -> u32 {
        let own = self
            .envelope
            .as_ref()
            .and_then(|envelope| envelope.max_attempts);
        own.unwrap_or(self.policy.max_attempts)
    }

    fn fence(&self) -> Fence {
        let receipt = self.delivery.receipt;
        Fence {
            id: receipt.id,
            generation: self.delivery.generation,
            delivery: receipt.delivery,
        }
    }
}

fn fault(problem: String) -> Outcome {
    Outcome::Interrupted(Interruption::HostFault(problem))
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
