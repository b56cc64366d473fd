//! Records, checkpoints and progress, all fenced by delivery.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::Wakeups;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::payload::StoredPayload;
use stem_core::record::{LIVE_RECORD_RETENTION, Progress, Record, Report, kept_for};
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::state::EndState;
use stem_core::store_error::StoreError;

use crate::server::Store;
use crate::state::{Entry, Shelf, State};
use crate::wakeups::Changes;

#[async_trait]
impl ResultStore for Store {
    async fn report(&self, reports: &[Report]) -> Result<Vec<Reported>, StoreError> {
        let (mut state, now) = self.locked();
        let add = |report: &Report| {
            let newest = state.deliveries(report.id);
            state.keep(report.clone(), newest, now)
        };
        let reported = reports.iter().map(add).collect();
        self.room.records.ring();
        Ok(reported)
    }

    async fn open(&self, fences: &[Fence]) -> Result<Vec<Option<EndState>>, StoreError> {
        let (mut state, now) = self.locked();
        let open = |fence| state.records.open(fence, now);
        Ok(fences.iter().map(open).collect())
    }

    async fn records(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<Record>>, StoreError> {
        let (state, now) = self.locked();
        let record = |id: &EnvelopeId| state.records.get(*id, now).cloned();
        Ok(ids.iter().map(record).collect())
    }

    async fn save_progress(
        &self,
        fence: &Fence,
        progress: &Progress,
    ) -> Result<Reported, StoreError> {
        let (mut state, now) = self.locked();
        let newest = state.deliveries(fence.id);
        let reported = state.records.write(fence, newest, now, |kept| {
            let mut record = Record::continued(kept.record.take(), fence.id, fence.generation);
            record.progress = Some(progress.clone());
            kept.record = Some(record);
            LIVE_RECORD_RETENTION
        });
        self.room.records.ring();
        Ok(reported)
    }

    async fn save_checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &StoredPayload,
    ) -> Result<Reported, StoreError> {
        let (mut state, now) = self.locked();
        let newest = state.deliveries(fence.id);
        Ok(state.records.write(fence, newest, now, |kept| {
            kept.checkpoint = Some(checkpoint.clone());
            LIVE_RECORD_RETENTION
        }))
    }

    async fn load_checkpoint(&self, id: EnvelopeId) -> Result<Option<StoredPayload>, StoreError> {
        let (state, now) = self.locked();
        let kept = state.records.kept(id, now);
        Ok(kept.and_then(|kept| kept.checkpoint.clone()))
    }

    async fn changes(&self) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Changes::new(self)))
    }
}

impl State {
    /// Whether a delivery may write no more: a later one is known, its generation has ended, or no worker has it.
    pub(crate) fn is_stale(&self, fence: &Fence, now: Timestamp) -> bool {
        let is_idle = |entry: &Entry| !matches!(entry.shelf, Shelf::Leased { .. });
        self.shelves.get(fence.id).is_some_and(is_idle)
            || self.records.is_stale(fence, self.deliveries(fence.id), now)
    }

    /// The newest delivery that the broker itself knows of.
    fn deliveries(&self, id: EnvelopeId) -> u32 {
        self.shelves.get(id).map_or(0, |entry| entry.deliveries)
    }

    /// Adds a report to its record, and its attempt to the sums if it was not known before.
    pub(crate) fn keep(&mut self, report: Report, newest: u32, now: Timestamp) -> Reported {
        let record = self.records.get(report.id, now);
        let is_known = |attempt| record.is_some_and(|record| record.knows(attempt));
        let is_new = !report.attempt.as_ref().is_some_and(is_known);
        let used = report.usage().filter(|_| is_new);
        let reported = self.records.add(report, newest, now);
        if let (Reported::Written, Some((key, sums))) = (reported, used) {
            self.usage.add(key, &sums, now);
        }
        reported
    }
}

/// What is kept of envelopes beside the envelopes themselves.
#[derive(Debug, Default)]
pub(crate) struct Records {
    kept: HashMap<EnvelopeId, Kept>,
    expiries: BTreeSet<(Timestamp, EnvelopeId)>,
}

/// What is kept of one envelope.
#[derive(Debug, Default)]
struct Kept {
    record: Option<Record>,
    checkpoint: Option<StoredPayload>,
    /// The newest delivery known: earlier ones are stale (R1).
    delivery: u32,
    expires_at: Timestamp,
}

impl Records {
    pub(crate) fn get(&self, id: EnvelopeId, now: Timestamp) -> Option<&Record> {
        self.kept(id, now)?.record.as_ref()
    }

    fn kept(&self, id: EnvelopeId, now: Timestamp) -> Option<&Kept> {
        self.kept.get(&id).filter(|kept| kept.expires_at > now)
    }

    /// Adds a report to its record, unless `newest` or what is kept makes it stale (R1).
    fn add(&mut self, report: Report, newest: u32, now: Timestamp) -> Reported {
        let fence = Fence {
            id: report.id,
            generation: report.generation,
            delivery: report.delivery,
        };
        self.write(&fence, newest, now, |kept| {
            let end = report.end.as_ref().map(|end| end.state);
            let time = kept_for(end, report.retention);
            kept.record = Some(report.merge_into(kept.record.take()));
            // Only a replay can go on from a checkpoint.
            if end.is_some_and(|end| end != EndState::Failed) {
                kept.checkpoint = None;
            }
            time
        })
    }

    /// Lets what is kept of an envelope live on with it when it is replayed.
    pub(crate) fn revive(&mut self, id: EnvelopeId, now: Timestamp) {
        if self.kept(id, now).is_some() {
            let kept = self.take(id, now);
            let expires_at = kept.expires_at.max(now + LIVE_RECORD_RETENTION);
            self.put(id, Kept { expires_at, ..kept });
        }
    }

    /// Makes a delivery known, and gives the end that its generation has come to.
    fn open(&mut self, fence: &Fence, now: Timestamp) -> Option<EndState> {
        let mut kept = self.take(fence.id, now);
        kept.delivery = kept.delivery.max(fence.delivery);
        let record = kept.record.as_ref();
        let ended = record.filter(|record| record.generation == fence.generation);
        let end = ended.and_then(|record| Some(record.end.as_ref()?.state));
        let expires_at = match end {
            Some(_) => kept.expires_at,
            None => now + LIVE_RECORD_RETENTION,
        };
        self.put(fence.id, Kept { expires_at, ..kept });
        end
    }

    /// Changes what is kept and says for how long, unless the delivery is stale.
    fn write(
        &mut self,
        fence: &Fence,
        newest: u32,
        now: Timestamp,
        change: impl FnOnce(&mut Kept) -> Duration,
    ) -> Reported {
        if self.is_stale(fence, newest, now) {
            return Reported::Stale;
        }
        let mut kept = self.take(fence.id, now);
        kept.delivery = fence.delivery;
        kept.expires_at = now + change(&mut kept);
        self.put(fence.id, kept);
        Reported::Written
    }

    fn is_stale(&self, fence: &Fence, newest: u32, now: Timestamp) -> bool {
        let is_stale = |kept: &Kept| kept.delivery > fence.delivery || kept.is_ended(fence);
        newest > fence.delivery || self.kept(fence.id, now).is_some_and(is_stale)
    }

    fn take(&mut self, id: EnvelopeId, now: Timestamp) -> Kept {
        let kept = self.kept.remove(&id).unwrap_or_default();
        self.expiries.remove(&(kept.expires_at, id));
        if kept.expires_at > now {
            kept
        } else {
            Kept::default()
        }
    }

    fn put(&mut self, id: EnvelopeId, kept: Kept) {
        self.expiries.insert((kept.expires_at, id));
        self.kept.insert(id, kept);
    }

    /// Removes at most so many that have outlived their retention (R4).
    pub(crate) fn sweep(&mut self, now: Timestamp, limit: usize) -> usize {
        let mut swept = 0;
        while swept < limit
            && let Some(&(expires_at, id)) = self.expiries.first()
            && expires_at <= now
        {
            self.take(id, now);
            swept += 1;
        }
        swept
    }
}

impl Kept {
    fn is_ended(&self, fence: &Fence) -> bool {
        self.record.as_ref().is_some_and(|record| {
            record.generation > fence.generation
                || (record.generation == fence.generation && record.end.is_some())
        })
    }
}
