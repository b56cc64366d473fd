//! Pauses between tries of a store that failed: doubling, capped, jittered.

use std::time::Duration;

use stem_core::store_error::{StoreError, StoreErrorKind};

use crate::contact::Contact;

/// A store that is away is asked again after such a time, and then less and less often.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a store answers at the start; it is asked again as long as it fails in a way that passes by itself (B13).
pub(crate) async fn until_answered<T, F>(
    contact: &Contact,
    mut ask: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match contact.ask("begin", ask()).await {
            Err(error) if error.is_transient() => {}
            answer => return answer,
        }
        backoff.pause().await;
    }
}

/// Whether a worker that runs tries again: whoever looks after the store lets it in again, as after a restart that has
/// forgotten a user, and what it holds is settled then (B13).
pub(crate) fn may_pass(error: &StoreError) -> bool {
    error.is_transient() || error.kind() == StoreErrorKind::NotPermitted
}

pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST_PAUSE, LONGEST_PAUSE)
    }
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            next: first,
            longest,
        }
    }

    /// Waits, between half and the whole of the next pause.
    pub(crate) async fn pause(&mut self) {
        let pause = self.next.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.next = self.next.saturating_mul(2).min(self.longest);
        tokio::time::sleep(pause).await;
    }

    /// Starts again with the first pause.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}
