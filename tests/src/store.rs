//! A test's store, read and written as it is: for what no command shows for thousands at once, or would do.

use std::error::Error as _;
use std::sync::Arc;

use stem_core::clock::{SystemClock, Timestamp};
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{Lookup, look_up_all};
use stem_core::names::Namespace;
use stem_core::store_error::StoreError;
use stem_core::stores::Stores;
use tokio::runtime::Runtime;

use crate::host::{PATIENCE, TestHost, now};

/// How many envelopes are looked up in one question.
const CHUNK: usize = 1_000;

/// The open store of a test.
pub struct TestStore {
    runtime: Runtime,
    stores: Stores,
}

impl TestStore {
    /// Opens the store that the test's commands work on, beside whoever else has it open.
    ///
    /// # Panics
    /// Where it does not open.
    pub fn of(host: &TestHost) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime starts");
        let stores = runtime.block_on(open(host)).expect("the store opens");
        Self { runtime, stores }
    }

    /// What the broker and the records know of each envelope; a store that is away is waited for.
    ///
    /// # Panics
    /// Where one is unknown, or the store does not answer.
    pub fn look_up(&self, ids: &[String]) -> Vec<Lookup> {
        let ids: Vec<EnvelopeId> = ids.iter().map(|id| id.parse().expect("an id")).collect();
        let chunks = ids
            .chunks(CHUNK)
            .flat_map(|chunk| self.look_up_chunk(chunk));
        chunks
            .map(|lookup| lookup.expect("nothing is lost"))
            .collect()
    }

    fn look_up_chunk(&self, ids: &[EnvelopeId]) -> Vec<Option<Lookup>> {
        let deadline = now() + PATIENCE;
        loop {
            match self.runtime.block_on(look_up_all(&self.stores, ids)) {
                Ok(found) => return found,
                Err(error) if error.is_transient() && now() < deadline => {}
                Err(error) => panic!("the store does not answer: {error}: {:?}", error.source()),
            }
        }
    }

    /// Returns when something has ended, at the latest after about a second.
    ///
    /// # Panics
    /// Where the store does not say what happens on it.
    pub fn wait_for_ends(&self) {
        let waited = self.runtime.block_on(async {
            let mut changes = self.stores.results.changes().await?;
            changes.next().await
        });
        waited.expect("the store says what happens");
    }

    /// The time as producers and workers on this machine read it.
    pub fn now(&self) -> Timestamp {
        self.stores.clock.now()
    }

    /// Does something with the store's seams.
    pub fn with<T>(&self, act: impl AsyncFnOnce(&Stores) -> T) -> T {
        self.runtime.block_on(act(&self.stores))
    }
}

async fn open(host: &TestHost) -> Result<Stores, StoreError> {
    let clock = SystemClock::shared();
    let namespace = host.variable("STEM_NAMESPACE").unwrap_or("stem");
    let namespace = Namespace::new(namespace).expect("a name");
    let url = host.variable("STEM_BROKER_URL");
    let url = url.expect("every test has a store");
    match url.strip_prefix("sqlite:") {
        Some(file) => {
            let path = host.path(file.split('?').next().unwrap_or(file));
            let options = stem_sqlite::Options::new(path, namespace, Arc::clone(&clock));
            let store = stem_sqlite::Store::open(options).await?;
            Ok(Stores::on_one(store, clock))
        }
        None => {
            let options = stem_redis::Options::new(url, namespace, clock);
            Ok(stem_redis::Store::open(options).await?.stores())
        }
    }
}
