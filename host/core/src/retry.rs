//! How long to wait before the next attempt (W4).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::millis;

/// How the delay grows from one failed attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backoff {
    /// `base` every time.
    Fixed,
    /// `base`, 2 × `base`, 3 × `base`, …
    Linear,
    /// `base`, `base` × `factor`, `base` × `factor`², …
    Exponential,
}

/// When a failed envelope is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How the delay grows.
    pub backoff: Backoff,
    /// The first delay.
    #[serde(rename = "base_ms", with = "millis")]
    pub base: Duration,
    /// What an exponential delay is multiplied by; at least 1.
    pub factor: f64,
    /// No delay is longer than this.
    #[serde(rename = "cap_ms", with = "millis")]
    pub cap: Duration,
    /// Whether each delay is drawn evenly from zero to the computed one ("full jitter").
    pub has_jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff::Exponential,
            base: Duration::from_secs(2),
            factor: 2.0,
            cap: Duration::from_secs(300),
            has_jitter: true,
        }
    }
}

impl RetryPolicy {
    /// The delay after the `failed`-th failed attempt (1 is the first); `random` is drawn evenly from [0, 1).
    pub fn delay(&self, failed: u32, random: f64) -> Duration {
        let steps = failed.max(1) - 1;
        let base = self.base.as_secs_f64();
        let seconds = match self.backoff {
            Backoff::Fixed => base,
            Backoff::Linear => base * (f64::from(steps) + 1.0),
            Backoff::Exponential => {
                base * self
                    .factor
                    .max(1.0)
                    .powi(i32::try_from(steps).unwrap_or(i32::MAX))
            }
        };
        let capped = seconds.min(self.cap.as_secs_f64());
        Duration::from_secs_f64(if self.has_jitter {
            capped * random.clamp(0.0, 1.0)
        } else {
            capped
        })
    }
}

/// Text that is no backoff.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no backoff: use fixed, linear or exponential")]
pub struct BackoffError(String);

impl FromStr for Backoff {
    type Err = BackoffError;

    fn from_str(text: &str) -> Result<Self, BackoffError> {
        match text {
            "fixed" => Ok(Self::Fixed),
            "linear" => Ok(Self::Linear),
            "exponential" => Ok(Self::Exponential),
            other => Err(BackoffError(other.to_owned())),
        }
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fixed => "fixed",
            Self::Linear => "linear",
            Self::Exponential => "exponential",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(backoff: Backoff) -> RetryPolicy {
        RetryPolicy {
            backoff,
            has_jitter: false,
            ..RetryPolicy::default()
        }
    }

    /// W4
    #[test]
    fn delays_grow_as_their_backoff_says() {
        let seconds = |policy: &RetryPolicy| {
            (1..=4)
                .map(|n| policy.delay(n, 0.5).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(&policy(Backoff::Fixed)), [2, 2, 2, 2]);
        assert_eq!(seconds(&policy(Backoff::Linear)), [2, 4, 6, 8]);
        assert_eq!(seconds(&policy(Backoff::Exponential)), [2, 4, 8, 16]);
        assert_eq!(
            policy(Backoff::Exponential).delay(u32::MAX, 0.5).as_secs(),
            300
        );
    }

    proptest! {
        /// W4: full jitter draws from zero to the delay without it.
        #[test]
        fn jitter_never_lengthens_a_delay(failed in 1_u32..100, random in 0.0..1.0_f64) {
            let plain = policy(Backoff::Exponential).delay(failed, random);
            let drawn = RetryPolicy::default().delay(failed, random);
            prop_assert!(drawn <= plain);
            prop_assert!(drawn.as_secs_f64() >= plain.as_secs_f64() * random - 1e-6);
        }
    }
}
