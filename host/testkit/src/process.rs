//! A process as the stores see it: a producer, a worker or a person, with the calls that promises are made of.
//!
//! Stores under test are expected to answer: an error of theirs ends the test.

use std::time::Duration;

use stem_core::broker::{
    Claim, Delivery, Publication, Published, Renewal, Settled, Settling, Wakeups,
};
use stem_core::control::Commands;
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::module_store::{Activated, Activation};
use stem_core::names::{QueueName, WorkerName};
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::{CancelMode, Cancelling, EnvelopeStatus, Place, QueueStatus};
use stem_core::record::{Record, Report};
use stem_core::result_store::Reported;
use stem_core::state::EndState;
use stem_core::stores::Stores;

use crate::builders::{DEFAULT_QUEUE, ending, queue_name, settling, worker_name};
use crate::fixture::Fixture;

const ANSWERS: &str = "the store under test answers";

/// A lease that no test outlasts.
pub const LONG: Duration = Duration::from_secs(3_600);

/// One process and its handle on the stores.
pub struct Process {
    /// What it works with.
    pub stores: Stores,
    /// The name under which it claims.
    pub worker: WorkerName,
}

impl Process {
    /// The process that a test is seen from.
    pub async fn here(fixture: &dyn Fixture) -> Self {
        Self::named("here", fixture.stores().await)
    }

    /// Two processes on the same data.
    pub async fn two(fixture: &dyn Fixture) -> (Self, Self) {
        let there = Self::named("there", fixture.second_handle().await);
        (Self::here(fixture).await, there)
    }

    /// Two processes in different namespaces of one server.
    pub async fn strangers(fixture: &dyn Fixture) -> (Self, Self) {
        let stranger = Self::named("stranger", fixture.other_namespace().await);
        (Self::here(fixture).await, stranger)
    }

    /// A process of this name.
    pub fn named(worker: &str, stores: Stores) -> Self {
        let worker = worker_name(worker);
        Self { stores, worker }
    }
}

/// Publishing and claiming.
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

    async fn claim_with(
        &self,
        queues: Vec<QueueName>,
        limit: usize,
        lease: Duration,
    ) -> Vec<Delivery> {
        let claim = Claim {
            worker: self.worker.clone(),
            queues,
            limit,
            lease,
        };
        self.stores.broker.claim(&claim).await.expect(ANSWERS)
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

/// Renewing and settling.
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

    /// Publishes an envelope, runs it once and sets it aside, with its report.
    pub async fn bury(&self, publication: &Publication) -> EnvelopeId {
        self.add(publication).await;
        let queue = publication.queue.clone();
        let deliveries = self.claim_from(&[queue], 1).await;
        assert_eq!(deliveries[0].receipt.id, publication.id);
        assert_eq!(
            self.end(&deliveries[0], EndState::Failed).await,
            Settled::Done
        );
        publication.id
    }

    /// The same for another reason, without a report.
    pub async fn bury_as(&self, publication: &Publication, reason: DeadReason) -> EnvelopeId {
        self.add(publication).await;
        let queue = publication.queue.clone();
        let deliveries = self.claim_from(&[queue], 1).await;
        let settlement = Settlement::DeadLetter(reason);
        assert_eq!(self.settle(&deliveries[0], settlement).await, Settled::Done);
        publication.id
    }
}

/// Looking and steering.
impl Process {
    /// What the broker holds of one envelope.
    pub async fn find(&self, id: EnvelopeId) -> Option<EnvelopeStatus> {
        let statuses = self.stores.queues.find(&[id]).await.expect(ANSWERS);
        statuses.into_iter().next().expect("one answer for one id")
    }

    /// Where one envelope stands.
    pub async fn place(&self, id: EnvelopeId) -> Option<Place> {
        self.find(id).await.map(|status| status.place)
    }

    /// Every queue.
    pub async fn queues(&self) -> Vec<QueueStatus> {
        self.stores.queues.queues().await.expect(ANSWERS)
    }

    /// What the default queue holds: queued, scheduled, running, dead.
    pub async fn counts(&self) -> [u64; 4] {
        let queues = self.queues().await;
        let queue = queues
            .iter()
            .find(|queue| queue.name.as_str() == DEFAULT_QUEUE);
        queue.map_or([0; 4], |queue| {
            [queue.queued, queue.scheduled, queue.running, queue.dead]
        })
    }

    /// Pauses or resumes the default queue.
    pub async fn set_paused(&self, is_paused: bool) {
        let queue = queue_name(DEFAULT_QUEUE);
        self.stores
            .queues
            .set_paused(&queue, is_paused)
            .await
            .expect(ANSWERS);
    }

    /// Cancels one envelope.
    pub async fn cancel(&self, id: EnvelopeId, mode: CancelMode) -> Cancelling {
        let cancelled = self.stores.queues.cancel(&[id], mode).await.expect(ANSWERS);
        cancelled[0]
    }

    /// The dead letters that the filter lets through, newest first.
    pub async fn dead(&self, filter: &DeadFilter) -> Vec<EnvelopeId> {
        let page = Page {
            after: None,
            limit: 100,
            is_oldest_first: false,
        };
        self.dead_page(filter, &page).await
    }

    /// One page of the dead letters.
    pub async fn dead_page(&self, filter: &DeadFilter, page: &Page) -> Vec<EnvelopeId> {
        let letters = self
            .stores
            .dead_letters
            .list(filter, page)
            .await
            .expect(ANSWERS);
        letters.iter().map(|letter| letter.id).collect()
    }

    /// Replays dead letters.
    pub async fn replay(&self, ids: &[EnvelopeId]) -> Vec<bool> {
        self.stores.dead_letters.replay(ids).await.expect(ANSWERS)
    }

    /// Reports to the result store alone.
    pub async fn report(&self, report: &Report) -> Reported {
        let reports = std::slice::from_ref(report);
        self.stores.results.report(reports).await.expect(ANSWERS)[0]
    }

    /// The record of one envelope.
    pub async fn record(&self, id: EnvelopeId) -> Option<Record> {
        let records = self.stores.results.records(&[id]).await.expect(ANSWERS);
        records.into_iter().next().expect("one answer for one id")
    }

    /// What both stores know of one envelope.
    pub async fn look_up(&self, id: EnvelopeId) -> Option<Lookup> {
        lookup::look_up(&self.stores, id).await.expect(ANSWERS)
    }

    /// Waits for the end of one envelope.
    pub async fn wait(&self, id: EnvelopeId) -> Option<Lookup> {
        lookup::wait(&self.stores, id, |_| {}).await.expect(ANSWERS)
    }

    /// Deploys.
    pub async fn activate(&self, activation: &Activation) -> Activated {
        self.stores
            .modules
            .activate(activation)
            .await
            .expect(ANSWERS)
    }

    /// Listens for commands from now on.
    pub async fn listen(&self) -> Box<dyn Commands> {
        self.stores.control.listen().await.expect(ANSWERS)
    }

    /// Removes everything that has outlived its retention.
    pub async fn sweep(&self) {
        for upkeep in &self.stores.upkeep {
            while upkeep.sweep(100).await.expect(ANSWERS) > 0 {}
        }
    }
}

/// How long something may take that is promised within 250 ms or less.
pub const SOON: Duration = Duration::from_secs(5);

/// What this gives, if it gives it in time.
pub async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    let outcome = tokio::time::timeout(limit, future).await;
    outcome.unwrap_or_else(|_| panic!("nothing happened within {limit:?}"))
}
