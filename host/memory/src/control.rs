//! Commands to workers, and heartbeats from them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use stem_core::clock::Timestamp;
use stem_core::control::{
    COMMAND_LIFETIME, Command, Commands, Control, DEAD_AFTER, FORGOTTEN_AFTER, Heartbeat,
    WorkerStatus,
};
use stem_core::names::WorkerName;
use stem_core::store_error::StoreError;
use tokio::sync::watch;

use crate::server::Store;
use crate::wakeups::PULSE;

#[async_trait]
impl Control for Store {
    async fn broadcast(&self, command: &Command) -> Result<(), StoreError> {
        let (mut state, now) = self.locked();
        state.fleet.sent += 1;
        let number = state.fleet.sent;
        state.fleet.commands.insert(number, (now, command.clone()));
        self.room.commands.ring();
        Ok(())
    }

    async fn listen(&self) -> Result<Box<dyn Commands>, StoreError> {
        let bell = self.room.commands.listen();
        let read = self.locked().0.fleet.sent;
        Ok(Box::new(Listener {
            store: self.clone(),
            bell,
            read,
        }))
    }

    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        let (mut state, now) = self.locked();
        let worker = heartbeat.worker.clone();
        state.fleet.beats.insert(worker, (now, heartbeat.clone()));
        Ok(())
    }

    async fn leave(&self, worker: &WorkerName) -> Result<(), StoreError> {
        self.locked().0.fleet.beats.remove(worker);
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerStatus>, StoreError> {
        let (state, now) = self.locked();
        let beats = state.fleet.beats.values();
        let seen = beats.filter(|(seen_at, _)| now.since(*seen_at) <= FORGOTTEN_AFTER);
        let status = |(seen_at, heartbeat): &(Timestamp, Heartbeat)| WorkerStatus {
            heartbeat: heartbeat.clone(),
            seen_at: *seen_at,
            is_dead: now.since(*seen_at) > DEAD_AFTER,
        };
        Ok(seen.map(status).collect())
    }
}

/// The workers, and what they are told.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    commands: BTreeMap<u64, (Timestamp, Command)>,
    sent: u64,
    beats: BTreeMap<WorkerName, (Timestamp, Heartbeat)>,
}

impl Fleet {
    /// Commands later than this one that have not expired.
    fn since(&self, read: u64, now: Timestamp) -> Vec<Command> {
        let later = self.commands.range(read + 1..);
        let fresh = later.filter(|(_, (at, _))| now.since(*at) < COMMAND_LIFETIME);
        fresh.map(|(_, (_, command))| command.clone()).collect()
    }

    /// Removes commands that nobody reads any more, and workers that nobody has seen for long (R4).
    pub(crate) fn sweep(&mut self, now: Timestamp) -> usize {
        let before = self.commands.len() + self.beats.len();
        self.commands
            .retain(|_, (at, _)| now.since(*at) < COMMAND_LIFETIME);
        self.beats
            .retain(|_, (at, _)| now.since(*at) <= FORGOTTEN_AFTER);
        before - self.commands.len() - self.beats.len()
    }
}

/// Reads the commands from some moment on.
struct Listener {
    store: Store,
    bell: watch::Receiver<()>,
    read: u64,
}

#[async_trait]
impl Commands for Listener {
    async fn next(&mut self) -> Result<Vec<Command>, StoreError> {
        let commands = self.read();
        if !commands.is_empty() {
            return Ok(commands);
        }
        // The room holds the sender: only a ring or the pulse ends this.
        let _ = tokio::time::timeout(PULSE, self.bell.changed()).await;
        Ok(self.read())
    }
}

impl Listener {
    fn read(&mut self) -> Vec<Command> {
        let (state, now) = self.store.locked();
        let commands = state.fleet.since(self.read, now);
        self.read = state.fleet.sent;
        commands
    }
}
