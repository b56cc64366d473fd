//! Whether the stores answer: what is wrong is said once, with its cause, and once that it is right again (B13).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stem_core::clock::Clock;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::units::format_duration;

/// What goes on is said again after this time.
const REMINDER: Duration = Duration::from_secs(60);
/// Failures that are told apart: of two stores at the most, and a few causes.
const MOST_TOLD: usize = 16;

/// Sees every answer that duties get from the stores.
pub(crate) struct Contact {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loss: Option<Loss>,
    /// When the stores last were back: what was asked before says nothing new.
    back_at: Duration,
}

/// While something fails.
struct Loss {
    since: Duration,
    told_at: Duration,
    told: Vec<(String, StoreErrorKind, String)>,
    /// Who failed: any other's answer may come from another store.
    duties: Vec<&'static str>,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Lost,
    Back(Duration),
}

impl Contact {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            state: Mutex::default(),
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The answer to what a duty asks.
    pub(crate) async fn ask<T>(
        &self,
        duty: &'static str,
        asking: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = self.clock.monotonic();
        let answer = asking.await;
        self.note(duty, began, answer.as_ref().err());
        answer
    }

    fn note(&self, duty: &'static str, began: Duration, error: Option<&StoreError>) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let news = match error {
            Some(error) => state.lost(duty, began, now, error),
            None => state.answered(duty, now),
        };
        drop(state);
        match (news, error) {
            (Some(News::Back(away)), _) => {
                let after = format_duration(Duration::from_secs(away.as_secs()));
                tracing::info!(after, "the store answers again");
            }
            (Some(News::Lost), Some(error)) => tell(duty, error),
            (Some(News::Lost) | None, _) => {
                if let Some(error) = error {
                    tracing::debug!(duty, %error, cause = error.cause(), "failed: trying again");
                }
            }
        }
    }
}

fn tell(duty: &'static str, error: &StoreError) {
    let (cause, advice) = (error.cause(), error.advice());
    match error.is_transient() {
        true => {
            tracing::warn!(duty, %error, cause, advice, "the store fails: trying again until it answers")
        }
        false => {
            tracing::error!(duty, %error, cause, advice, "the store refuses this worker: trying again")
        }
    }
}

impl State {
    fn lost(
        &mut self,
        duty: &'static str,
        began: Duration,
        now: Duration,
        error: &StoreError,
    ) -> Option<News> {
        if self.loss.is_none() && self.back_at > began {
            return None;
        }
        let loss = self.loss.get_or_insert_with(|| Loss::new(now));
        if !loss.duties.contains(&duty) {
            loss.duties.push(duty);
        }
        loss.is_news(now, error).then_some(News::Lost)
    }

    fn answered(&mut self, duty: &'static str, now: Duration) -> Option<News> {
        let loss = self.loss.take_if(|loss| loss.duties.contains(&duty))?;
        self.back_at = now;
        Some(News::Back(now.saturating_sub(loss.since)))
    }
}

impl Loss {
    fn new(now: Duration) -> Self {
        Self {
            since: now,
            told_at: now,
            told: Vec::new(),
            duties: Vec::new(),
        }
    }

    fn is_news(&mut self, now: Duration, error: &StoreError) -> bool {
        let failure = (error.subject().to_owned(), error.kind(), error.cause());
        let is_known = self.told.contains(&failure) || self.told.len() >= MOST_TOLD;
        let is_due = now.saturating_sub(self.told_at) >= REMINDER;
        if !is_known {
            self.told.push(failure);
        }
        if !is_known || is_due {
            self.told_at = now;
        }
        !is_known || is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn error(kind: StoreErrorKind, subject: &str) -> StoreError {
        StoreError::new(kind, "claim", subject)
    }

    /// B13: once, whoever hears of it; again where it is another store or another cause, and after a while.
    #[test]
    fn what_fails_is_said_once_for_each_store_and_cause() {
        let mut state = State::default();
        let away = error(StoreErrorKind::Unavailable, "a");
        let refused = error(StoreErrorKind::Unavailable, "a").because("refused");
        let other = error(StoreErrorKind::Unavailable, "b");
        for (duty, now, error, is_said) in [
            ("claim", 1, &away, true),
            ("settle", 2, &away, false),
            ("claim", 4, &refused, true),
            ("settle", 5, &other, true),
            ("claim", 64, &refused, false),
            ("settle", 65, &other, true),
        ] {
            let news = state.lost(duty, at(now), at(now), error);
            assert_eq!(news.is_some(), is_said, "{now}");
        }
    }

    /// B13: who failed says when it is over, and what was asked before that says nothing new.
    #[test]
    fn that_the_store_is_back_is_said_once() {
        let mut state = State::default();
        let away = error(StoreErrorKind::Unavailable, "a");
        assert_eq!(state.answered("claim", at(1)), None);
        state.lost("claim", at(2), at(2), &away);
        assert_eq!(state.answered("beat", at(3)), None);
        assert_eq!(state.answered("claim", at(9)), Some(News::Back(at(7))));
        assert_eq!(state.answered("claim", at(10)), None);
        assert_eq!(state.lost("settle", at(8), at(11), &away), None);
        assert_eq!(state.lost("settle", at(9), at(11), &away), Some(News::Lost));
    }
}
