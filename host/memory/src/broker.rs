//! Publishing, leasing and settling.

use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Due, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::QueueName;
use stem_core::outcome::Settlement;
use stem_core::store_error::StoreError;

use crate::server::Store;
use crate::state::{Entry, Shelf, Shelves, State};
use crate::wakeups::Work;

#[async_trait]
impl Broker for Store {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        let (mut state, now) = self.locked();
        // What is due joined its lane before what is published now (B7).
        state.shelves.promote(now);
        let publish = |publication| state.publish(publication, now);
        let published = publications.iter().map(publish).collect();
        self.room.work.ring();
        Ok(published)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let (mut state, now) = self.locked();
        state.shelves.rescue(now);
        state.shelves.promote(now);
        let mut deliveries = Vec::new();
        for queue in &claim.queues {
            if state.paused.contains(queue) {
                continue;
            }
            while deliveries.len() < claim.limit
                && let Some(id) = state.shelves.head(queue, now)
            {
                deliveries.extend(state.shelves.lease(id, claim, now));
            }
        }
        Ok(deliveries)
    }

    async fn renew(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Renewal>, StoreError> {
        let (mut state, now) = self.locked();
        let renew = |receipt| state.shelves.renew(receipt, now + lease);
        Ok(receipts.iter().map(renew).collect())
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        let (mut state, now) = self.locked();
        let settle = |settling| state.settle(settling, now);
        let settled = settlings.iter().map(settle).collect();
        self.room.work.ring();
        self.room.records.ring();
        Ok(settled)
    }

    async fn work(&self, _queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Work::new(self.clone())))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            is_shared: false,
            is_durable: false,
            keeps_records: true,
        }
    }
}

impl State {
    fn publish(&mut self, publication: &Publication, now: Timestamp) -> Published {
        let id = publication.id;
        let is_known = self.shelves.get(id).is_some()
            || self.shelves.is_remembered(id, now)
            || self.records.get(id, now).is_some();
        if is_known {
            return Published::AlreadyKnown;
        }
        let due = match publication.due {
            Due::Now => now,
            Due::After(delay) => now + delay,
            Due::At(time) => time,
        };
        let entry = Entry::new(publication);
        if due <= now {
            self.shelves.put_last(entry, now);
        } else {
            self.shelves.hold(entry, due, false);
        }
        Published::Stored
    }

    fn settle(&mut self, settling: &Settling, now: Timestamp) -> Settled {
        let Some(entry) = self.shelves.take_leased(&settling.receipt) else {
            return Settled::Lost;
        };
        if let Some(report) = settling.report.clone() {
            self.keep(report, entry.deliveries, now);
        }
        self.shelves.shelve(entry, settling, now);
        Settled::Done
    }
}

impl Shelves {
    fn lease(&mut self, id: EnvelopeId, claim: &Claim, now: Timestamp) -> Option<Delivery> {
        let entry = self.take(id)?;
        let entry = Entry {
            deliveries: entry.deliveries + 1,
            shelf: Shelf::Leased {
                worker: claim.worker.clone(),
                until: now + claim.lease,
            },
            ..entry
        };
        let delivery = entry.delivery(now);
        self.put(entry);
        Some(delivery)
    }

    /// Whether this receipt still proves a lease: numbers decide, not clocks (B4).
    fn is_leased(&self, receipt: &Receipt) -> bool {
        self.get(receipt.id).is_some_and(|entry| {
            matches!(entry.shelf, Shelf::Leased { .. }) && entry.deliveries == receipt.delivery
        })
    }

    fn take_leased(&mut self, receipt: &Receipt) -> Option<Entry> {
        if !self.is_leased(receipt) {
            return None;
        }
        self.take(receipt.id)
    }

    fn renew(&mut self, receipt: &Receipt, new_end: Timestamp) -> Renewal {
        let Some(mut entry) = self.take_leased(receipt) else {
            return Renewal::Lost;
        };
        if let Shelf::Leased { until, .. } = &mut entry.shelf {
            *until = new_end;
        }
        let cancelled = entry.cancelled;
        self.put(entry);
        cancelled.map_or(Renewal::Held, Renewal::Cancelled)
    }

    /// Puts an envelope where its settlement says. Whatever it is, its worker was not lost (B5).
    fn shelve(&mut self, entry: Entry, settling: &Settling, now: Timestamp) {
        let entry = Entry { losses: 0, ..entry };
        let is_cancelled = entry.cancelled.is_some();
        // What was cancelled meanwhile waits for nothing: its next delivery ends it (W7).
        let due = |delay| if is_cancelled { now } else { now + delay };
        match settling.settlement {
            Settlement::Ack => self.forget(&entry, now),
            Settlement::Retry(delay) => {
                let attempts = entry.attempts + 1;
                let entry = Entry {
                    attempts,
                    faults: 0,
                    ..entry
                };
                self.hold(entry, due(delay), true);
            }
            Settlement::Snooze(delay) => {
                let snoozes = entry.snoozes + 1;
                let entry = Entry {
                    snoozes,
                    faults: 0,
                    ..entry
                };
                self.hold(entry, due(delay), false);
            }
            Settlement::DeadLetter(reason) => {
                let error = settling.error.clone();
                let attempts = entry.attempts + u32::from(reason.charges_an_attempt());
                self.bury(
                    Entry { attempts, ..entry },
                    Shelf::Dead {
                        reason,
                        error,
                        at: now,
                    },
                );
            }
            Settlement::Release => self.put(Entry {
                shelf: Shelf::Lane,
                ..entry
            }),
            Settlement::ReleaseAfterFault(delay) => {
                let faults = entry.faults + 1;
                self.hold(Entry { faults, ..entry }, due(delay), false);
            }
        }
    }
}

impl Entry {
    fn delivery(&self, now: Timestamp) -> Delivery {
        Delivery {
            receipt: Receipt {
                id: self.id,
                delivery: self.deliveries,
                position: self.position,
            },
            queue: self.queue.clone(),
            task: self.task.clone(),
            bytes: self.bytes.clone(),
            generation: self.generation,
            attempts: self.attempts,
            losses: self.losses,
            snoozes: self.snoozes,
            faults: self.faults,
            is_cancelled: self.cancelled.is_some(),
            claimed_at: now,
        }
    }
}
