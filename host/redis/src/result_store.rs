//! Records, checkpoints and progress, all fenced by delivery (R1).

use async_trait::async_trait;
use redis::Value;
use serde::Serialize;
use stem_core::broker::Wakeups;
use stem_core::ids::EnvelopeId;
use stem_core::payload::StoredPayload;
use stem_core::record::{Progress, Record, Report};
use stem_core::result_store::{Fence, Reported, ResultStore};
use stem_core::state::EndState;
use stem_core::store_error::StoreError;
use stem_core::usage::{UsageKey, UsageSums};

use crate::bell::Topic;
use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::records::{self, Batch, Draft, Kept, Writing};
use crate::reply;
use crate::scripts;
use crate::store::{Store, part_of};
use crate::wakeups::Changes;

/// How often a batch is sent until it is one that the server takes.
const ROUNDS: usize = 16;

#[async_trait]
impl ResultStore for Store {
    async fn report(&self, reports: &[Report]) -> Result<Vec<Reported>, StoreError> {
        const REPORT: &str = "report";
        let mut batch = Batch::new(reports.to_vec());
        for _ in 0..ROUNDS {
            if batch.is_done() {
                return Ok(batch.outcomes.iter().map(reported).collect());
            }
            let round = batch.next_round();
            let mut call = self.call(&scripts::REPORT);
            self.named(REPORT, records::add_round(&mut call, &round))?;
            let answer = self.run(REPORT, &call).await?;
            self.named(REPORT, batch.take_in(round, answer))?;
        }
        self.named(REPORT, Err(Problem::contended()))
    }

    async fn open(&self, fences: &[Fence]) -> Result<Vec<Option<EndState>>, StoreError> {
        const OPEN: &str = "make deliveries known";
        let mut call = self.call(&scripts::OPEN);
        for fence in fences {
            add_fence(&mut call, fence);
        }
        let answer = self.run(OPEN, &call).await?;
        let marks = self.named(OPEN, reply::marks(answer, fences.len()))?;
        let ends = marks.into_iter().map(records::end_state).collect();
        self.named(OPEN, ends)
    }

    async fn records(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<Record>>, StoreError> {
        const READ: &str = "read records";
        let mut records = Vec::with_capacity(ids.len());
        while records.len() < ids.len() {
            let part = part_of(ids, records.len());
            let call = self.about(&scripts::RECORDS, part);
            let answer = self.run(READ, &call).await?;
            let values = self.named(READ, reply::part(answer, part.len()))?;
            let shown = part.iter().zip(values);
            let shown: Stepped<Vec<_>> = shown.map(|(id, value)| show(*id, value)).collect();
            records.extend(self.named(READ, shown)?);
        }
        Ok(records)
    }

    async fn save_progress(
        &self,
        fence: &Fence,
        progress: &Progress,
    ) -> Result<Reported, StoreError> {
        self.note("save progress", fence, ("p", progress)).await
    }

    async fn save_checkpoint(
        &self,
        fence: &Fence,
        checkpoint: &StoredPayload,
    ) -> Result<Reported, StoreError> {
        self.note("save a checkpoint", fence, ("c", checkpoint))
            .await
    }

    async fn load_checkpoint(&self, id: EnvelopeId) -> Result<Option<StoredPayload>, StoreError> {
        const LOAD: &str = "load a checkpoint";
        let key = [self.shared.prefix.as_bytes(), b"k:", id.as_bytes()].concat();
        let mut command = redis::cmd("HGET");
        command.arg(key).arg("c");
        let answer = self.ask_bulk(LOAD, &command).await?;
        let checkpoint = reply::some_bytes(answer).and_then(|bytes| {
            bytes
                .map(|bytes| reply::decode("a checkpoint", &bytes))
                .transpose()
        });
        self.named(LOAD, checkpoint)
    }

    async fn changes(&self) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Changes::of(&self.shared, Topic::Records)))
    }

    async fn changes_of(&self, id: EnvelopeId) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Changes::of(&self.shared, Topic::Record(id))))
    }
}

impl Store {
    async fn note(
        &self,
        operation: &'static str,
        fence: &Fence,
        (field, value): (&str, &(impl Serialize + Sync)),
    ) -> Result<Reported, StoreError> {
        let mut call = self.call(&scripts::NOTE);
        add_fence(&mut call, fence);
        let encoded = self.named(operation, reply::encode(value))?;
        call.arg(field).arg(encoded);
        let answer = self.run(operation, &call).await?;
        Ok(reported(&(answer == Value::Int(1))))
    }
}

fn reported(is_written: &bool) -> Reported {
    match is_written {
        true => Reported::Written,
        false => Reported::Stale,
    }
}

/// The envelope, its generation and the delivery, as scripts take them.
pub(crate) fn add_fence(call: &mut Call, fence: &Fence) {
    call.arg(fence.id.as_bytes())
        .arg(fence.generation)
        .arg(fence.delivery);
}

impl Writing for Report {
    fn id(&self) -> EnvelopeId {
        self.id
    }

    fn is_in(&self, kept: &Kept) -> bool {
        kept.has(self)
    }

    fn add_to(
        &self,
        call: &mut Call,
        kept: Option<&Kept>,
    ) -> Stepped<Option<(UsageKey, UsageSums)>> {
        let draft = Draft::of(self, kept)?;
        call.arg(self.id.as_bytes())
            .arg(draft.body)
            .arg(draft.kept_millis);
        Ok(draft.usage)
    }
}

/// The record as it is shown: with the progress of the attempt that runs, also where nothing else is known yet.
fn show(id: EnvelopeId, value: Value) -> Stepped<Option<Record>> {
    let mut parts = reply::list(value)?.into_iter();
    let blob = reply::some_bytes(reply::next(&mut parts)?)?;
    let generation = reply::number(reply::next(&mut parts)?)?;
    let progress = reply::some_bytes(reply::next(&mut parts)?)?;
    let record = blob.map(|blob| Kept::read(&blob)).transpose()?;
    let record = record.map(|kept| kept.record);
    let Some(progress) = progress else {
        return Ok(record);
    };
    let progress: Progress = reply::decode("the progress of an attempt", &progress)?;
    let generation = u32::try_from(generation).unwrap_or(u32::MAX);
    Ok(Some(Record {
        progress: Some(progress),
        ..Record::continued(record, id, generation)
    }))
}
