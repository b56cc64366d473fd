//! A test's store file, read and written as it is: for what no command shows for thousands at once, or would do.

use std::sync::Arc;

use stem_core::clock::SystemClock;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{Lookup, look_up_all};
use stem_core::names::Namespace;
use stem_core::stores::Stores;
use tokio::runtime::Runtime;

use crate::host::TestHost;

/// The open store of a test.
pub struct StoreFile {
    runtime: Runtime,
    stores: Stores,
}

impl StoreFile {
    /// Opens the store beside whatever else has it open.
    ///
    /// # Panics
    /// Where it does not open.
    pub fn of(host: &TestHost) -> Self {
        let clock = SystemClock::shared();
        let namespace = Namespace::new("stem").expect("a name");
        let path = host.path("stem.db");
        let options = stem_sqlite::Options::new(path, namespace, Arc::clone(&clock));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime starts");
        let store = runtime.block_on(stem_sqlite::Store::open(options));
        let stores = Stores::on_one(store.expect("the store opens"), clock);
        Self { runtime, stores }
    }

    /// What the broker and the records know of each envelope.
    ///
    /// # Panics
    /// Where one is unknown, or the store does not answer.
    pub fn look_up(&self, ids: &[String]) -> Vec<Lookup> {
        let ids: Vec<EnvelopeId> = ids.iter().map(|id| id.parse().expect("an id")).collect();
        let found = self.runtime.block_on(look_up_all(&self.stores, &ids));
        let found = found.expect("the store answers");
        found
            .into_iter()
            .map(|lookup| lookup.expect("nothing is lost"))
            .collect()
    }

    /// Does something with the store's seams.
    pub fn with<T>(&self, act: impl AsyncFnOnce(&Stores) -> T) -> T {
        self.runtime.block_on(act(&self.stores))
    }
}
