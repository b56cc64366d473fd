//! What the record is told of an attempt: the attempt itself, and the end if it is one (R5).

use std::time::Duration;

use stem_core::clock::Timestamp;
use stem_core::envelope::Envelope;
use stem_core::executor::Execution;
use stem_core::outcome::{DeadReason, Failure, FailureKind, MAX_SNOOZES, Outcome, Settlement};
use stem_core::payload::StoredPayload;
use stem_core::record::{AttemptRecord, End, LIVE_RECORD_RETENTION, Report};
use stem_core::state::EndState;

use crate::attempt::Attempt;

/// The report of an attempt that was settled so.
pub(crate) fn of(
    attempt: &Attempt<'_>,
    execution: Execution,
    settlement: Settlement,
    end: Option<EndState>,
) -> Report {
    let (delivery, envelope) = (attempt.delivery, attempt.envelope.as_ref());
    let ended_at = attempt.time_of(attempt.desk.clock.monotonic());
    let retention = match end {
        None => LIVE_RECORD_RETENTION + settlement.delay(),
        Some(_) => attempt.retention(),
    };
    Report {
        id: delivery.receipt.id,
        task: Some(delivery.task.clone()),
        queue: delivery.queue.clone(),
        tenant: envelope.and_then(Envelope::tenant).map(str::to_owned),
        generation: delivery.generation,
        delivery: delivery.receipt.delivery,
        enqueued_at: envelope.map(|envelope| envelope.enqueued_at),
        end: end.map(|state| ending(state, &execution, settlement, ended_at)),
        attempt: attempt.has_run.then(|| attempt.record(execution, ended_at)),
        retention,
    }
}

fn ending(state: EndState, execution: &Execution, settlement: Settlement, at: Timestamp) -> End {
    let mut end = End {
        state,
        at,
        result: None,
        error: execution.failure(),
        reason: None,
    };
    if let Outcome::Succeeded(payload) = &execution.outcome {
        end.result = Some(StoredPayload::pack(payload.clone()));
    }
    if let Settlement::DeadLetter(reason) = settlement {
        end.reason = Some(reason);
        end.error = end.error.or_else(|| out_of_snoozes(reason));
    }
    end
}

impl Attempt<'_> {
    /// A moment of the monotonic clock as the store's clock would have shown it (B16).
    fn time_of(&self, moment: Duration) -> Timestamp {
        self.delivery.claimed_at + moment.saturating_sub(self.claimed)
    }

    /// How long the record is kept after its end (R4): what an envelope says wins over its deployment (E4).
    fn retention(&self) -> Duration {
        let own = self
            .envelope
            .as_ref()
            .and_then(|envelope| envelope.result_retention);
        own.unwrap_or(self.policy.result_retention)
    }

    fn record(&self, execution: Execution, ended_at: Timestamp) -> AttemptRecord {
        AttemptRecord {
            number: self.delivery.attempts + 1,
            delivery: self.delivery.receipt.delivery,
            generation: self.delivery.generation,
            worker: self.desk.worker.clone(),
            module: self.module,
            started_at: self.time_of(self.started),
            ended_at,
            outcome: execution.word(),
            error: execution.error(),
            usage: execution.usage,
            log: execution.log,
            log_dropped: execution.log_dropped,
        }
    }
}

/// No attempt has failed here, and who looks at the dead letter is told why it is one all the same.
fn out_of_snoozes(reason: DeadReason) -> Option<Failure> {
    let kind = FailureKind::Returned {
        code: reason.as_str().to_owned(),
        details: Vec::new(),
    };
    let message = format!("the task put itself off more than {MAX_SNOOZES} times");
    (reason == DeadReason::SnoozesExhausted).then(|| Failure::permanent(kind, message))
}
