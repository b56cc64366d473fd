//! What an attempt takes of a processor: the thread's own clock, read round everything that is done for it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time that this thread has spent on a processor so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Adds up processor time between the waits of one attempt, on whichever threads it runs.
///
/// The clock is a system call, so it is read only where work begins and where it stops: twice for an attempt that never
/// waits.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    spent: Duration,
    running_since: Option<Duration>,
}

impl CpuMeter {
    /// Work begins on this thread.
    pub(crate) fn start() -> Self {
        Self {
            spent: Duration::ZERO,
            running_since: Some(thread_time()),
        }
    }

    /// Work goes on, maybe on another thread.
    pub(crate) fn resume(&mut self) {
        self.running_since.get_or_insert_with(thread_time);
    }

    /// Everything so far. Only the thread that the attempt runs on may ask.
    pub(crate) fn spent(&self) -> Duration {
        let running = self
            .running_since
            .map(|since| thread_time().saturating_sub(since));
        self.spent + running.unwrap_or_default()
    }

    /// The attempt waits, or has ended; gives everything so far.
    pub(crate) fn pause(&mut self) -> Duration {
        self.spent = self.spent();
        self.running_since = None;
        self.spent
    }
}
