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
use stem_core::client::Client;
use stem_core::clock::Clock;
use stem_core::envelope::Envelope;
use stem_core::executor::{
    AttemptFacts, Execution, Executor, Program, Resolution, Run, StopSignal,
};
use stem_core::ids::Digest;
use stem_core::key_value::KeyValue;
use stem_core::names::WorkerName;
use stem_core::outcome::{
    Disruption, Failure, FailureKind, MAX_SNOOZES, Outcome, Standing, settle,
};
use stem_core::policy::TaskPolicy;
use stem_core::result_store::{Fence, ResultStore};
use stem_core::retry::RetryPolicy;
use stem_core::units::ByteSize;

use crate::congestion::Waits;
use crate::context::Context;
use crate::progress::ProgressBoard;
use crate::report;

/// What every attempt of a worker needs.
pub(crate) struct Desk {
    pub(crate) worker: WorkerName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) results: Arc<dyn ResultStore>,
    pub(crate) key_value: Arc<dyn KeyValue>,
    pub(crate) client: Arc<Client>,
    pub(crate) lease: Duration,
    pub(crate) progress: Arc<ProgressBoard>,
    pub(crate) max_deliveries: u32,
    pub(crate) payload_limit: ByteSize,
    pub(crate) waits: Arc<Waits>,
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
    let started = desk.clock.monotonic();
    desk.waits.note(started.saturating_sub(claimed));
    let mut attempt = Attempt {
        desk,
        delivery,
        claimed,
        started,
        envelope: None,
        policy: TaskPolicy::default(),
        module: None,
        has_run: false,
    };
    let told = stop.clone();
    let lived = AssertUnwindSafe(attempt.live(stop)).catch_unwind().await;
    let execution = lived.unwrap_or_else(|panic| Execution::ended(panicked(panic.as_ref())));
    let conclude = AssertUnwindSafe(|| attempt.conclude(execution.heeding(&told)));
    std::panic::catch_unwind(conclude).unwrap_or_else(|panic| {
        let outcome = panicked(panic.as_ref());
        attempt.tell_fault(&outcome);
        let retry = RetryPolicy::default();
        Settling {
            receipt: delivery.receipt,
            settlement: settle(&outcome, &attempt.standing(), &retry, 0.0).0,
            error: None,
            report: None,
        }
    })
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
        self.open()?;
        let program = self.resolve().await?;
        self.policy = program.task().policy.clone();
        self.module = Some(program.digest());
        let run = self.prepare(stop)?;
        self.has_run = true;
        Ok((program, run))
    }

    /// Step 1: the envelope, unless it is not to be run.
    fn open(&mut self) -> Result<(), Outcome> {
        let decoded = Envelope::decode(&self.delivery.bytes);
        let undecodable = decoded.as_ref().err().map(chain);
        self.envelope = decoded.ok();
        if self.delivery.is_cancelled {
            return Err(Outcome::Cancelled);
        }
        if let Some(problem) = undecodable {
            return Err(rejected(FailureKind::Undecodable, problem));
        }
        let losses = self.delivery.losses;
        if losses >= self.desk.max_deliveries {
            let message = format!("its worker was lost {losses} times in a row");
            return Err(rejected(FailureKind::Poison, message));
        }
        match self.envelope().expires_at {
            Some(expiry) if expiry <= self.delivery.claimed_at => Err(Outcome::Expired),
            _ => Ok(()),
        }
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        let opened = self.envelope.as_ref();
        opened.expect("nothing comes after an envelope that was not opened")
    }

    /// Step 2.
    async fn resolve(&self) -> Result<Arc<dyn Program>, Outcome> {
        let (executor, envelope) = (&self.desk.executor, self.envelope());
        let Envelope { task, module, .. } = envelope;
        match executor.resolve(task, envelope.id, *module).await {
            Ok(Resolution::Ready(program)) => Ok(program),
            Ok(Resolution::Refused(failure)) => Err(Outcome::Failed(failure)),
            Err(error) => Err(fault(chain(&error))),
        }
    }

    /// Step 3, and what the executor is given for step 4.
    fn prepare(&self, stop: StopSignal) -> Result<Run, Outcome> {
        let envelope = self.envelope();
        let unpacked = envelope.payload.unpack(self.desk.payload_limit);
        let payload =
            unpacked.map_err(|error| rejected(FailureKind::Undecodable, error.to_string()))?;
        Ok(Run {
            facts: self.facts(),
            payload,
            limits: envelope.limits_within(&self.policy.limits),
            stop,
            context: Arc::new(Context::new(self)),
        })
    }

    fn facts(&self) -> AttemptFacts {
        AttemptFacts {
            queue: self.delivery.queue.clone(),
            number: self.delivery.attempts + 1,
            delivery: self.delivery.receipt.delivery,
            ..AttemptFacts::of(self.envelope(), &self.policy)
        }
    }

    /// Steps 5 and 6.
    fn conclude(&self, execution: Execution) -> Settling {
        self.tell_fault(&execution.outcome);
        let own = self
            .envelope
            .as_ref()
            .and_then(|envelope| envelope.retry.as_ref());
        let retry = own.unwrap_or(&self.policy.retry);
        let (settlement, end) = settle(&execution.outcome, &self.standing(), retry, rand::random());
        let report = report::of(self, execution, settlement, end);
        let error = report.end.as_ref().and_then(|end| end.error.clone());
        Settling {
            receipt: self.delivery.receipt,
            settlement,
            error,
            report: Some(report),
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            attempts: self.delivery.attempts,
            max_attempts: self.max_attempts(),
            snoozes: self.delivery.snoozes,
            max_snoozes: MAX_SNOOZES,
            faults: self.delivery.faults,
        }
    }

    fn tell_fault(&self, outcome: &Outcome) {
        if let Outcome::Interrupted(Disruption::HostFault(problem)) = outcome {
            let Delivery { receipt, task, .. } = self.delivery;
            tracing::error!(id = %receipt.id, %task, problem, "an attempt failed on our side");
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

    pub(crate) fn fence(&self) -> Fence {
        let receipt = self.delivery.receipt;
        Fence {
            id: receipt.id,
            generation: self.delivery.generation,
            delivery: receipt.delivery,
        }
    }
}

fn rejected(kind: FailureKind, message: String) -> Outcome {
    Outcome::Failed(Failure::permanent(kind, message))
}

fn fault(problem: String) -> Outcome {
    Outcome::Interrupted(Disruption::HostFault(problem))
}

/// An error with its causes, in one line.
fn chain(error: &(impl std::error::Error + ?Sized)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Outcome {
    let text = panic.downcast_ref::<&str>().copied();
    let message = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no message");
    fault(format!("the host panicked: {message}"))
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
