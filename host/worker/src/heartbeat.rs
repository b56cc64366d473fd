//! Tells others that this worker lives, and how it is (W6). A heartbeat informs: only leases decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stem_core::clock::Timestamp;
use stem_core::control::{Control, HEARTBEAT_INTERVAL, Heartbeat};
use stem_core::record::{OutcomeWord, Report};

use crate::contact::Contact;
use crate::lease::Leases;
use crate::worker::Options;

/// How many attempts have ended since the worker's start.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Counts {
    /// Counts the attempt of a report, if one ran.
    pub(crate) fn count_report(&self, report: Option<&Report>) {
        let Some(attempt) = report.and_then(|report| report.attempt.as_ref()) else {
            return;
        };
        let counter = match attempt.outcome {
            OutcomeWord::Succeeded => &self.succeeded,
            OutcomeWord::Failed => &self.failed,
            OutcomeWord::Snoozed
            | OutcomeWord::Cancelled
            | OutcomeWord::Expired
            | OutcomeWord::Interrupted => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a heartbeat is made of.
pub(crate) struct Pulse {
    pub(crate) options: Options,
    pub(crate) started_at: Timestamp,
    pub(crate) leases: Arc<Leases>,
    pub(crate) counts: Arc<Counts>,
}

impl Pulse {
    fn take(&self) -> Heartbeat {
        let size = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Heartbeat {
            worker: self.options.name.clone(),
            host: self.options.host.clone(),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            queues: self.options.queues.clone(),
            slots: size(self.options.slots),
            running: size(self.leases.count()),
            memory_bytes: resident_memory(),
            succeeded: self.counts.succeeded.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }
}

/// Sends a heartbeat now and every few seconds.
pub(crate) async fn beat(control: Arc<dyn Control>, contact: Arc<Contact>, pulse: Pulse) {
    let clock = contact.clock();
    loop {
        // Where it fails, the next one tells the same.
        let _ = contact.ask("beat", control.beat(&pulse.take())).await;
        clock.sleep_until(clock.now() + HEARTBEAT_INTERVAL).await;
    }
}

/// Resident memory of this process, where the system tells it as Linux does; zero elsewhere.
fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
