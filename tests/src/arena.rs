//! A worker on which a guest does its worst amid neighbours that are to notice nothing.

use std::iter::repeat_n;

use serde_json::{Value, json};
use stem_core::lookup::Lookup;
use stem_core::state::State;

use crate::host::TestHost;
use crate::store::TestStore;
use crate::worker::Worker;

/// Neighbours that are there before the guests that misbehave, and that come again and again while those run.
const NEIGHBOURS: usize = 100;
const MORE_NEIGHBOURS: usize = 20;
/// Guests that misbehave.
const HOSTILE: usize = 8;
/// Slots: as many as misbehave, and as many for their neighbours.
const SLOTS: &str = "16";
/// What a worker may keep of what they used: less than any one of them may use.
const KEPT: u64 = 16 << 20;

/// The tenant of those that misbehave.
pub const TENANT: &str = "hostile";

/// One worker, and the task that is to do its worst on it.
pub struct Arena {
    /// Its store, and the command.
    pub host: TestHost,
    store: TestStore,
    worker: Worker,
    task: &'static str,
    resident: u64,
    kept: u64,
}

impl Arena {
    /// A worker on this store, with its neighbours deployed.
    ///
    /// # Panics
    /// Where they do not finish.
    pub fn new(host: TestHost, task: &'static str) -> Self {
        let worker = host.worker(&["--concurrency", SLOTS]);
        let host = host.with_deployed(&["word-count"]);
        let mut arena = Self {
            store: TestStore::of(&host),
            host,
            worker,
            task,
            resident: 0,
            kept: KEPT,
        };
        arena.assert_neighbours_finish();
        arena.resident = arena.worker.resident_bytes();
        arena
    }

    /// Where the host itself works on so many bytes for each guest: its allocator keeps some of them for the next.
    pub fn keeping(mut self, bytes: u64) -> Self {
        self.kept = bytes;
        self
    }

    /// A hundred others are enqueued, and succeed.
    ///
    /// # Panics
    /// Where they do not.
    pub fn assert_neighbours_finish(&self) {
        self.assert_all_succeed(&self.neighbours(NEIGHBOURS));
    }

    fn neighbours(&self, count: usize) -> Vec<String> {
        let texts = (0..count).map(|number| json!({"text": format!("n{number}")}));
        self.host.enqueue_each("word-count", texts)
    }

    fn have_ended(&self, ids: &[String]) -> bool {
        let has_ended = |lookup: &Lookup| lookup.state.end().is_some();
        self.store.look_up(ids).iter().all(has_ended)
    }

    fn assert_all_succeed(&self, ids: &[String]) {
        self.host
            .until("the neighbours have ended", |_| self.have_ended(ids));
        for neighbour in self.store.look_up(ids) {
            assert_eq!(neighbour.state, State::Succeeded, "{neighbour:?}");
        }
    }

    /// The worker holds little more than before.
    ///
    /// # Panics
    /// Where it does not in time.
    pub fn assert_memory_is_given_back(&self) {
        let limit = self.resident + self.kept;
        self.host.until("the worker's memory is given back", |_| {
            self.worker.resident_bytes() < limit
        });
    }

    /// Runs the task amid its neighbours: some come before, and others until the last of its attempts has ended. Gives how
    /// those ended.
    pub fn run(&self, payload: &Value) -> Vec<Value> {
        let tenant = format!("tenant={TENANT}");
        let flags = ["--max-attempts", "1", "--header", tenant.as_str()];
        let mut neighbours = self.neighbours(NEIGHBOURS);
        let payloads = repeat_n(payload.clone(), HOSTILE);
        let bad = self.host.enqueue_each_with(self.task, payloads, &flags);
        self.host.until("the guests have ended", |_| {
            neighbours.extend(self.neighbours(MORE_NEIGHBOURS));
            self.have_ended(&bad)
        });
        self.assert_all_succeed(&neighbours);
        self.assert_memory_is_given_back();
        bad.iter().map(|id| self.host.outcome(id)).collect()
    }
}

/// Each of them failed with these fields in its error.
///
/// # Panics
/// Where one did not.
pub fn assert_all_failed(outcomes: &[Value], error: &Value) {
    let fields = error.as_object().expect("an object");
    for outcome in outcomes {
        assert_eq!(outcome["state"], "failed", "{outcome}");
        for (name, value) in fields {
            assert_eq!(&outcome["error"][name], value, "{outcome}");
        }
    }
}
