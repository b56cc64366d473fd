//! Counts, pauses, look-ups and cancellations.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName};
use stem_core::queues::{CancelMode, Cancelling, EnvelopeStatus, QueueStatus, Queues};
use stem_core::record::Report;
use stem_core::store_error::StoreError;

use crate::server::Store;
use crate::state::{Shelf, State};

#[async_trait]
impl Queues for Store {
    async fn queues(&self) -> Result<Vec<QueueStatus>, StoreError> {
        let (mut state, now) = self.locked();
        state.shelves.promote(now);
        Ok(state.count(now).into_values().collect())
    }

    async fn set_paused(&self, queue: &QueueName, is_paused: bool) -> Result<(), StoreError> {
        let (mut state, _) = self.locked();
        if is_paused {
            state.paused.insert(queue.clone());
        } else {
            state.paused.remove(queue);
            self.room.work.ring();
        }
        Ok(())
    }

    async fn find(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        let (state, now) = self.locked();
        let find = |id: &EnvelopeId| Some(state.shelves.get(*id)?.status().at(now));
        Ok(ids.iter().map(find).collect())
    }

    async fn waiting(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<Vec<EnvelopeId>, StoreError> {
        let (state, now) = self.locked();
        let entries = state.shelves.iter().filter(|entry| entry.queue == *queue);
        let waiting = entries.filter(|entry| entry.shelf.is_waiting(now));
        Ok(waiting.map(|entry| entry.id).take(limit).collect())
    }

    async fn count_waiting(
        &self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, u64>, StoreError> {
        let (state, now) = self.locked();
        let entries = state.shelves.iter();
        let asked_for = entries.filter(|entry| tasks.contains(&entry.task));
        let mut counts = BTreeMap::new();
        for entry in asked_for.filter(|entry| entry.shelf.is_waiting(now)) {
            *counts.entry(entry.task.clone()).or_default() += 1;
        }
        Ok(counts)
    }

    async fn cancel(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Cancelling>, StoreError> {
        let (mut state, now) = self.locked();
        let cancel = |id: &EnvelopeId| state.cancel(*id, mode, now);
        let cancelled = ids.iter().map(cancel).collect();
        self.room.records.ring();
        Ok(cancelled)
    }
}

impl State {
    fn count(&self, now: Timestamp) -> BTreeMap<QueueName, QueueStatus> {
        let mut queues = BTreeMap::new();
        let empty = |name: &QueueName| QueueStatus {
            name: name.clone(),
            is_paused: self.paused.contains(name),
            queued: 0,
            scheduled: 0,
            running: 0,
            dead: 0,
        };
        for name in &self.paused {
            queues.insert(name.clone(), empty(name));
        }
        for entry in self.shelves.iter() {
            let queue = queues
                .entry(entry.queue.clone())
                .or_insert_with_key(|name| empty(name));
            *match entry.shelf {
                Shelf::Leased { until, .. } if until <= now => &mut queue.queued,
                Shelf::Lane => &mut queue.queued,
                Shelf::Held { .. } => &mut queue.scheduled,
                Shelf::Leased { .. } => &mut queue.running,
                Shelf::Dead { .. } => &mut queue.dead,
            } += 1;
        }
        queues
    }

    fn cancel(&mut self, id: EnvelopeId, mode: CancelMode, now: Timestamp) -> Cancelling {
        let Some(entry) = self.shelves.get_mut(id) else {
            return Cancelling::Unknown;
        };
        match entry.shelf {
            Shelf::Lane | Shelf::Held { .. } => {
                self.remove_cancelled(id, now);
                Cancelling::Cancelled
            }
            Shelf::Leased { until, .. } if until <= now => {
                self.remove_cancelled(id, now);
                Cancelling::Cancelled
            }
            Shelf::Leased { .. } => {
                // Once it is to end at once, it cannot be asked any more.
                if entry.cancelled != Some(CancelMode::Now) {
                    entry.cancelled = Some(mode);
                }
                Cancelling::Asked
            }
            Shelf::Dead { .. } => Cancelling::Dead,
        }
    }

    fn remove_cancelled(&mut self, id: EnvelopeId, now: Timestamp) {
        if let Some(entry) = self.shelves.take(id) {
            let report = Report::cancelled(&entry.status(), now);
            self.keep(report, entry.deliveries, now);
            self.shelves.forget(&entry, now);
        }
    }
}

impl Shelf {
    fn is_waiting(&self, now: Timestamp) -> bool {
        match self {
            Self::Lane | Self::Held { .. } => true,
            Self::Leased { until, .. } => *until <= now,
            Self::Dead { .. } => false,
        }
    }
}
