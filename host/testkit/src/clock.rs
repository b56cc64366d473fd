//! A clock that stands still until a test moves it, so that tests of hours run in milliseconds and none of them sleeps.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stem_core::clock::{Clock, Timestamp};
use tokio::sync::watch;

/// A clock that only a test moves.
#[derive(Debug)]
pub struct ManualClock {
    elapsed: watch::Sender<Duration>,
    sleepers: watch::Sender<usize>,
}

impl ManualClock {
    /// What every manual clock shows at first: 2026-11-18T11:06:40Z.
    pub const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    /// A clock at [`Self::START`], ready to be shared.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self {
            elapsed: watch::Sender::new(Duration::ZERO),
            sleepers: watch::Sender::new(0),
        })
    }

    /// Moves the time on and wakes whoever slept until then.
    pub fn advance(&self, time: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += time);
    }

    /// Returns when at least so many sleep on this clock: then an `advance` cannot come before their sleep.
    pub async fn asleep(&self, sleepers: usize) {
        let mut asleep = self.sleepers.subscribe();
        let enough = asleep.wait_for(|asleep| *asleep >= sleepers).await;
        enough.expect("the clock holds the sender");
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Self::START + *self.elapsed.borrow()
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let mut elapsed = self.elapsed.subscribe();
        let _sleeper = Sleeper::of(&self.sleepers);
        let reached = elapsed.wait_for(|elapsed| Self::START + *elapsed >= at);
        reached.await.expect("the clock holds the sender");
    }

    async fn sleep(&self, time: Duration) {
        self.sleep_until(self.now() + time).await;
    }
}

/// Counts a sleep for as long as it lasts, also where it is given up.
struct Sleeper<'a>(&'a watch::Sender<usize>);

impl<'a> Sleeper<'a> {
    fn of(sleepers: &'a watch::Sender<usize>) -> Self {
        sleepers.send_modify(|sleepers| *sleepers += 1);
        Self(sleepers)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|sleepers| *sleepers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_is_reached_and_not_before() {
        let clock = ManualClock::shared();
        let minute = Duration::from_secs(60);
        let mut sleep = clock.sleep_until(ManualClock::START + minute);
        assert!(futures::poll!(&mut sleep).is_pending());
        clock.asleep(1).await;
        clock.advance(minute - Duration::from_millis(1));
        assert!(futures::poll!(&mut sleep).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(futures::poll!(&mut sleep).is_ready());
        assert_eq!(clock.now(), ManualClock::START + minute);
        assert_eq!(clock.monotonic(), minute);
    }

    #[tokio::test]
    async fn a_sleep_until_a_time_that_has_passed_returns_at_once() {
        let clock = ManualClock::shared();
        let mut sleep = clock.sleep_until(ManualClock::START);
        assert!(futures::poll!(&mut sleep).is_ready());
    }
}
