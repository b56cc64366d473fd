//! Removes what has outlived its retention, and says what this store is.

use async_trait::async_trait;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::record::DEAD_LETTER_RETENTION;
use stem_core::store_error::StoreError;
use stem_core::upkeep::{Fact, Upkeep};

use crate::server::Store;
use crate::state::Shelves;

#[async_trait]
impl Upkeep for Store {
    async fn sweep(&self, limit: usize) -> Result<u64, StoreError> {
        let (mut state, now) = self.locked();
        let swept = state.records.sweep(now, limit)
            + state.shelves.sweep_dead(now, limit)
            + state.shelves.sweep_marks(now, limit)
            + state.usage.sweep(now, limit)
            + state.fleet.sweep(now);
        Ok(swept as u64)
    }

    async fn describe(&self) -> Result<Vec<(&'static str, Fact)>, StoreError> {
        Ok(vec![
            ("store", "memory".into()),
            ("namespace", self.namespace.as_str().into()),
            (
                "durability",
                "none: everything goes with the process".into(),
            ),
        ])
    }
}

impl Shelves {
    /// Removes at most so many dead letters that have been kept long enough (B10).
    fn sweep_dead(&mut self, now: Timestamp, limit: usize) -> usize {
        let letters = self.dead().filter_map(|entry| entry.letter());
        let expired: Vec<EnvelopeId> = letters
            .take_while(|letter| letter.dead_at + DEAD_LETTER_RETENTION <= now)
            .map(|letter| letter.id)
            .take(limit)
            .collect();
        for id in &expired {
            self.remove_dead(*id, now);
        }
        expired.len()
    }
}
