//! What a namespace holds. An envelope is on one shelf at a time, and moves by being taken off one and put on another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use stem_core::broker::{AGEING, DERIVED_ID_RETENTION, Publication};
use stem_core::clock::Timestamp;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::{QueueName, TaskName, WorkerName};
use stem_core::outcome::{DeadReason, Failure};
use stem_core::queues::{CancelMode, EnvelopeStatus, Place};

use crate::control::Fleet;
use crate::key_value::Buckets;
use crate::module_store::Modules;
use crate::result_store::Records;
use crate::usage_store::Hours;

/// Everything of one namespace.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) shelves: Shelves,
    pub(crate) paused: BTreeSet<QueueName>,
    pub(crate) records: Records,
    pub(crate) buckets: Buckets,
    pub(crate) usage: Hours,
    pub(crate) modules: Modules,
    pub(crate) fleet: Fleet,
}

/// An envelope in the broker's care, and what has changed since it was published (E2).
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EnvelopeId,
    pub(crate) task: TaskName,
    pub(crate) queue: QueueName,
    pub(crate) priority: u8,
    /// What it is pinned to.
    pub(crate) module: Option<Digest>,
    pub(crate) bytes: Bytes,
    pub(crate) generation: u32,
    pub(crate) attempts: u32,
    pub(crate) deliveries: u32,
    pub(crate) losses: u32,
    pub(crate) snoozes: u32,
    pub(crate) faults: u32,
    pub(crate) cancelled: Option<CancelMode>,
    /// Its place in its lane; older ones have smaller numbers.
    pub(crate) position: u64,
    /// Since when it could run (B7).
    pub(crate) ready_since: Timestamp,
    pub(crate) shelf: Shelf,
}

/// Where an envelope lies.
#[derive(Debug)]
pub(crate) enum Shelf {
    /// In its lane.
    Lane,
    /// Until its time comes.
    Held { until: Timestamp, is_retry: bool },
    /// With a worker.
    Leased {
        worker: WorkerName,
        until: Timestamp,
    },
    /// In the dead letters.
    Dead {
        reason: DeadReason,
        error: Option<Failure>,
        at: Timestamp,
    },
}

impl Entry {
    pub(crate) fn new(publication: &Publication) -> Self {
        Self {
            id: publication.id,
            task: publication.task.clone(),
            queue: publication.queue.clone(),
            priority: publication.priority,
            module: publication.module,
            bytes: publication.bytes.clone(),
            generation: 1,
            attempts: 0,
            deliveries: 0,
            losses: 0,
            snoozes: 0,
            faults: 0,
            cancelled: None,
            position: 0,
            ready_since: Timestamp::default(),
            shelf: Shelf::Lane,
        }
    }

    pub(crate) fn status(&self) -> EnvelopeStatus {
        let place = match &self.shelf {
            Shelf::Lane => Place::Ready,
            Shelf::Held { until, is_retry } => Place::Held {
                until: *until,
                is_retry: *is_retry,
            },
            Shelf::Leased { worker, until } => Place::Leased {
                worker: worker.clone(),
                until: *until,
            },
            Shelf::Dead { .. } => Place::Dead,
        };
        EnvelopeStatus {
            id: self.id,
            task: self.task.clone(),
            queue: self.queue.clone(),
            priority: self.priority,
            generation: self.generation,
            attempts: self.attempts,
            deliveries: self.deliveries,
            place,
            bytes: self.bytes.clone(),
        }
    }

    /// Its priority, and a level more for each minute that it has waited (B7).
    fn urgency(&self, now: Timestamp) -> u128 {
        let waited = now.since(self.ready_since);
        u128::from(self.priority) + waited.as_millis() / AGEING.as_millis()
    }
}

/// Every envelope that lives or is a dead letter, found by id and by where it lies.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    entries: HashMap<EnvelopeId, Entry>,
    lanes: BTreeMap<(QueueName, u8), BTreeMap<u64, EnvelopeId>>,
    held: BTreeMap<(Timestamp, u64), EnvelopeId>,
    leases: BTreeSet<(Timestamp, EnvelopeId)>,
    dead: BTreeMap<(Timestamp, u64), EnvelopeId>,
    /// Derived ids whose envelopes have gone, and when they are forgotten (B15).
    marks: BTreeMap<EnvelopeId, Timestamp>,
    next_position: u64,
}

impl Shelves {
    pub(crate) fn get(&self, id: EnvelopeId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: EnvelopeId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Takes an envelope off its shelf.
    pub(crate) fn take(&mut self, id: EnvelopeId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        match &entry.shelf {
            Shelf::Lane => {
                let lane = (entry.queue.clone(), entry.priority);
                if let Some(ids) = self.lanes.get_mut(&lane) {
                    ids.remove(&entry.position);
                    if ids.is_empty() {
                        self.lanes.remove(&lane);
                    }
                }
            }
            Shelf::Held { until, .. } => {
                self.held.remove(&(*until, entry.position));
            }
            Shelf::Leased { until, .. } => {
                self.leases.remove(&(*until, id));
            }
            Shelf::Dead { at, .. } => {
                self.dead.remove(&(*at, entry.position));
            }
        }
        Some(entry)
    }

    /// Puts an envelope on the shelf that it names.
    pub(crate) fn put(&mut self, entry: Entry) {
        match &entry.shelf {
            Shelf::Lane => {
                let lane = (entry.queue.clone(), entry.priority);
                let ids = self.lanes.entry(lane).or_default();
                ids.insert(entry.position, entry.id);
            }
            Shelf::Held { until, .. } => {
                self.held.insert((*until, entry.position), entry.id);
            }
            Shelf::Leased { until, .. } => {
                self.leases.insert((*until, entry.id));
            }
            Shelf::Dead { at, .. } => {
                self.dead.insert((*at, entry.position), entry.id);
            }
        }
        self.entries.insert(entry.id, entry);
    }

    /// Puts an envelope at the end of its lane, where it is ready since this time.
    pub(crate) fn put_last(&mut self, entry: Entry, since: Timestamp) {
        let position = self.new_position();
        self.put(Entry {
            position,
            ready_since: since,
            shelf: Shelf::Lane,
            ..entry
        });
    }

    /// Puts an envelope where it waits for its time.
    pub(crate) fn hold(&mut self, entry: Entry, until: Timestamp, is_retry: bool) {
        let position = self.new_position();
        self.put(Entry {
            position,
            shelf: Shelf::Held { until, is_retry },
            ..entry
        });
    }

    /// Puts an envelope with the dead letters.
    pub(crate) fn bury(&mut self, entry: Entry, death: Shelf) {
        let position = self.new_position();
        self.put(Entry {
            position,
            shelf: death,
            ..entry
        });
    }

    fn new_position(&mut self) -> u64 {
        self.next_position += 1;
        self.next_position
    }

    /// Puts what has fallen due at the end of its lane (B6, B7).
    pub(crate) fn promote(&mut self, now: Timestamp) {
        while let Some((&(until, _), &id)) = self.held.first_key_value()
            && until <= now
            && let Some(entry) = self.take(id)
        {
            self.put_last(entry, until);
        }
    }

    /// Puts back what its worker has lost, where it lay before (B3, B5, B7).
    pub(crate) fn rescue(&mut self, now: Timestamp) {
        while let Some(&(until, id)) = self.leases.first()
            && until <= now
            && let Some(entry) = self.take(id)
        {
            self.put(Entry {
                losses: entry.losses + 1,
                shelf: Shelf::Lane,
                ..entry
            });
        }
    }

    /// The most urgent head of a queue's lanes; of equals the one that came first (B7).
    pub(crate) fn head(&self, queue: &QueueName, now: Timestamp) -> Option<EnvelopeId> {
        let lanes = self
            .lanes
            .range((queue.clone(), 0)..=(queue.clone(), u8::MAX));
        lanes
            .filter_map(|(_, ids)| self.entries.get(ids.values().next()?))
            .max_by_key(|entry| (entry.urgency(now), std::cmp::Reverse(entry.position)))
            .map(|entry| entry.id)
    }

    /// When something next falls due or a lease next ends, later than `after`.
    pub(crate) fn next_event(&self, after: Timestamp) -> Option<Timestamp> {
        let later = after + std::time::Duration::from_millis(1);
        let due = self.held.range((later, 0)..).next();
        let due = due.map(|((until, _), _)| *until);
        let nil = EnvelopeId::from_bytes([0; 16]);
        let end = self.leases.range((later, nil)..).next();
        due.into_iter().chain(end.map(|(until, _)| *until)).min()
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.dead.values().filter_map(|id| self.entries.get(id))
    }

    /// Lets an envelope go: a derived id is remembered for a while (B15).
    pub(crate) fn forget(&mut self, entry: &Entry, now: Timestamp) {
        if entry.id.is_derived() {
            self.marks.insert(entry.id, now + DERIVED_ID_RETENTION);
        }
    }

    pub(crate) fn is_remembered(&self, id: EnvelopeId, now: Timestamp) -> bool {
        self.marks.get(&id).is_some_and(|until| *until > now)
    }

    /// Removes at most so many marks that are due to go.
    pub(crate) fn sweep_marks(&mut self, now: Timestamp, limit: usize) -> usize {
        let expired = self.marks.iter().filter(|(_, until)| **until <= now);
        let expired: Vec<EnvelopeId> = expired.map(|(id, _)| *id).take(limit).collect();
        for id in &expired {
            self.marks.remove(id);
        }
        expired.len()
    }
}
