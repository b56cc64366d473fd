//! Commands that reach every live worker once, and the heartbeats that workers send (B12, W6).

use async_trait::async_trait;
use rusqlite::{Connection, Row};
use stem_core::broker::Wakeups;
use stem_core::clock::Timestamp;
use stem_core::control::{
    COMMAND_LIFETIME, Command, Commands, Control, DEAD_AFTER, FORGOTTEN_AFTER, Heartbeat,
    WorkerStatus,
};
use stem_core::names::WorkerName;
use stem_core::store_error::StoreError;

use crate::problem::Stepped;
use crate::rows::{self, millis, time};
use crate::store::{Changes, Store};
use crate::wake::Topic;

#[async_trait]
impl Control for Store {
    async fn broadcast(&self, command: &Command) -> Result<(), StoreError> {
        const SEND: &str = "INSERT INTO commands (number, namespace, expires_at, body)
            VALUES (?1, ?2, ?3, ?4)";
        let command = command.clone();
        self.write("broadcast a command", move |step| {
            let number = step.take_numbers(1)?;
            let expires_at = millis(step.now + COMMAND_LIFETIME);
            let body = rows::encode(&command)?;
            step.execute(SEND, (number, step.namespace, expires_at, body))?;
            step.wake(Topic::Control);
            Ok(())
        })
        .await
    }

    async fn listen(&self) -> Result<Box<dyn Commands>, StoreError> {
        const NEWEST: &str = "SELECT next - 1 FROM sequence";
        let changes = Changes::of(&self.shared, Topic::Control);
        let last = self
            .read("listen for commands", |connection| {
                let mut statement = connection.prepare_cached(NEWEST)?;
                Ok(statement.query_row([], |row| row.get(0))?)
            })
            .await?;
        Ok(Box::new(Listener { changes, last }))
    }

    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        const BEAT: &str = "INSERT INTO workers (namespace, worker, seen_at, body)
            VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET seen_at = ?3, body = ?4";
        let heartbeat = heartbeat.clone();
        self.write("send a heartbeat", move |step| {
            let worker = heartbeat.worker.as_str();
            let body = rows::encode(&heartbeat)?;
            step.execute(BEAT, (step.namespace, worker, millis(step.now), body))?;
            Ok(())
        })
        .await
    }

    async fn leave(&self, worker: &WorkerName) -> Result<(), StoreError> {
        const LEAVE: &str = "DELETE FROM workers WHERE namespace = ?1 AND worker = ?2";
        let worker = worker.clone();
        self.write("leave", move |step| {
            step.execute(LEAVE, (step.namespace, worker.as_str()))?;
            Ok(())
        })
        .await
    }

    async fn workers(&self) -> Result<Vec<WorkerStatus>, StoreError> {
        let (namespace, now) = (self.shared.namespace, self.now());
        self.read("list workers", move |connection| {
            workers(connection, namespace, now)
        })
        .await
    }
}

fn workers(connection: &Connection, namespace: i64, now: Timestamp) -> Stepped<Vec<WorkerStatus>> {
    const WORKERS: &str = "SELECT body, seen_at FROM workers
        WHERE namespace = ?1 AND seen_at > ?2 ORDER BY worker";
    let mut statement = connection.prepare_cached(WORKERS)?;
    let mut rows = statement.query((namespace, millis(now - FORGOTTEN_AFTER)))?;
    let mut workers = Vec::new();
    while let Some(row) = rows.next()? {
        let seen_at = time(row.get(1)?);
        workers.push(WorkerStatus {
            heartbeat: rows::decode("a heartbeat", blob(row)?)?,
            seen_at,
            is_dead: now.since(seen_at) > DEAD_AFTER,
        });
    }
    Ok(workers)
}

fn blob<'r>(row: &'r Row<'_>) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(0)?.as_blob()?)
}

/// Hears each command once, in order.
struct Listener {
    changes: Changes,
    last: i64,
}

#[async_trait]
impl Commands for Listener {
    async fn next(&mut self) -> Result<Vec<Command>, StoreError> {
        let commands = self.unheard().await?;
        if !commands.is_empty() {
            return Ok(commands);
        }
        self.changes.next().await?;
        self.unheard().await
    }
}

impl Listener {
    async fn unheard(&mut self) -> Result<Vec<Command>, StoreError> {
        let shared = &self.changes.shared;
        let (namespace, last) = (shared.namespace, self.last);
        let now = shared.options.clock.now();
        let commands = shared
            .read("listen for commands", move |connection| {
                unheard(connection, namespace, last, now)
            })
            .await?;
        if let Some((number, _)) = commands.last() {
            self.last = *number;
        }
        Ok(commands.into_iter().map(|(_, command)| command).collect())
    }
}

fn unheard(
    connection: &Connection,
    namespace: i64,
    last: i64,
    now: Timestamp,
) -> Stepped<Vec<(i64, Command)>> {
    const UNHEARD: &str = "SELECT body, number FROM commands
        WHERE number > ?2 AND namespace = ?1 AND expires_at > ?3 ORDER BY number";
    let mut statement = connection.prepare_cached(UNHEARD)?;
    let mut rows = statement.query((namespace, last, millis(now)))?;
    let mut commands = Vec::new();
    while let Some(row) = rows.next()? {
        let command = rows::decode("a command", blob(row)?)?;
        commands.push((row.get(1)?, command));
    }
    Ok(commands)
}
