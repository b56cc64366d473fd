//! Commands and heartbeats.

use stem_core::control::{Command, Commands, Heartbeat, WorkerStatus};

use super::{ANSWERS, Process, SOON, within};
use crate::builders::worker_name;

impl Process {
    /// Sends a command to whoever listens.
    pub async fn broadcast(&self, command: &Command) {
        let sent = self.stores.control.broadcast(command).await;
        sent.expect(ANSWERS);
    }

    /// Listens from now on.
    pub async fn listen(&self) -> Listener {
        Listener(self.stores.control.listen().await.expect(ANSWERS))
    }

    /// Sends a heartbeat.
    pub async fn beat(&self, heartbeat: &Heartbeat) {
        self.stores.control.beat(heartbeat).await.expect(ANSWERS);
    }

    /// Says that a worker has stopped in order.
    pub async fn leave(&self, worker: &str) {
        let left = self.stores.control.leave(&worker_name(worker)).await;
        left.expect(ANSWERS);
    }

    /// Every worker that was seen lately.
    pub async fn workers(&self) -> Vec<WorkerStatus> {
        self.stores.control.workers().await.expect(ANSWERS)
    }
}

/// Somebody who listens for commands.
pub struct Listener(Box<dyn Commands>);

impl Listener {
    /// What one call gives.
    pub async fn next(&mut self) -> Vec<Command> {
        self.0.next().await.expect(ANSWERS)
    }

    /// The next commands, however many calls it takes until there are so many.
    pub async fn hear(&mut self, number: usize) -> Vec<Command> {
        let hearing = async {
            let mut heard = Vec::new();
            while heard.len() < number {
                heard.extend(self.next().await);
            }
            heard
        };
        within(SOON, hearing).await
    }
}
