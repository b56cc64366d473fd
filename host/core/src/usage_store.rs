//! The usage store's seam: what attempts used, summed by task, queue or tenant (S8).
//!
//! Nobody writes to it: the result store adds each attempt once, in the step that adds it to its record, whatever
//! becomes of the record. So a store implements both, and sums outlive records.

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::names::{QueueName, TaskName};
use crate::store_error::StoreError;
use crate::usage::UsageSums;

/// Sums up what attempts used.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// What was used in the hours that the question is about, by name; those without a name come first.
    async fn usage(&self, question: &UsageQuestion) -> Result<Vec<UsageShare>, StoreError>;
}

/// Whose usage, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuestion {
    /// What a share is one of.
    pub by: UsageBy,
    /// The beginning of the first hour: of an hour that began earlier, nothing is counted.
    pub since: Timestamp,
    /// Of this task alone.
    pub task: Option<TaskName>,
    /// Of this queue alone.
    pub queue: Option<QueueName>,
    /// Of this tenant alone.
    pub tenant: Option<String>,
}

/// What usage is shared out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// By task.
    Task,
    /// By the queue that envelopes were claimed from.
    Queue,
    /// By the tenant that envelopes name.
    Tenant,
}

/// What one task, queue or tenant used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageShare {
    /// Its name; nothing for envelopes that name no tenant.
    pub name: Option<String>,
    /// What its attempts used.
    pub sums: UsageSums,
}
