//! The seams of one server, held together.

use std::sync::Arc;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::control::Control;
use crate::dead_letters::DeadLetters;
use crate::key_value::KeyValue;
use crate::module_store::ModuleStore;
use crate::queues::Queues;
use crate::result_store::ResultStore;
use crate::upkeep::Upkeep;
use crate::usage_store::UsageStore;

/// Everything that a client or a worker asks of its stores.
#[derive(Clone)]
pub struct Stores {
    /// Publishes, leases and settles.
    pub broker: Arc<dyn Broker>,
    /// Looks after queues.
    pub queues: Arc<dyn Queues>,
    /// Looks after dead letters.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Keeps records.
    pub results: Arc<dyn ResultStore>,
    /// Keeps buckets of keys and values, beside the records.
    pub key_value: Arc<dyn KeyValue>,
    /// Sums up what attempts used.
    pub usage: Arc<dyn UsageStore>,
    /// Keeps modules and deployments.
    pub modules: Arc<dyn ModuleStore>,
    /// Carries commands and heartbeats.
    pub control: Arc<dyn Control>,
    /// Removes what has expired: one entry for each server.
    pub upkeep: Vec<Arc<dyn Upkeep>>,
    /// The clock that producers and workers read.
    pub clock: Arc<dyn Clock>,
}

impl Stores {
    /// All seams on one server.
    pub fn on_one<S>(store: Arc<S>, clock: Arc<dyn Clock>) -> Self
    where
        S: Broker + Queues + DeadLetters + ResultStore + 'static,
        S: UsageStore + KeyValue + ModuleStore + Control + Upkeep,
    {
        Self {
            broker: Arc::clone(&store) as _,
            queues: Arc::clone(&store) as _,
            dead_letters: Arc::clone(&store) as _,
            results: Arc::clone(&store) as _,
            key_value: Arc::clone(&store) as _,
            usage: Arc::clone(&store) as _,
            modules: Arc::clone(&store) as _,
            control: Arc::clone(&store) as _,
            upkeep: vec![store as _],
            clock,
        }
    }
}
