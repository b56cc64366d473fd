//! Pauses between tries of a store that failed: doubling, capped, jittered.

use std::time::Duration;

pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
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
