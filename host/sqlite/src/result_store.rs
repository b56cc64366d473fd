//! Records, checkpoints and progress, all fenced by delivery (R1).

use async_trait::async_trait;
use rusqlite::OptionalExtension;
use stem_core::broker::Wakeups;
use stem_core::ids::EnvelopeId;
use stem_core::payload::StoredPayload;
use stem_core::record::{LIVE_RECORD_RETENTION, Progress, Record, Report};
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::state::{EndState, State};
use stem_core::store_error::StoreError;

use crate::problem::Stepped;
use crate::records::{self, Entry, Recorder};
use crate::rows::{self, millis};
use crate::store::{Changes, Store};
use crate::wake::Topic;
use crate::writer::Step;

#[async_trait]
impl ResultStore for Store {
    async fn report(&self, reports: &[Report]) -> Result<Vec<Reported>, StoreError> {
        const REPORT: &str = "report";
        let entries: Stepped<Vec<Entry>> = reports.iter().map(Entry::of).collect();
        let entries = entries.map_err(|problem| self.shared.error(REPORT, problem))?;
        self.write(REPORT, move |step| {
            step.wake(Topic::Records);
            let mut recorder = Recorder::new(step)?;
            let report = |entry| report(step, &mut recorder, entry);
            let reported = entries.iter().map(report).collect::<Stepped<_>>()?;
            recorder.finish()?;
            Ok(reported)
        })
        .await
    }

    async fn open(&self, fences: &[Fence]) -> Result<Vec<Option<EndState>>, StoreError> {
        let fences = fences.to_vec();
        self.write("make deliveries known", move |step| {
            fences.iter().map(|fence| open(step, fence)).collect()
        })
        .await
    }

    async fn records(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<Record>>, StoreError> {
        let (namespace, now, ids) = (self.shared.namespace, self.now(), ids.to_vec());
        self.read("read records", move |connection| {
            let show = |id: &EnvelopeId| records::show(connection, namespace, *id, now);
            ids.iter().map(show).collect()
        })
        .await
    }

    async fn save_progress(
        &self,
        fence: &Fence,
        progress: &Progress,
    ) -> Result<Reported, StoreError> {
        const SAVE: &str = "UPDATE fences SET progress = ?2 WHERE number = ?1";
        let (fence, progress) = (*fence, progress.clone());
        self.write("save progress", move |step| {
            let Some(number) = take(step, &fence)? else {
                return Ok(Reported::Stale);
            };
            step.execute(SAVE, (number, rows::encode(&progress)?))?;
            step.wake(Topic::Records);
            Ok(Reported::Written)
        })
        .await
    }

    async fn save_checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &StoredPayload,
    ) -> Result<Reported, StoreError> {
        const SAVE: &str = "INSERT INTO checkpoints (number, body) VALUES (?1, ?2)
            ON CONFLICT DO UPDATE SET body = excluded.body";
        let (fence, checkpoint) = (*fence, checkpoint.clone());
        self.write("save a checkpoint", move |step| {
            let Some(number) = take(step, &fence)? else {
                return Ok(Reported::Stale);
            };
            step.execute(SAVE, (number, rows::encode(&checkpoint)?))?;
            Ok(Reported::Written)
        })
        .await
    }

    async fn load_checkpoint(&self, id: EnvelopeId) -> Result<Option<StoredPayload>, StoreError> {
        const LOAD: &str = "SELECT c.body FROM ids i JOIN fences f ON f.number = i.number
            JOIN checkpoints c ON c.number = i.number
            WHERE i.id = ?1 AND i.namespace = ?2 AND f.expires_at > ?3";
        let params = (self.shared.namespace, millis(self.now()));
        self.read("load a checkpoint", move |connection| {
            let (namespace, now) = params;
            let mut statement = connection.prepare_cached(LOAD)?;
            let body = statement.query_row((id.as_bytes(), namespace, now), |row| {
                Ok(rows::decode("a checkpoint", row.get_ref(0)?.as_blob()?))
            });
            body.optional()?.transpose()
        })
        .await
    }

    async fn changes(&self) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Changes::of(&self.shared, Topic::Records)))
    }
}

/// What is known of an envelope, here and in the broker where that is this database too.
struct Standing {
    /// The newest delivery.
    delivery: u32,
    /// The newest generation that was reported, and its end.
    reported: Option<(u32, Option<EndState>)>,
    /// Whether the broker has it, and no worker.
    is_idle: bool,
}

impl Standing {
    fn of(step: &Step<'_>, number: i64) -> Stepped<Self> {
        const STANDING: &str = "SELECT max(coalesce(e.deliveries, 0), coalesce(r.delivery, 0),
                coalesce(f.delivery, 0)), r.generation, r.state, e.place <> 1
            FROM (SELECT ?1 AS number) i
            LEFT JOIN envelopes e ON e.number = i.number
            LEFT JOIN records r ON r.number = i.number AND r.expires_at > ?2
            LEFT JOIN fences f ON f.number = i.number AND f.expires_at > ?2";
        let mut statement = step.prepare(STANDING)?;
        let standing = statement.query_row((number, millis(step.now)), |row| {
            let generation: Option<u32> = row.get(1)?;
            let state: Option<String> = row.get(2)?;
            let end = state.as_deref().and_then(end_state);
            Ok(Self {
                delivery: row.get(0)?,
                reported: generation.map(|generation| (generation, end)),
                is_idle: row.get::<_, Option<bool>>(3)?.unwrap_or(false),
            })
        });
        Ok(standing?)
    }

    /// The end of this generation.
    fn end(&self, generation: u32) -> Option<EndState> {
        let (reported, end) = self.reported?;
        end.filter(|_| reported == generation)
    }

    /// Whether a delivery may write no more: a later one is known, or its generation has ended.
    fn is_stale(&self, fence: &Fence) -> bool {
        let is_over = |(generation, _)| generation > fence.generation;
        self.delivery > fence.delivery
            || self.reported.is_some_and(is_over)
            || self.end(fence.generation).is_some()
    }
}

fn end_state(word: &str) -> Option<EndState> {
    State::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .and_then(State::end)
}

fn report<'e>(
    step: &Step<'_>,
    recorder: &mut Recorder<'_, '_, 'e>,
    entry: &'e Entry,
) -> Stepped<Reported> {
    let number = number_for(step, entry.id)?;
    let standing = Standing::of(step, number)?;
    let fence = Fence {
        id: entry.id,
        generation: entry.generation,
        delivery: entry.delivery,
    };
    if standing.is_stale(&fence) {
        return Ok(Reported::Stale);
    }
    recorder.add(number, entry)?;
    match entry.end {
        None => records::prolong_fence(step, number, entry)?,
        // Only a replay can go on from a checkpoint.
        Some(EndState::Failed) => records::bury_fence(step, number)?,
        Some(EndState::Succeeded | EndState::Cancelled | EndState::Expired) => {
            records::drop_fence(step, number)?;
        }
    }
    Ok(Reported::Written)
}

fn open(step: &Step<'_>, fence: &Fence) -> Stepped<Option<EndState>> {
    let number = number_for(step, fence.id)?;
    let end = Standing::of(step, number)?.end(fence.generation);
    if end.is_none() {
        put_fence(step, number, fence)?;
    }
    Ok(end)
}

/// Lets a delivery write, if it is the newest and its generation has not ended: gives the envelope's number.
fn take(step: &Step<'_>, fence: &Fence) -> Stepped<Option<i64>> {
    let number = number_for(step, fence.id)?;
    let standing = Standing::of(step, number)?;
    if standing.is_idle || standing.is_stale(fence) {
        return Ok(None);
    }
    put_fence(step, number, fence)?;
    Ok(Some(number))
}

/// Whether a delivery may write, without making it known: what nobody knows may.
pub(crate) fn may_write(step: &Step<'_>, fence: &Fence) -> Stepped<bool> {
    let Some(number) = rows::number(step.connection, step.namespace, fence.id)? else {
        return Ok(true);
    };
    let standing = Standing::of(step, number)?;
    Ok(!standing.is_idle && !standing.is_stale(fence))
}

fn put_fence(step: &Step<'_>, number: i64, fence: &Fence) -> Stepped<()> {
    const PUT: &str = "INSERT INTO fences (number, namespace, id, generation, delivery, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET
            progress = iif(delivery < ?5, NULL, progress), generation = max(generation, ?4),
            delivery = max(delivery, ?5), expires_at = ?6";
    let params = (
        number,
        step.namespace,
        fence.id.as_bytes(),
        fence.generation,
        fence.delivery,
        millis(step.now + LIVE_RECORD_RETENTION),
    );
    step.execute(PUT, params)?;
    Ok(())
}

/// The number of an envelope, given now where only its broker knows it yet.
fn number_for(step: &Step<'_>, id: EnvelopeId) -> Stepped<i64> {
    const TAKE: &str = "INSERT INTO ids (id, namespace, number) VALUES (?1, ?2, ?3)";
    if let Some(number) = rows::number(step.connection, step.namespace, id)? {
        return Ok(number);
    }
    let number = step.take_numbers(1)?;
    step.execute(TAKE, (id.as_bytes(), step.namespace, number))?;
    Ok(number)
}
