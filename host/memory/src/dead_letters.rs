//! Dead letters: list, show, replay, remove.

use async_trait::async_trait;
use stem_core::clock::Timestamp;
use stem_core::dead_letters::{DeadFilter, DeadLetter, DeadLetters, Page};
use stem_core::ids::EnvelopeId;
use stem_core::store_error::{StoreError, StoreErrorKind};

use crate::server::Store;
use crate::state::{Entry, Shelf, Shelves, State};

#[async_trait]
impl DeadLetters for Store {
    async fn list(&self, filter: &DeadFilter, page: &Page) -> Result<Vec<DeadLetter>, StoreError> {
        let (state, _) = self.locked();
        if let Some(after) = page.after {
            state.shelves.check_dead(after)?;
        }
        let mut letters: Vec<&Entry> = state.shelves.dead().collect();
        if !page.is_oldest_first {
            letters.reverse();
        }
        let is_before = |entry: &&Entry| page.after.is_some_and(|after| entry.id != after);
        let skipped = usize::from(page.after.is_some());
        Ok(letters
            .into_iter()
            .skip_while(is_before)
            .skip(skipped)
            .filter_map(Entry::letter)
            .filter(|letter| is_meant(filter, letter))
            .take(page.limit)
            .collect())
    }

    async fn count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        let (state, _) = self.locked();
        let letters = state.shelves.dead().filter_map(Entry::letter);
        Ok(letters.filter(|letter| is_meant(filter, letter)).count() as u64)
    }

    async fn show(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<DeadLetter>>, StoreError> {
        let (state, _) = self.locked();
        let show = |id: &EnvelopeId| state.shelves.get(*id)?.letter();
        Ok(ids.iter().map(show).collect())
    }

    async fn replay(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        let (mut state, now) = self.locked();
        // What is due joined its lane before (B7).
        state.shelves.promote(now);
        let replay = |id: &EnvelopeId| state.replay(*id, now).is_some();
        let replayed = ids.iter().map(replay).collect();
        self.room.work.ring();
        Ok(replayed)
    }

    async fn remove(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        let (mut state, now) = self.locked();
        let remove = |id: &EnvelopeId| state.shelves.remove_dead(*id, now).is_some();
        Ok(ids.iter().map(remove).collect())
    }
}

impl State {
    fn replay(&mut self, id: EnvelopeId, now: Timestamp) -> Option<()> {
        self.shelves.replay(id, now)?;
        self.records.revive(id, now);
        Some(())
    }
}

impl Shelves {
    fn take_dead(&mut self, id: EnvelopeId) -> Option<Entry> {
        match self.get(id)?.shelf {
            Shelf::Dead { .. } => self.take(id),
            Shelf::Lane | Shelf::Held { .. } | Shelf::Leased { .. } => None,
        }
    }

    fn check_dead(&self, id: EnvelopeId) -> Result<(), StoreError> {
        if self.get(id).and_then(Entry::letter).is_some() {
            return Ok(());
        }
        let refused = StoreError::new(StoreErrorKind::Refused, "list dead letters", "");
        Err(refused.because(format!(
            "{id} is no dead letter any more: list from the beginning"
        )))
    }

    fn replay(&mut self, id: EnvelopeId, now: Timestamp) -> Option<()> {
        let entry = self.take_dead(id)?;
        let generation = entry.generation + 1;
        let renewed = Entry {
            generation,
            attempts: 0,
            losses: 0,
            snoozes: 0,
            faults: 0,
            cancelled: None,
            ..entry
        };
        self.put_last(renewed, now);
        Some(())
    }

    pub(crate) fn remove_dead(&mut self, id: EnvelopeId, now: Timestamp) -> Option<()> {
        let entry = self.take_dead(id)?;
        self.forget(&entry, now);
        Some(())
    }
}

impl Entry {
    pub(crate) fn letter(&self) -> Option<DeadLetter> {
        let (reason, error, dead_at) = match &self.shelf {
            Shelf::Dead { reason, error, at } => (*reason, error.clone(), *at),
            Shelf::Lane | Shelf::Held { .. } | Shelf::Leased { .. } => return None,
        };
        Some(DeadLetter {
            id: self.id,
            task: self.task.clone(),
            queue: self.queue.clone(),
            reason,
            error,
            dead_at,
            generation: self.generation,
            attempts: self.attempts,
            bytes: self.bytes.clone(),
        })
    }
}

fn is_meant(filter: &DeadFilter, letter: &DeadLetter) -> bool {
    filter
        .queue
        .as_ref()
        .is_none_or(|queue| *queue == letter.queue)
        && filter.task.as_ref().is_none_or(|task| *task == letter.task)
        && filter.reason.is_none_or(|reason| reason == letter.reason)
        && filter.since.is_none_or(|since| since <= letter.dead_at)
}
