//! A process as the stores see it: a producer, a worker or a person, with the calls that promises are made of.
//!
//! Stores under test are expected to answer: an error of theirs ends the test.

mod broker;
mod control;
mod key_value;
mod modules;
mod queues;
mod results;

pub use control::Listener;

use std::time::Duration;

use stem_core::names::WorkerName;
use stem_core::stores::Stores;

use crate::builders::worker_name;
use crate::fixture::Fixture;

const ANSWERS: &str = "the store under test answers";

/// A lease, or a delay, that no test outlasts.
pub const LONG: Duration = Duration::from_secs(3_600);
/// How long something may take that is promised within 250 ms or less.
pub const SOON: Duration = Duration::from_secs(5);
/// How often something is done that must wake a waiting process each time, and how long that may take in all: long
/// enough for a busy machine, too short for a store that only looks once a second.
pub const ROUNDS: (u32, Duration) = (20, Duration::from_secs(10));

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

/// What this gives, if it gives it in time.
pub async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    let outcome = tokio::time::timeout(limit, future).await;
    outcome.unwrap_or_else(|_| panic!("nothing happened within {limit:?}"))
}
