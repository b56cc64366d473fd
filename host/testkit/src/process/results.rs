//! Reporting, and looking at what is kept.

use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::payload::StoredPayload;
use stem_core::record::{Progress, Record, Report};
use stem_core::result_store::{Fence, Reported};
use stem_core::state::{EndState, State};
use stem_core::usage_store::{UsageQuestion, UsageShare};

use super::{ANSWERS, Process};
use crate::builders::json;

impl Process {
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

    /// What one envelope is doing, as far as anybody knows.
    pub async fn state(&self, id: EnvelopeId) -> Option<State> {
        self.look_up(id).await.map(|lookup| lookup.state)
    }

    /// Makes a delivery known, and gives the end of its generation.
    pub async fn open(&self, fence: &Fence) -> Option<EndState> {
        self.stores.results.open(&[*fence]).await.expect(ANSWERS)[0]
    }

    /// Publishes progress.
    pub async fn save_progress(&self, fence: &Fence, progress: &Progress) -> Reported {
        let saved = self.stores.results.save_progress(fence, progress).await;
        saved.expect(ANSWERS)
    }

    /// Keeps this JSON as the checkpoint.
    pub async fn save_checkpoint(&self, fence: &Fence, text: &str) -> Reported {
        let checkpoint = StoredPayload::pack(json(text));
        let saved = self
            .stores
            .results
            .save_checkpoint(fence, &checkpoint)
            .await;
        saved.expect(ANSWERS)
    }

    /// The checkpoint that is kept.
    pub async fn checkpoint(&self, id: EnvelopeId) -> Option<StoredPayload> {
        let checkpoint = self.stores.results.load_checkpoint(id).await;
        checkpoint.expect(ANSWERS)
    }

    /// What attempts used.
    pub async fn usage(&self, question: &UsageQuestion) -> Vec<UsageShare> {
        self.stores.usage.usage(question).await.expect(ANSWERS)
    }

    /// The end that is recorded of one envelope.
    pub async fn recorded_end(&self, id: EnvelopeId) -> Option<EndState> {
        Some(self.record(id).await?.end?.state)
    }

    /// Removes everything that has outlived its retention, and says how many steps of this size that took.
    pub async fn sweep_by(&self, limit: usize) -> usize {
        let mut steps = 0;
        for upkeep in &self.stores.upkeep {
            while upkeep.sweep(limit).await.expect(ANSWERS) > 0 {
                steps += 1;
                // A sweep that never ends must not keep the test from ending.
                tokio::task::yield_now().await;
            }
        }
        steps
    }

    /// The same, where the steps do not matter.
    pub async fn sweep(&self) {
        self.sweep_by(100).await;
    }
}
