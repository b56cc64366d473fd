//! A worker on which a guest does its worst amid neighbours that are to notice nothing.

use serde_json::{Value, json};

use crate::host::TestHost;
use crate::worker::Worker;

const NEIGHBOURS: usize = 100;
/// Guests that misbehave, as many of them at once as there are slots.
const HOSTILE: usize = 8;
/// What a worker may keep of what they used: less than any two of them may use.
const KEPT: u64 = 48 << 20;

/// One worker, and the task that is to do its worst on it.
pub struct Arena {
    /// Its store, and the command.
    pub host: TestHost,
    worker: Worker,
    task: &'static str,
    resident: u64,
}

impl Arena {
    /// A worker of eight slots on this store, with its neighbours deployed.
    ///
    /// # Panics
    /// Where they do not finish.
    pub fn new(host: TestHost, task: &'static str) -> Self {
        let worker = host.worker(&["--concurrency", "8"]);
        let mut arena = Self {
            host: host.with_deployed(&["word-count"]),
            worker,
            task,
            resident: 0,
        };
        arena.assert_neighbours_finish();
        arena.resident = arena.worker.resident_bytes();
        arena
    }

    /// A hundred others are enqueued, and succeed.
    ///
    /// # Panics
    /// Where they do not.
    pub fn assert_neighbours_finish(&self) {
        let texts = (0..NEIGHBOURS).map(|number| json!({"text": format!("n{number}")}));
        let neighbours = self.host.enqueue_each("word-count", texts);
        let is_good = |id: &&String| self.host.outcome(id)["state"] == "succeeded";
        assert_eq!(neighbours.iter().filter(is_good).count(), NEIGHBOURS);
    }

    /// The worker holds little more than before.
    ///
    /// # Panics
    /// Where it does not in time.
    pub fn assert_memory_is_given_back(&self) {
        let limit = self.resident + KEPT;
        self.host.until("the worker's memory is given back", |_| {
            self.worker.resident_bytes() < limit
        });
    }

    /// Runs the task amid its neighbours, and gives how its attempts ended.
    pub fn run(&self, payload: &Value) -> Vec<Value> {
        let flags = ["--max-attempts", "1"];
        let bad: Vec<String> = (0..HOSTILE)
            .map(|_| self.host.enqueue(self.task, payload, &flags))
            .collect();
        self.assert_neighbours_finish();
        let outcomes = bad.iter().map(|id| self.host.outcome(id)).collect();
        self.assert_memory_is_given_back();
        outcomes
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
