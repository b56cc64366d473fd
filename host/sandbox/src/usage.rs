//! What an attempt takes of a processor: the thread's own clock, read round everything that is done for it. And what
//! it asks of its host: calls, and bytes that leave the sandbox through them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time that this thread has spent on a processor so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Does this, and says what this thread has spent on it.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_time();
    let done = work();
    (done, thread_time().saturating_sub(before))
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

    /// The attempt waits, or has ended.
    pub(crate) fn pause(&mut self) {
        self.spent = self.spent();
        self.running_since = None;
    }
}

/// Counts what the guest asks of its host (S8).
///
/// A call is one of a function that the module imports, or the end of a handle to something that the host holds. They
/// are counted where the host's side of the attempt is looked up for them, once for each. A WASI function that answers
/// with an error of a stream, a file, a socket or a request counts twice: the host is asked a second time for its code.
#[derive(Debug, Default)]
pub(crate) struct HostMeter {
    calls: u64,
    pub(crate) out: BytesOut,
}

/// Counts bytes that leave the sandbox, also from where the guest is out of reach: a clone counts for the same attempt.
#[derive(Debug, Default, Clone)]
pub(crate) struct BytesOut(Arc<AtomicU64>);

impl HostMeter {
    /// The guest has called.
    pub(crate) fn call(&mut self) {
        self.calls += 1;
    }

    /// So many bytes have left the sandbox: other than the result, the log and the progress.
    pub(crate) fn bytes_out(&self, bytes: usize) {
        self.out.add(bytes);
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Bytes so far.
    pub(crate) fn sent(&self) -> u64 {
        self.out.0.load(Ordering::Relaxed)
    }
}

impl BytesOut {
    /// So many bytes have left the sandbox.
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}
