//! Commands that reach every live worker once, and the heartbeats that workers send (B12, W6).

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;
use stem_core::clock::{Timestamp, in_millis};
use stem_core::control::{
    COMMAND_LIFETIME, Command, Commands, Control, DEAD_AFTER, FORGOTTEN_AFTER, Heartbeat,
    WorkerStatus,
};
use stem_core::names::WorkerName;
use stem_core::store_error::StoreError;

use crate::bell::Topic;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::scripts;
use crate::store::{Shared, Store};
use crate::wakeups::Changes;

const LISTEN: &str = "listen for commands";
/// Bytes before a heartbeat: when it came.
const SEEN: usize = 8;

#[async_trait]
impl Control for Store {
    async fn broadcast(&self, command: &Command) -> Result<(), StoreError> {
        const SEND: &str = "broadcast a command";
        let mut call = self.call(&scripts::BROADCAST);
        let body = self.named(SEND, reply::encode(command))?;
        call.arg(in_millis(COMMAND_LIFETIME)).arg(body);
        self.run(SEND, &call).await?;
        Ok(())
    }

    async fn listen(&self) -> Result<Box<dyn Commands>, StoreError> {
        let changes = Changes::of(&self.shared, Topic::Commands);
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(format!("{}commands", self.shared.prefix));
        newest.arg("+").arg("-").arg("COUNT").arg(1);
        let answer = self.ask_bulk(LISTEN, &newest).await?;
        Ok(Box::new(Listener {
            shared: Arc::clone(&self.shared),
            changes,
            last: self.named(LISTEN, last_number(answer))?,
        }))
    }

    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), StoreError> {
        const BEAT: &str = "send a heartbeat";
        let mut call = self.call(&scripts::BEAT);
        let body = self.named(BEAT, reply::encode(heartbeat))?;
        call.arg(heartbeat.worker.as_str()).arg(body);
        let answer = self.run(BEAT, &call).await?;
        let is_unknown = self.named(BEAT, reply::number(answer))? == 1;
        let is_first = self.shared.beating().insert(heartbeat.worker.clone());
        if is_unknown && !is_first {
            tracing::warn!(server = %self.shared.options.url, "the server came back empty: what it held is gone");
        }
        Ok(())
    }

    async fn leave(&self, worker: &WorkerName) -> Result<(), StoreError> {
        self.give_back(worker).await?;
        let mut call = self.call(&scripts::LEAVE);
        call.arg(worker.as_str());
        self.run("leave", &call).await?;
        self.shared.beating().remove(worker);
        Ok(())
    }

    async fn workers(&self) -> Result<Vec<WorkerStatus>, StoreError> {
        const LIST: &str = "list workers";
        let call = self.call(&scripts::WORKERS);
        let answer = self.run(LIST, &call).await?;
        self.named(LIST, workers(answer))
    }
}

fn workers(answer: Value) -> Stepped<Vec<WorkerStatus>> {
    let mut values = reply::list(answer)?.into_iter();
    let now = reply::time(reply::next(&mut values)?)?;
    let beats = reply::pairs(reply::next(&mut values)?)?;
    let workers = beats.iter().map(|(_, beat)| worker(beat, now));
    let mut workers: Vec<WorkerStatus> = workers.collect::<Stepped<_>>()?;
    workers.retain(|worker| now.since(worker.seen_at) <= FORGOTTEN_AFTER);
    workers.sort_by(|one, other| one.heartbeat.worker.cmp(&other.heartbeat.worker));
    Ok(workers)
}

fn worker(beat: &[u8], now: Timestamp) -> Stepped<WorkerStatus> {
    let short = || Problem::unreadable("a heartbeat", "it is too short");
    let (seen_at, body) = beat.split_at_checked(SEEN).ok_or_else(short)?;
    let seen_at = seen_at
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let seen_at = Timestamp::from_millis(seen_at);
    Ok(WorkerStatus {
        heartbeat: reply::decode("a heartbeat", body)?,
        seen_at,
        is_dead: now.since(seen_at) > DEAD_AFTER,
    })
}

/// The number of the newest command, before which nobody who begins to listen hears anything.
fn last_number(answer: Value) -> Stepped<String> {
    const NONE: &str = "0-0";
    let newest = reply::list(answer)?.into_iter().next();
    let Some(newest) = newest else {
        return Ok(NONE.to_owned());
    };
    reply::text(reply::next(&mut reply::list(newest)?.into_iter())?)
}

/// Hears each command once, in order.
struct Listener {
    shared: Arc<Shared>,
    changes: Changes,
    last: String,
}

#[async_trait]
impl Commands for Listener {
    async fn next(&mut self) -> Result<Vec<Command>, StoreError> {
        let commands = self.unheard().await?;
        if !commands.is_empty() {
            return Ok(commands);
        }
        self.changes.changed().await;
        self.unheard().await
    }
}

impl Listener {
    async fn unheard(&mut self) -> Result<Vec<Command>, StoreError> {
        let mut call = self.shared.call(&scripts::HEAR);
        call.arg(&self.last).arg(in_millis(COMMAND_LIFETIME));
        let answer = self.shared.run(LISTEN, &call).await?;
        let heard = self.read(answer);
        heard.map_err(|problem| self.shared.error(LISTEN, problem))
    }

    fn read(&mut self, answer: Value) -> Stepped<Vec<Command>> {
        let mut values = reply::list(answer)?.into_iter();
        let mut commands = Vec::with_capacity(values.len() / 2);
        while let Some(number) = values.next() {
            self.last = reply::text(number)?;
            let body = reply::bytes(reply::next(&mut values)?)?;
            commands.push(reply::decode("a command", &body)?);
        }
        Ok(commands)
    }
}
