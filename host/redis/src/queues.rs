//! Counts, pauses, look-ups and cancellations.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName, WorkerName};
use stem_core::queues::{CancelMode, Cancelling, EnvelopeStatus, QueueStatus, Queues};
use stem_core::record::Report;
use stem_core::store_error::StoreError;

use crate::entry::{self, Entry};
use crate::problem::{Problem, Stepped};
use crate::records::{Draft, Kept};
use crate::reply;
use crate::scripts;
use crate::store::{Store, part_of};

const FIND: &str = "look envelopes up";
const COUNT_WAITING: &str = "count what waits for tasks";
const CANCEL: &str = "cancel";
/// How often an envelope that changes all the time is looked at.
const ROUNDS: usize = 16;

#[async_trait]
impl Queues for Store {
    async fn queues(&self) -> Result<Vec<QueueStatus>, StoreError> {
        const COUNT: &str = "count what queues hold";
        let call = self.call(&scripts::QUEUES);
        let mut answer = Value::Nil;
        while answer == Value::Nil {
            answer = self.run_bulk(COUNT, &call).await?;
        }
        let queues = reply::list(answer)
            .and_then(|queues| queues.into_iter().map(status).collect::<Stepped<Vec<_>>>());
        let mut queues = self.named(COUNT, queues)?;
        queues.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(queues)
    }

    async fn set_paused(&self, queue: &QueueName, is_paused: bool) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::PAUSE);
        call.arg(queue.as_str()).arg(u8::from(is_paused));
        self.run("pause or resume a queue", &call).await?;
        Ok(())
    }

    async fn find(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        let sights = self.look(ids, Wanted::Bytes).await?;
        Ok(sights.into_iter().map(shown).collect())
    }

    async fn find_heads(
        &self,
        ids: &[EnvelopeId],
    ) -> Result<Vec<Option<EnvelopeStatus>>, StoreError> {
        let sights = self.look(ids, Wanted::Heads).await?;
        Ok(sights.into_iter().map(shown).collect())
    }

    async fn waiting(
        &self,
        queue: &QueueName,
        limit: usize,
    ) -> Result<Vec<EnvelopeId>, StoreError> {
        const LIST: &str = "list waiting envelopes";
        let mut call = self.call(&scripts::WAITING);
        call.arg(queue.as_str()).arg(limit);
        let mut answer = Value::Nil;
        while answer == Value::Nil {
            answer = self.run_bulk(LIST, &call).await?;
        }
        let id = |value| reply::id(&reply::bytes(value)?);
        let ids = reply::list(answer).and_then(|ids| ids.into_iter().map(id).collect());
        self.named(LIST, ids)
    }

    async fn count_waiting(
        &self,
        tasks: &BTreeSet<TaskName>,
    ) -> Result<BTreeMap<TaskName, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for queue in self.queues().await? {
            self.count_in(&queue.name, "", tasks, &mut counts).await?;
            // Read afterwards, so that nothing that falls due in between is missed.
            for lane in self.lanes(&queue.name).await? {
                self.count_in(&queue.name, &lane, tasks, &mut counts)
                    .await?;
            }
        }
        Ok(counts)
    }

    async fn cancel(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Cancelling>, StoreError> {
        let mut outcomes = vec![None; ids.len()];
        for _ in 0..ROUNDS {
            let open = outcomes.iter().zip(ids).zip(0_usize..);
            let open = open.filter(|((outcome, _), _)| outcome.is_none());
            let (open, places): (Vec<EnvelopeId>, Vec<usize>) =
                open.map(|((_, id), place)| (*id, place)).unzip();
            if open.is_empty() {
                break;
            }
            let round = self.cancel_once(&open, mode).await?;
            for (place, outcome) in places.into_iter().zip(round) {
                outcomes[place] = outcome;
            }
        }
        let settled = outcomes.into_iter().collect::<Option<_>>();
        self.named(CANCEL, settled.ok_or_else(Problem::contended))
    }
}

/// An envelope as it was seen, and its record.
struct Sight {
    /// When that was.
    at: Timestamp,
    /// As it stands, not as it stands by now.
    status: EnvelopeStatus,
    /// What tells whether it has changed since.
    stamp: [u8; 8],
    kept: Option<Kept>,
}

/// What is wanted of envelopes, as the script takes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Heads = 0,
    Bytes = 1,
    BytesAndRecord = 3,
}

impl Store {
    /// The priorities of a queue's lanes.
    async fn lanes(&self, queue: &QueueName) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("HKEYS");
        command.arg(format!("{}lanes:{queue}", self.shared.prefix));
        let answer = self.ask_bulk(COUNT_WAITING, &command).await?;
        let lanes =
            reply::list(answer).and_then(|lanes| lanes.into_iter().map(reply::text).collect());
        self.named(COUNT_WAITING, lanes)
    }

    /// Counts what waits in one lane of a queue, or what is held there, a chunk at a time: the server stands still for
    /// none of them.
    async fn count_in(
        &self,
        queue: &QueueName,
        lane: &str,
        tasks: &BTreeSet<TaskName>,
        counts: &mut BTreeMap<TaskName, u64>,
    ) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let mut call = self.call(&scripts::COUNT_WAITING);
            call.arg(queue.as_str()).arg(lane).arg(&after);
            for task in tasks {
                call.arg(task.as_str());
            }
            let answer = self.run_bulk(COUNT_WAITING, &call).await?;
            let counted = counted(answer, tasks, counts);
            after = self.named(COUNT_WAITING, counted)?;
            if after.is_empty() {
                return Ok(());
            }
        }
    }

    async fn look(
        &self,
        ids: &[EnvelopeId],
        wanted: Wanted,
    ) -> Result<Vec<Option<Sight>>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        while found.len() < ids.len() {
            let part = part_of(ids, found.len());
            let mut call = self.call(&scripts::FIND);
            call.arg(wanted as u8);
            for id in part {
                call.arg(id.as_bytes());
            }
            let answer = match wanted {
                Wanted::Heads => self.run(FIND, &call).await?,
                Wanted::Bytes | Wanted::BytesAndRecord => self.run_bulk(FIND, &call).await?,
            };
            found.extend(self.named(FIND, sights(part, answer))?);
        }
        Ok(found)
    }

    /// Cancels what has not changed while it was looked at; nothing for what has.
    async fn cancel_once(
        &self,
        ids: &[EnvelopeId],
        mode: CancelMode,
    ) -> Result<Vec<Option<Cancelling>>, StoreError> {
        let sights = self.look(ids, Wanted::BytesAndRecord).await?;
        let mut call = self.call(&scripts::CANCEL);
        call.arg(match mode {
            CancelMode::Ask => entry::ASK,
            CancelMode::Now => entry::NOW,
        });
        for (id, sight) in ids.iter().zip(sights) {
            call.arg(id.as_bytes());
            match sight {
                None => call.arg("").arg("\0\0\0\x01").arg(1),
                Some(sight) => {
                    let report = Report::cancelled(&sight.status, sight.at);
                    let draft = Draft::of(&report, sight.kept.as_ref());
                    let draft = self.named(CANCEL, draft)?;
                    call.arg(&sight.stamp)
                        .arg(draft.body)
                        .arg(draft.kept_millis)
                }
            };
        }
        let answer = self.run(CANCEL, &call).await?;
        let marks = self.named(CANCEL, reply::marks(answer, ids.len()))?;
        let outcomes = marks.into_iter().map(cancelling).collect();
        self.named(CANCEL, outcomes)
    }
}

/// Adds what a chunk holds; gives where the next one begins.
fn counted(
    answer: Value,
    tasks: &BTreeSet<TaskName>,
    counts: &mut BTreeMap<TaskName, u64>,
) -> Stepped<String> {
    let mut values = reply::list(answer)?.into_iter();
    let after = reply::text(reply::next(&mut values)?)?;
    for (task, count) in tasks.iter().zip(values) {
        let count = reply::number(count)?;
        if count > 0 {
            *counts.entry(task.clone()).or_default() += count;
        }
    }
    Ok(after)
}

fn cancelling(mark: u8) -> Stepped<Option<Cancelling>> {
    match mark {
        b'u' => Ok(Some(Cancelling::Unknown)),
        b'd' => Ok(Some(Cancelling::Dead)),
        b'a' => Ok(Some(Cancelling::Asked)),
        b'c' => Ok(Some(Cancelling::Cancelled)),
        b'x' => Ok(None),
        _ => Err(Problem::unexpected("a cancellation")),
    }
}

/// As it stands by the time at which it was looked at.
fn shown(sight: Option<Sight>) -> Option<EnvelopeStatus> {
    let Sight { at, status, .. } = sight?;
    Some(status.at(at))
}

fn sights(ids: &[EnvelopeId], answer: Value) -> Stepped<Vec<Option<Sight>>> {
    let mut values = reply::part(answer, ids.len() + 1)?.into_iter();
    let at = reply::time(reply::next(&mut values)?)?;
    if values.len() == 0 {
        return Err(Problem::unexpected("as long as it should be"));
    }
    let sights = ids.iter().zip(values);
    sights.map(|(id, value)| sight(*id, at, value)).collect()
}

fn sight(id: EnvelopeId, at: Timestamp, value: Value) -> Stepped<Option<Sight>> {
    let mut parts = reply::list(value)?.into_iter();
    let Some(blob) = parts.next() else {
        return Ok(None);
    };
    let entry = Entry::new(id, reply::bytes(blob)?)?;
    let until = reply::time(reply::next(&mut parts)?)?;
    let worker = reply::some_bytes(reply::next(&mut parts)?)?;
    let record = reply::some_bytes(reply::next(&mut parts)?)?;
    let lease = |worker: Bytes| -> Stepped<(WorkerName, Timestamp)> {
        let name = reply::name(&worker, |text| WorkerName::new(text))?;
        Ok((name, until))
    };
    let (generation, ended) = (entry.generation(), entry.ended_deliveries());
    let mut stamp = [0; 8];
    stamp[..4].copy_from_slice(&generation.to_be_bytes());
    stamp[4..].copy_from_slice(&ended.to_be_bytes());
    Ok(Some(Sight {
        at,
        status: entry.status(worker.map(lease).transpose()?)?,
        stamp,
        kept: record.map(|record| Kept::read(&record)).transpose()?,
    }))
}

fn status(value: Value) -> Stepped<QueueStatus> {
    let mut parts = reply::list(value)?.into_iter();
    let name = reply::bytes(reply::next(&mut parts)?)?;
    let mut number = || reply::number(reply::next(&mut parts)?);
    Ok(QueueStatus {
        name: reply::name(&name, |text| QueueName::new(text))?,
        is_paused: number()? == 1,
        queued: number()?,
        scheduled: number()?,
        running: number()?,
        dead: number()?,
    })
}
