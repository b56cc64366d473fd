//! What an attempt takes of a processor: the thread's own clock, read round everything that is done for it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time that this thread has spent on a processor so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Adds up processor time over several pieces of work, on whichever threads they run.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    spent: Duration,
}

impl CpuMeter {
    /// Does this piece of work and counts it.
    pub(crate) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let done = work();
        self.spent += thread_time().saturating_sub(before);
        done
    }

    /// Everything so far.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }
}
