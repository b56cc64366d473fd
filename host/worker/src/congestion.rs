//! Whether guests wait too long for a core: then the worker claims no more until they do not (W2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stem_core::clock::{Clock, in_millis};
use tokio::sync::watch;

use crate::guests::Guests;

/// A guest that waits longer than this for a core is one too many.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// The longest that a guest has waited for a core since somebody asked: to begin, or to go on after it gave way.
#[derive(Default)]
pub(crate) struct Waits {
    longest_ms: AtomicU64,
}

impl Waits {
    pub(crate) fn note(&self, wait: Duration) {
        let wait = in_millis(wait);
        // Most waits are none: then every core only reads.
        if wait > self.longest_ms.load(Ordering::Relaxed) {
            self.longest_ms.fetch_max(wait, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Duration {
        Duration::from_millis(self.longest_ms.swap(0, Ordering::Relaxed))
    }
}

/// Tells again and again whether guests were kept waiting. An empty task goes with them, for guests that hold their
/// cores without ever giving way.
pub(crate) async fn watch(
    guests: Arc<Guests>,
    clock: Arc<dyn Clock>,
    waits: Arc<Waits>,
    congested: watch::Sender<bool>,
) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let sent = clock.monotonic();
        let mut probe = guests.spawn(async {});
        let waited = tokio::time::timeout(LONGEST_WAIT, &mut probe).await;
        if waited.is_err() {
            tell(&congested, true);
            // Only a panic or the end of the runtime could fail it: both end the worker anyway.
            let _ = probe.await;
        }
        let waited = clock.monotonic().saturating_sub(sent);
        tell(&congested, waits.take().max(waited) > LONGEST_WAIT);
    }
}

fn tell(congested: &watch::Sender<bool>, is_congested: bool) {
    let is_new =
        congested.send_if_modified(|was| std::mem::replace(was, is_congested) != is_congested);
    if is_new {
        tracing::debug!(
            is_congested,
            "whether guests wait for a core, and claiming pauses"
        );
    }
}

#[cfg(test)]
mod tests {
    use stem_core::clock::SystemClock;
    use tokio::task::JoinSet;

    use super::*;

    /// W2: it begins with a guest that waited too long, and ends when none does.
    #[tokio::test]
    async fn guests_that_wait_for_a_core_make_a_worker_congested_while_they_do() {
        let guests = Arc::new(Guests::start(1).expect("threads start"));
        let (waits, clock) = (Arc::new(Waits::default()), SystemClock::shared());
        let (congested, mut congestion) = watch::channel(false);
        waits.note(2 * LONGEST_WAIT);
        waits.note(Duration::ZERO);
        let mut watching = JoinSet::new();
        watching.spawn(super::watch(guests, clock, waits, congested));
        for expected in [true, false] {
            let seen = congestion.wait_for(|congested| *congested == expected);
            let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
            seen.expect("in time").expect("it goes on");
        }
    }
}
