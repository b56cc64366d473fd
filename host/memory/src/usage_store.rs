//! What attempts used, summed by the hour.

use std::collections::BTreeMap;

use async_trait::async_trait;
use stem_core::clock::Timestamp;
use stem_core::store_error::StoreError;
use stem_core::usage::{UsageKey, UsageSums, first_kept_hour, hour_of};
use stem_core::usage_store::{UsageBy, UsageQuestion, UsageShare, UsageStore};

use crate::server::Store;

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, question: &UsageQuestion) -> Result<Vec<UsageShare>, StoreError> {
        let (state, _) = self.locked();
        let mut shares: BTreeMap<Option<&str>, UsageSums> = BTreeMap::new();
        for (key, sums) in state.usage.of(question) {
            let name = match question.by {
                UsageBy::Task => Some(key.task.as_str()),
                UsageBy::Queue => Some(key.queue.as_str()),
                UsageBy::Tenant => key.tenant.as_deref(),
            };
            shares.entry(name).or_default().add(sums);
        }
        let share = |(name, sums): (Option<&str>, UsageSums)| UsageShare {
            name: name.map(str::to_owned),
            sums,
        };
        Ok(shares.into_iter().map(share).collect())
    }
}

/// Sums by the beginning of their hour, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Hours(BTreeMap<Timestamp, BTreeMap<UsageKey, UsageSums>>);

impl Hours {
    /// Adds what was used to the hour that is.
    pub(crate) fn add(&mut self, key: UsageKey, sums: &UsageSums, now: Timestamp) {
        let hour = self.0.entry(hour_of(now)).or_default();
        let key = match hour.contains_key(&key) {
            true => key,
            false => key.among(hour.len()),
        };
        hour.entry(key).or_default().add(sums);
    }

    fn of<'a>(
        &'a self,
        question: &'a UsageQuestion,
    ) -> impl Iterator<Item = (&'a UsageKey, &'a UsageSums)> {
        let is_asked_for = |(key, _): &(&UsageKey, &UsageSums)| {
            let tenant = question.tenant.as_ref();
            question.task.as_ref().is_none_or(|task| *task == key.task)
                && question
                    .queue
                    .as_ref()
                    .is_none_or(|queue| *queue == key.queue)
                && tenant.is_none_or(|tenant| key.tenant.as_ref() == Some(tenant))
        };
        let hours = self.0.range(question.since..);
        hours.flat_map(|(_, hour)| hour).filter(is_asked_for)
    }

    /// Removes at most about so many sums that have been kept long enough (R4).
    pub(crate) fn sweep(&mut self, now: Timestamp, limit: usize) -> usize {
        let mut swept = 0;
        while swept < limit
            && let Some(oldest) = self.0.first_entry()
            && *oldest.key() < first_kept_hour(now)
        {
            swept += oldest.remove().len();
        }
        swept
    }
}
