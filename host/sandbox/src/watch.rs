//! When an attempt is asked to stop, and when it is ended: its time limits and its stop signal, read together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stem_core::clock::Clock;
use stem_core::executor::{Stop, StopReason, StopSignal};
use stem_core::policy::Limits;

use crate::usage::{CpuMeter, timed};

/// Watches over one attempt from its start.
pub(crate) struct Watch {
    clock: Arc<dyn Clock>,
    started: Duration,
    soft: Option<Duration>,
    hard: Duration,
    cpu_limit: Option<Duration>,
    cpu: Mutex<CpuMeter>,
    /// Nanoseconds of a processor that were spent for the attempt while it waits, on whichever threads.
    aside: AtomicU64,
    stop: StopSignal,
}

/// Why the task is asked to wind up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// By somebody outside.
    Stop(StopReason),
    /// Its soft time limit has passed.
    SoftTime,
}

/// Why an attempt is ended by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// Its hard time limit has passed.
    #[error("the hard time limit has passed")]
    HardTime,
    /// Its processor time is used up.
    #[error("the limit on processor time has passed")]
    CpuTime,
    /// Somebody outside wants it.
    #[error("told to end now")]
    Stopped(StopReason),
}

impl Watch {
    /// The attempt starts now.
    pub(crate) fn start(clock: &Arc<dyn Clock>, limits: &Limits, stop: StopSignal) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            started: clock.monotonic(),
            soft: limits.soft_time,
            hard: limits.hard_time,
            cpu_limit: limits.cpu_time,
            cpu: Mutex::new(CpuMeter::start()),
            aside: AtomicU64::new(0),
            stop,
        })
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// The processor time of the attempt: to be asked by the thread that it runs on.
    pub(crate) fn cpu(&self) -> MutexGuard<'_, CpuMeter> {
        self.cpu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this for the attempt, where the attempt itself does not run.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let (done, spent) = timed(work);
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.aside.fetch_add(spent, Ordering::Relaxed);
        done
    }

    /// All processor time so far, what is done aside included: to be asked by the thread that it runs on.
    pub(crate) fn cpu_spent(&self) -> Duration {
        self.cpu().spent() + Duration::from_nanos(self.aside.load(Ordering::Relaxed))
    }

    /// Time after the start at which the task is asked to stop.
    pub(crate) fn soft_limit(&self) -> Option<Duration> {
        self.soft
    }

    /// Time until the attempt is ended.
    pub(crate) fn left(&self) -> Duration {
        self.hard.saturating_sub(self.elapsed())
    }

    /// Whether the task is to wind up: what comes from outside goes before the task's own limit.
    pub(crate) fn request(&self) -> Option<Request> {
        match *self.stop.borrow() {
            Stop::Asked(reason) | Stop::Now(reason) => Some(Request::Stop(reason)),
            Stop::No => self
                .soft
                .filter(|soft| self.elapsed() >= *soft)
                .map(|_| Request::SoftTime),
        }
    }

    /// Whether the attempt is over, whatever the guest does: to be asked by the thread that it runs on.
    pub(crate) fn verdict(&self) -> Option<Ended> {
        if let Stop::Now(reason) = *self.stop.borrow() {
            return Some(Ended::Stopped(reason));
        }
        if self.left().is_zero() {
            return Some(Ended::HardTime);
        }
        let is_spent = self
            .cpu_limit
            .is_some_and(|limit| self.cpu_spent() >= limit);
        is_spent.then_some(Ended::CpuTime)
    }

    /// Returns when the attempt is over: for a guest that waits inside the host, where no epoch reaches it.
    pub(crate) async fn over(&self) -> Ended {
        let told = tokio::time::timeout(self.left(), self.told_to_end()).await;
        told.map_or(Ended::HardTime, Ended::Stopped)
    }

    async fn told_to_end(&self) -> StopReason {
        let mut stop = self.stop.clone();
        loop {
            if let Stop::Now(reason) = *stop.borrow_and_update() {
                return reason;
            }
            if stop.changed().await.is_err() {
                // Nobody can send the signal any more: only the time limit is left.
                std::future::pending::<()>().await;
            }
        }
    }
}
