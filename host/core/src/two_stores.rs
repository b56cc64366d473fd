//! Broker on one server, records on another: record first, then settle (R2, W8).
//!
//! A crash between the two leaves a record that says "ended" and an envelope that still lies in the broker. Its next
//! claim reads the ends of the whole batch in one round trip and settles those without running them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use crate::clock::Clock;
use crate::dead_letters::{DeadFilter, DeadLetter, DeadLetters, Page};
use crate::ids::EnvelopeId;
use crate::names::{QueueName, TaskName};
use crate::outcome::{DeadReason, Settlement};
use crate::queues::{CancelMode, Cancelling, EnvelopeStatus, Place, QueueStatus, Queues};
use crate::record::Report;
use crate::result_store::{Fence, ResultStore};
use crate::state::EndState;
use crate::store_error::StoreError;
use crate::stores::Stores;

/// Joins a broker's server with a result store's: modules and control stay with the broker.
pub fn join(broker_side: Stores, result_side: &Stores) -> Stores {
    let joined = Arc::new(TwoStores {
        broker: Arc::clone(&broker_side.broker),
        queues: Arc::clone(&broker_side.queues),
        dead_letters: Arc::clone(&broker_side.dead_letters),
        results: Arc::clone(&result_side.results),
        clock: Arc::clone(&broker_side.clock),
    });
    let upkeep = broker_side
        .upkeep
        .iter()
        .chain(&result_side.upkeep)
        .cloned()
        .collect();
    Stores {
        broker: Arc::clone(&joined) as _,
        queues: Arc::clone(&joined) as _,
        dead_letters: joined,
        results: Arc::clone(&result_side.results),
        key_value: Arc::clone(&result_side.key_value),
        usage: Arc::clone(&result_side.usage),
        upkeep,
        ..broker_side
    }
}

struct TwoStores {
    broker: Arc<dyn Broker>,
    queues: Arc<dyn Queues>,
    dead_letters: Arc<dyn DeadLetters>,
    results: Arc<dyn ResultStore>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Broker for TwoStores {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        let ids: Vec<EnvelopeId> = publications
            .iter()
            .map(|publication| publication.id)
            .collect();
        let records = self.results.records(&ids).await?;
        let fresh: Vec<Publication> = publications
            .iter()
            .zip(&records)
            .filter(|(_, record)| record.is_none())
            .map(|(publication, _)| publication.clone())
            .collect();
        let mut published = self.broker.publish(&fresh).await?.into_iter();
        let answer = |record: &Option<_>| match record {
            Some(_) => Published::AlreadyKnown,
            None => published.next().unwrap_or(Published::Stored),
        };
        Ok(records.iter().map(answer).collect())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let deliveries = self.broker.claim(claim).await?;
        let sorted = self.without_leftovers(&deliveries).await;
        if sorted.is_err() {
            self.give_back(&deliveries).await;
        }
        sorted
    }

    async fn renew(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Renewal>, StoreError> {
        self.broker.renew(receipts, lease).await
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        let reports: Vec<Report> = settlings
            .iter()
            .filter_map(|settling| settling.report.clone())
            .collect();
        if !reports.is_empty() {
            // A stale report is no reason to stop: the broker's own fence decides what becomes of the delivery.
            self.results.report(&reports).await?;
        }
        let bare: Vec<Settling> = settlings
            .iter()
            .map(|settling| Settling {
                report: None,
                ..settling.clone()
            })
            .collect();
        self.broker.settle(&bare).await
    }

    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        self.broker.work(queues).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            keeps_records: false,
            ..self.broker.capabilities()
        }
    }
}

impl TwoStores {
    /// What of this has not ended; the rest is settled.
    async fn without_leftovers(
        &self,
        deliveries: &[Delivery],
    ) -> Result<Vec<Delivery>, StoreError> {
        if deliveries.is_empty() {
            return Ok(Vec::new());
        }
        let fences: Vec<Fence> = deliveries.iter().map(fence).collect();
        let ends = self.results.open(&fences).await?;
        let mut fresh = Vec::with_capacity(deliveries.len());
        let mut leftovers = Vec::new();
        for (delivery, end) in deliveries.iter().zip(ends) {
            match end {
                None => fresh.push(delivery.clone()),
                Some(end) => leftovers.push(self.leftover(delivery, end).await?),
            }
        }
        if !leftovers.is_empty() {
            self.broker.settle(&leftovers).await?;
        }
        Ok(fresh)
    }

    /// Releases what no worker gets to see: a lease that ends would count as a lost worker, and make poison of what is
    /// healthy (B5).
    async fn give_back(&self, deliveries: &[Delivery]) {
        let release = |delivery: &Delivery| Settling {
            receipt: delivery.receipt,
            settlement: Settlement::Release,
            error: None,
            report: None,
        };
        let releases: Vec<Settling> = deliveries.iter().map(release).collect();
        if let Err(error) = self.broker.settle(&releases).await {
            let count = releases.len();
            tracing::warn!(%error, count, "what was claimed was not given back: its leases will end");
        }
    }

    /// How an envelope whose end is recorded already leaves the broker.
    async fn leftover(&self, delivery: &Delivery, end: EndState) -> Result<Settling, StoreError> {
        let mut settling = Settling {
            receipt: delivery.receipt,
            settlement: Settlement::Ack,
            error: None,
            report: None,
        };
        if end == EndState::Failed {
            let record = self
                .results
                .records(&[delivery.receipt.id])
                .await?
                .pop()
                .flatten();
            let end = record.and_then(|record| record.end);
            let reason = end
                .as_ref()
                .and_then(|end| end.reason)
                .unwrap_or(DeadReason::AttemptsExhausted);
            settling.settlement = Settlement::DeadLetter(reason);
            settling.error = end.and_then(|end| end.error);
        }
        Ok(settling)
    }

    async fn record_cancelled(&self, statuses: &[EnvelopeStatus]) -> Result<(), StoreError> {
        let now = self.clock.now();
        let reports: Vec<Report> = statuses
            .iter()
            .filter(|status| matches!(status.place, Place::Ready | Place::Held { .. }))
            .map(|status| Report::cancelled(status, now))
            .collect();
        if !reports.is_empty() {
            self.results.report(&reports).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Queues for TwoStores {
    async fn queues(&self) -> Result<Vec<QueueStatus>, StoreError> {
        self.queues.queues().await
    }

    async fn set_paused(&self, queue: &QueueName, is_paused: bool) -> Result<(), StoreError> {
        self.queues.set_paused(queue, is_paused).await
    }

    async fn find(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        self.queues.find(ids).await
    }

    async fn find_heads(
        &self,
        ids: &[EnvelopeId],
    ) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        self.queues.find_heads(ids).await
    }

    async fn waiting(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<Vec<EnvelopeId>, StoreError> {
        self.queues.waiting(queue, limit).await
    }

    async fn count_waiting(
        &self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, u64>, StoreError> {
        self.queues.count_waiting(tasks).await
    }

    async fn cancel(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Cancelling>, StoreError> {
        let statuses: Vec<EnvelopeStatus> =
            self.queues.find(ids).await?.into_iter().flatten().collect();
        self.record_cancelled(&statuses).await?;
        self.queues.cancel(ids, mode).await
    }
}

#[async_trait]
impl DeadLetters for TwoStores {
    async fn list(&self, filter: &DeadFilter, page: &Page) -> Result<Vec<DeadLetter>, StoreError> {
        self.dead_letters.list(filter, page).await
    }

    async fn list_heads(
        &self,
        filter: &DeadFilter,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.dead_letters.list_heads(filter, page).await
    }

    async fn count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        self.dead_letters.count(filter).await
    }

    async fn show(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<DeadLetter>>, StoreError> {
        self.dead_letters.show(ids).await
    }

    async fn replay(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        let dead = self.queues.find_heads(ids).await?;
        let replayed = self.dead_letters.replay(ids).await?;
        let revived: Vec<Report> = dead
            .iter()
            .zip(&replayed)
            .filter(|(_, is_replayed)| **is_replayed)
            .filter_map(|(dead, _)| dead.as_ref().map(Report::replayed))
            .collect();
        if !revived.is_empty()
            && let Err(error) = self.results.report(&revived).await
        {
            // They live again all the same, and the next report prolongs what is kept of them.
            tracing::warn!(%error, count = revived.len(), "records of replayed dead letters keep their time to go");
        }
        Ok(replayed)
    }

    async fn remove(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        self.dead_letters.remove(ids).await
    }
}

fn fence(delivery: &Delivery) -> Fence {
    Fence {
        id: delivery.receipt.id,
        generation: delivery.generation,
        delivery: delivery.receipt.delivery,
    }
}
