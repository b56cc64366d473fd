//! One attempt in this process, with no store behind it: the executor's own `Program`, given a context that keeps
//! what the guest saves in a file or nowhere, and shows what it would enqueue.

mod checkpoint;
mod context;
mod plans;
mod told;

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use stem_core::clock::{Clock, Timestamp};
use stem_core::envelope::Envelope;
use stem_core::executor::{AttemptFacts, Execution, Program, Run, Stop, StopReason};
use stem_core::lookup::Lookup;
use stem_core::names::WorkerName;
use stem_core::outcome::{MAX_SNOOZES, Outcome, Standing, settle};
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::{AttemptRecord, End, Progress, Record};
use stem_core::result_store::Fence;
use stem_core::state::State;
use stem_core::units::ByteSize;
use tokio::sync::watch;

use crate::output::Output;
use crate::signals::Signals;

pub use checkpoint::Checkpoint;
pub use plans::Plans;
pub use told::Told;

use context::Context;
use plans::Plan;

/// Who runs an attempt that no worker runs.
const WORKER: &str = "local";

/// An attempt that is not the first says which it is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Counts what was charged before it.
    pub number: u32,
    /// Counts every delivery.
    pub delivery: u32,
}

/// One attempt to be run here.
pub struct Attempt {
    /// What is run: its payload lies unpacked beside it.
    pub envelope: Envelope,
    /// What the guest is given.
    pub payload: Payload,
    /// Which attempt it is.
    pub place: Place,
    /// What an earlier attempt saved, and where this one saves.
    pub checkpoint: Checkpoint,
    /// What a checkpoint may be as large as.
    pub limit: ByteSize,
    /// What it would enqueue.
    pub plans: Plans,
}

impl Attempt {
    /// Runs the attempt to its end: a first signal asks the guest to stop, a second one ends it.
    pub async fn run(
        self,
        program: &dyn Program,
        clock: &Arc<dyn Clock>,
        output: &Output,
    ) -> Result<Told> {
        let signals = Signals::catch()?;
        let task = program.task().name.clone();
        output.note(format!("running `{task}`: Ctrl-C asks it to stop"));
        let fence = Fence {
            id: self.envelope.id,
            generation: 1,
            delivery: self.place.delivery,
        };
        let kept = (self.checkpoint, self.limit);
        let context = Arc::new(Context::new(kept, self.plans, fence, Arc::clone(clock)));
        let (stop, told) = watch::channel(Stop::No);
        let policy = &program.task().policy;
        let run = Run {
            facts: AttemptFacts {
                number: self.place.number,
                delivery: self.place.delivery,
                ..AttemptFacts::of(&self.envelope, policy)
            },
            payload: self.payload,
            limits: self.envelope.limits_within(&policy.limits),
            stop: told.clone(),
            context: Arc::clone(&context) as Arc<_>,
        };
        let started_at = clock.now();
        let execution = tokio::select! {
            execution = program.run(run) => execution,
            never = pass_on(signals, stop, output) => match never {},
        };
        let closed = context.close();
        let execution = execution.with_context(|| format!("run `{task}`"))?;
        let ended = Ended {
            envelope: &self.envelope,
            place: self.place,
            program,
            started_at,
            ended_at: clock.now(),
        };
        Ok(ended.told(execution.heeding(&told), closed))
    }
}

async fn pass_on(mut signals: Signals, stop: watch::Sender<Stop>, output: &Output) -> Infallible {
    signals.next().await;
    output.note("the task is asked to stop; a second signal ends it at once");
    stop.send_replace(Stop::Asked(StopReason::Cancelled));
    signals.next().await;
    stop.send_replace(Stop::Now(StopReason::Cancelled));
    // The sender lives on: an attempt whose sender is gone would hear nothing more.
    std::future::pending().await
}

/// What is known of an attempt beside how it went.
struct Ended<'a> {
    envelope: &'a Envelope,
    place: Place,
    program: &'a dyn Program,
    started_at: Timestamp,
    ended_at: Timestamp,
}

impl Ended<'_> {
    /// The attempt as a look-up would show it, were it the envelope's only one.
    fn told(&self, execution: Execution, (progress, plans): (Option<Progress>, Vec<Plan>)) -> Told {
        let envelope = self.envelope;
        let only = Standing {
            attempts: 0,
            max_attempts: 1,
            snoozes: 0,
            max_snoozes: MAX_SNOOZES,
            faults: 0,
        };
        let retry = &self.program.task().policy.retry;
        let (settlement, state) = settle(&execution.outcome, &only, retry, 0.0);
        let result = match &execution.outcome {
            Outcome::Succeeded(payload) => Some(payload.clone()),
            Outcome::Failed(_)
            | Outcome::Snoozed(_)
            | Outcome::Cancelled
            | Outcome::Expired
            | Outcome::Interrupted(_) => None,
        };
        let end = state.map(|state| End {
            state,
            at: self.ended_at,
            result: result.clone().map(StoredPayload::pack),
            error: execution.failure(),
            reason: None,
        });
        let mut record = Record::continued(None, envelope.id, 1);
        record.task = Some(envelope.task.clone());
        record.queue = Some(envelope.queue.clone());
        record.enqueued_at = Some(envelope.enqueued_at);
        record.attempts = vec![self.record(execution)];
        record.progress = progress;
        record.end = end;
        Told {
            lookup: Lookup {
                state: state.map_or(State::Scheduled, State::from),
                record: Some(record),
                status: None,
            },
            result,
            plans,
            comes_again_after: settlement.delay(),
        }
    }

    fn record(&self, execution: Execution) -> AttemptRecord {
        AttemptRecord {
            number: self.place.number,
            delivery: self.place.delivery,
            generation: 1,
            worker: WorkerName::new(WORKER).expect("made of allowed characters, and short"),
            module: Some(self.program.digest()),
            started_at: self.started_at,
            ended_at: self.ended_at,
            outcome: execution.word(),
            error: execution.error(),
            usage: execution.usage,
            log: execution.log,
            log_dropped: execution.log_dropped,
        }
    }
}
