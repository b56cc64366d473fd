//! What a task knows about the attempt that it is.

use std::time::{Duration, SystemTime};

/// One execution of one envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The envelope's id (UUID v7): the same on every attempt, so it serves as an idempotency key.
    pub id: String,
    /// The task's name.
    pub task: String,
    /// The queue that the envelope came from.
    pub queue: String,
    /// 1 for the first attempt; one that was not charged leaves its number to the next.
    pub number: u32,
    /// Attempts in all, the first included.
    pub max_attempts: u32,
    /// Counts every delivery, charged or not: with `id` it names this execution.
    pub delivery: u32,
    /// When the producer enqueued the envelope.
    pub enqueued_at: SystemTime,
    /// How long after its start the host asks the attempt to stop.
    pub soft_time_limit: Option<Duration>,
    /// How long after its start the host ends the attempt by force.
    pub hard_time_limit: Duration,
    /// What the producer attached.
    pub headers: Vec<(String, String)>,
    /// What the host adds, under documented names; ignore what you do not know.
    pub attributes: Vec<(String, String)>,
}

impl Attempt {
    /// The producer's header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The host's attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// Whether a failure of this attempt is the last one.
    pub fn is_last(&self) -> bool {
        self.number >= self.max_attempts
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}
