//! Names, envelopes and what goes with them, made in one line each, so that a test shows only what it is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use stem_core::executor::{AttemptContext, AttemptFacts, CheckpointError, Run, Stop};
use stem_core::ids::EnvelopeId;
use stem_core::module_store::DeployedTask;
use stem_core::names::{QueueName, TaskName};
use stem_core::payload::Payload;
use stem_core::policy::{Limits, TaskPolicy};
use tokio::sync::watch;

use crate::clock::ManualClock;

/// A task's name.
pub fn task_name(name: &str) -> TaskName {
    TaskName::new(name).expect("a test's names keep the rule")
}

/// A task as a deployment has it.
pub fn deployed_task(name: &str, policy: TaskPolicy) -> DeployedTask {
    DeployedTask {
        name: task_name(name),
        description: String::new(),
        payload_schema: None,
        result_schema: None,
        policy,
    }
}

/// A queue's name.
pub fn queue_name(name: &str) -> QueueName {
    QueueName::new(name).expect("a test's names keep the rule")
}

/// One attempt to be run, with what tells it to stop; its context keeps nothing.
pub fn run(task: &str) -> (Run, watch::Sender<Stop>) {
    let (stop, signal) = watch::channel(Stop::No);
    let run = Run {
        facts: attempt_facts(task),
        payload: Payload::json(&serde_json::json!({})),
        limits: Limits::default(),
        stop: signal,
        context: Arc::new(NoContext),
    };
    (run, stop)
}

fn attempt_facts(task: &str) -> AttemptFacts {
    AttemptFacts {
        id: EnvelopeId::new(),
        task: task_name(task),
        queue: queue_name("default"),
        number: 1,
        max_attempts: 5,
        delivery: 1,
        enqueued_at: ManualClock::START,
        headers: BTreeMap::new(),
        attributes: Vec::new(),
    }
}

struct NoContext;

#[async_trait]
impl AttemptContext for NoContext {
    fn progress(&self, _fraction: f64, _note: String) {}

    async fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(None)
    }

    async fn save_checkpoint(&self, _checkpoint: Payload) -> Result<(), CheckpointError> {
        Ok(())
    }
}
