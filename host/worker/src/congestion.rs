//! Whether guests wait too long for a core: then the worker claims no more until they do not (W2).

use std::sync::Arc;
use std::time::Duration;

use stem_core::clock::Clock;
use tokio::sync::watch;

use crate::guests::Guests;

/// A guest that waits longer than this for a core is one too many.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
const PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// Sends an empty task through the guests' runtime again and again, and tells whether it was kept waiting.
pub(crate) async fn watch(
    guests: Arc<Guests>,
    clock: Arc<dyn Clock>,
    congested: watch::Sender<bool>,
) {
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let sent = clock.monotonic();
        let mut probe = guests.spawn(async {});
        if tokio::time::timeout(LONGEST_WAIT, &mut probe)
            .await
            .is_err()
        {
            congested.send_replace(true);
            tracing::debug!("guests wait for a core: claiming pauses");
            // Only a panic or the end of the runtime could fail it: both end the worker anyway.
            let _ = probe.await;
        }
        let waited = clock.monotonic().saturating_sub(sent);
        congested.send_if_modified(|congested| {
            let is_congested = waited > LONGEST_WAIT;
            std::mem::replace(congested, is_congested) != is_congested
        });
    }
}
