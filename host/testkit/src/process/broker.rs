//! Publishing, claiming, renewing and settling.

use std::time::Duration;

use stem_core::broker::{
    Claim, Delivery, Publication, Published, Renewal, Settled, Settling, Wakeups,
};
use stem_core::ids::EnvelopeId;
use stem_core::names::QueueName;
use stem_core::outcome::Settlement;
use stem_core::state::EndState;
use stem_core::store_error::StoreError;

use super::{ANSWERS, LONG, Process};
use crate::builders::{DEFAULT_QUEUE, ending, queue_name, settling};
use crate::fixture::Fixture;

impl Process {
    /// Publishes.
    pub async fn publish(&self, publications: &[Publication]) -> Vec<Published> {
        self.stores
            .broker
            .publish(publications)
            .await
            .expect(ANSWERS)
    }

    /// Publishes what nobody has published before.
    pub async fn add(&self, publication: &Publication) -> EnvelopeId {
        let published = self.publish(std::slice::from_ref(publication)).await;
        assert_eq!(published, [Published::Stored]);
        publication.id
    }

    /// Publishes many, all of them new, and gives their ids.
    pub async fn add_all(&self, publications: &[Publication]) -> Vec<EnvelopeId> {
        let published = self.publish(publications).await;
        assert!(
            published
                .iter()
                .all(|published| *published == Published::Stored)
        );
        publications
            .iter()
            .map(|publication| publication.id)
            .collect()
    }

    /// Claims from these queues.
    pub async fn claim_from(&self, queues: &[QueueName], limit: usize) -> Vec<Delivery> {
        let queues = queues.to_vec();
        self.claim_with(queues, limit, LONG).await
    }

    /// Claims from the default queue.
    pub async fn claim(&self, limit: usize) -> Vec<Delivery> {
        self.claim_from(&[queue_name(DEFAULT_QUEUE)], limit).await
    }

    /// Claims at most so many and gives their ids.
    pub async fn claim_ids(&self, limit: usize) -> Vec<EnvelopeId> {
        let deliveries = self.claim(limit).await;
        deliveries
            .iter()
            .map(|delivery| delivery.receipt.id)
            .collect()
    }

    /// Claims one, which must be there.
    pub async fn claim_one(&self) -> Delivery {
        self.claim(1)
            .await
            .pop()
            .expect("an envelope can be claimed")
    }

    /// Claims one, if there is one, for this time.
    pub async fn try_claim_for(&self, lease: Duration) -> Option<Delivery> {
        let queues = vec![queue_name(DEFAULT_QUEUE)];
        self.claim_with(queues, 1, lease).await.pop()
    }

    /// Claims one, which must be there, for this time.
    pub async fn claim_for(&self, lease: Duration) -> Delivery {
        let delivery = self.try_claim_for(lease).await;
        delivery.expect("an envelope can be claimed")
    }

    /// Claims at most so many, for so long.
    pub async fn claim_with(
        &self,
        queues: Vec<QueueName>,
        limit: usize,
        lease: Duration,
    ) -> Vec<Delivery> {
        let claim = self.a_claim(queues, limit, lease);
        self.stores.broker.claim(&claim).await.expect(ANSWERS)
    }

    fn a_claim(&self, queues: Vec<QueueName>, limit: usize, lease: Duration) -> Claim {
        Claim {
            worker: self.worker.clone(),
            queues,
            limit,
            lease,
        }
    }

    /// Claims from the default queue of a store that may fail.
    pub async fn try_claim(&self, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let claim = self.a_claim(vec![queue_name(DEFAULT_QUEUE)], limit, LONG);
        self.stores.broker.claim(&claim).await
    }

    /// Claims one and lets its lease end, as a worker does that is killed.
    pub async fn lose_one(&self, fixture: &dyn Fixture) -> Delivery {
        let delivery = self.claim_for(fixture.lease()).await;
        fixture.pass(fixture.lease()).await;
        delivery
    }

    /// Waits for work in the default queue.
    pub async fn work(&self) -> Box<dyn Wakeups> {
        let queues = [queue_name(DEFAULT_QUEUE)];
        self.stores.broker.work(&queues).await.expect(ANSWERS)
    }

    /// Claims as a worker does: asks, and waits for a wake-up before it asks again.
    pub async fn next_delivery(&self, wakeups: &mut dyn Wakeups) -> Delivery {
        loop {
            if let Some(delivery) = self.claim(1).await.pop() {
                return delivery;
            }
            wakeups.next().await.expect(ANSWERS);
        }
    }
}

impl Process {
    /// Prolongs one lease.
    pub async fn renew(&self, delivery: &Delivery, lease: Duration) -> Renewal {
        let renewals = self.stores.broker.renew(&[delivery.receipt], lease).await;
        renewals
            .expect(ANSWERS)
            .pop()
            .expect("one answer for one receipt")
    }

    /// Settles.
    pub async fn settle_all(&self, settlings: &[Settling]) -> Vec<Settled> {
        self.stores.broker.settle(settlings).await.expect(ANSWERS)
    }

    /// Settles one delivery, without a report.
    pub async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Settled {
        let settled = self.settle_all(&[settling(delivery, settlement)]).await;
        settled[0]
    }

    /// Ends one envelope, with its report.
    pub async fn end(&self, delivery: &Delivery, state: EndState) -> Settled {
        self.settle_all(&[ending(delivery, state)]).await[0]
    }

    /// Claims one, which must be there, and settles it without a report.
    pub async fn settle_next(&self, settlement: Settlement) -> Delivery {
        let delivery = self.claim_one().await;
        assert_eq!(self.settle(&delivery, settlement).await, Settled::Done);
        delivery
    }

    /// Claims one, which must be there, and ends it with its report.
    pub async fn end_next(&self, state: EndState) -> Delivery {
        let delivery = self.claim_one().await;
        assert_eq!(self.end(&delivery, state).await, Settled::Done);
        delivery
    }
}
