//! Looking after queues and dead letters.

use stem_core::broker::{Publication, Settled};
use stem_core::dead_letters::{DeadFilter, DeadLetter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::{CancelMode, Cancelling, EnvelopeStatus, Place, QueueStatus};
use stem_core::state::EndState;

use super::{ANSWERS, Process};
use crate::builders::{DEFAULT_QUEUE, queue_name, task_name};

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

    /// Ids of what waits in the default queue.
    pub async fn waiting(&self, limit: usize) -> Vec<EnvelopeId> {
        let queue = queue_name(DEFAULT_QUEUE);
        let waiting = self.stores.queues.waiting(&queue, limit).await;
        waiting.expect(ANSWERS)
    }

    /// How many envelopes wait for each of these tasks, by name.
    pub async fn count_waiting(&self, tasks: &[&str]) -> Vec<(String, u64)> {
        let tasks = tasks.iter().map(|task| task_name(task)).collect();
        let counts = self.stores.queues.count_waiting(&tasks).await;
        let counts = counts.expect(ANSWERS).into_iter();
        counts
            .map(|(task, count)| (task.to_string(), count))
            .collect()
    }
}

/// Dead letters.
impl Process {
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

    /// One dead letter.
    pub async fn letter(&self, id: EnvelopeId) -> Option<DeadLetter> {
        let letters = self.stores.dead_letters.show(&[id]).await.expect(ANSWERS);
        letters.into_iter().next().expect("one answer for one id")
    }

    /// Removes dead letters.
    pub async fn remove(&self, ids: &[EnvelopeId]) -> Vec<bool> {
        self.stores.dead_letters.remove(ids).await.expect(ANSWERS)
    }
}
