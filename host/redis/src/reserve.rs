//! The memory that publishing leaves to those who drain the store (B9).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stem_core::clock::Clock;
use stem_core::store_error::StoreErrorKind;
use stem_core::units::ByteSize;

use crate::link::Link;
use crate::problem::{FULL, Problem, Stepped};
use crate::server::Report;

/// How long an answer of the server counts: behind it, the server itself refuses what fills its last tenth.
const FRESH: Duration = Duration::from_millis(100);

/// Publishing stops at so many hundredths of what the server may use.
const PERCENT: u64 = 90;

/// Looks at how full the server is, but not before every single publish.
pub(crate) struct Reserve {
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    at: Duration,
    used: ByteSize,
    most: Option<ByteSize>,
}

impl Reserve {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            seen: Mutex::default(),
        }
    }

    /// Refuses where the reserve is reached.
    pub(crate) async fn check(&self, link: &Link) -> Stepped<()> {
        let now = self.clock.monotonic();
        let known = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.filter(|seen| now.saturating_sub(seen.at) < FRESH);
        let seen = match known {
            Some(seen) => seen,
            None => self.look(link, now).await?,
        };
        let limit = seen.most.map(limit);
        match limit.filter(|limit| seen.used >= *limit) {
            None => Ok(()),
            Some(limit) => Err(full(seen.used, limit)),
        }
    }

    async fn look(&self, link: &Link, now: Duration) -> Stepped<Seen> {
        let report = Report::of(link, &["memory"]).await?;
        let seen = Seen {
            at: now,
            used: report.used(),
            most: report.most(),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(seen)
    }
}

/// Where publishing stops on a server that may use so much.
pub(crate) fn limit(most: ByteSize) -> ByteSize {
    ByteSize(most.0 / 100 * PERCENT)
}

fn full(used: ByteSize, limit: ByteSize) -> Problem {
    let message = format!("the server uses {used} of its memory, and publishing stops at {limit}");
    Problem::new(StoreErrorKind::Full, message).advised(FULL)
}
