//! What an envelope is doing: the record and the broker asked, and their answers joined (section 3 of the contract).

use std::time::Duration;

use bytes::Bytes;

use crate::ids::EnvelopeId;
use crate::queues::{EnvelopeStatus, Place};
use crate::record::{End, Record};
use crate::state::{EndState, State};
use crate::store_error::StoreError;
use crate::stores::Stores;

/// What is known of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// What it is doing.
    pub state: State,
    /// What the result store keeps, once an attempt has ended.
    pub record: Option<Record>,
    /// What the broker holds, while it lives or is a dead letter.
    pub status: Option<EnvelopeStatus>,
}

impl Lookup {
    /// Its end, if it has ended.
    pub fn end(&self) -> Option<&End> {
        self.state.end()?;
        self.record.as_ref()?.end.as_ref()
    }
}

/// Looks an envelope up; nothing where neither store knows it (any more).
pub async fn look_up(stores: &Stores, id: EnvelopeId) -> Result<Option<Lookup>, StoreError> {
    let records = stores.results.records(&[id]).await?;
    let statuses = stores.queues.find(&[id]).await?;
    let mut found = join_all(stores, &[id], (records, statuses)).await?;
    Ok(found.pop().flatten())
}

/// Looks many envelopes up, in the same order; what lives may come without its bytes.
pub async fn look_up_all(
    stores: &Stores,
    ids: &[EnvelopeId],
) -> Result<Vec<Option<Lookup>>, StoreError> {
    let records = stores.results.records(ids).await?;
    let statuses = stores.queues.find_heads(ids).await?;
    join_all(stores, ids, (records, statuses)).await
}

async fn join_all(
    stores: &Stores,
    ids: &[EnvelopeId],
    (mut records, statuses): (Vec<Option<Record>>, Vec<Option<EnvelopeStatus>>),
) -> Result<Vec<Option<Lookup>>, StoreError> {
    // An envelope may have ended between the two questions, also in a generation that began with a replay: then its
    // record is there by now (R2).
    let mut both = records.iter().zip(&statuses);
    if both.any(|(record, status)| is_missed(record.as_ref(), status.as_ref())) {
        records = stores.results.records(ids).await?;
    }
    Ok(records
        .into_iter()
        .zip(statuses)
        .map(|(record, status)| join(record, status))
        .collect())
}

/// Whether there may be an end that the record did not show yet.
fn is_missed(record: Option<&Record>, status: Option<&EnvelopeStatus>) -> bool {
    let end = record.and_then(|record| Some((record.generation, record.end.as_ref()?.state)));
    match status {
        None => end.is_none_or(|(_, state)| state == EndState::Failed),
        Some(status) if status.place == Place::Dead => {
            end.is_none_or(|(generation, _)| generation != status.generation)
        }
        Some(_) => false,
    }
}

fn join(record: Option<Record>, status: Option<EnvelopeStatus>) -> Option<Lookup> {
    let recorded = record
        .as_ref()
        .and_then(|record| Some((record.generation, record.end.as_ref()?.state)));
    let state = match (&status, recorded) {
        (Some(status), Some((generation, end))) if status.generation == generation => end.into(),
        (Some(status), _) => status.state(),
        (None, Some((_, end))) => end.into(),
        (None, None) => return None,
    };
    Some(Lookup {
        state,
        record,
        status,
    })
}

/// Waits for the end of an envelope, also one that came before the call (R3); nothing where nobody knows the
/// envelope. The caller bounds the time.
pub async fn wait(
    stores: &Stores,
    id: EnvelopeId,
    mut seen: impl FnMut(&Lookup),
) -> Result<Option<Lookup>, StoreError> {
    let mut changes = stores.results.changes_of(id).await?;
    let mut bytes = None;
    loop {
        let Some(lookup) = look_again(stores, id, &mut bytes).await? else {
            return Ok(None);
        };
        let is_dying = lookup.state == State::Failed
            && lookup
                .status
                .as_ref()
                .is_some_and(|status| status.place != Place::Dead);
        if lookup.state.end().is_some() && !is_dying {
            return Ok(Some(lookup));
        }
        seen(&lookup);
        if !is_dying {
            changes.next().await?;
        } else if let Ok(change) = tokio::time::timeout(DYING, changes.next()).await {
            change?;
        }
    }
}

/// Looks an envelope up whose bytes may be known: they never change, and are read with the first status that there is.
async fn look_again(
    stores: &Stores,
    id: EnvelopeId,
    bytes: &mut Option<Bytes>,
) -> Result<Option<Lookup>, StoreError> {
    let mut found = match bytes {
        None => look_up(stores, id).await?,
        Some(_) => look_up_all(stores, &[id]).await?.pop().flatten(),
    };
    if let Some(status) = found.as_mut().and_then(|found| found.status.as_mut()) {
        status.bytes = bytes.get_or_insert_with(|| status.bytes.clone()).clone();
    }
    Ok(found)
}

/// Where the record lies on another server, its failure is seen before the dead letter, and no change of records says
/// when that is there: then a look is taken again after this time, within the 50 ms of R3.
const DYING: Duration = Duration::from_millis(20);

/// How long a wait lasts where nothing else is said.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::names::{QueueName, TaskName};

    fn status(place: Place) -> EnvelopeStatus {
        EnvelopeStatus {
            id: EnvelopeId::new(),
            task: TaskName::new("t").expect("a name"),
            queue: QueueName::new("q").expect("a name"),
            priority: 0,
            generation: 2,
            attempts: 1,
            deliveries: 1,
            place,
            bytes: bytes::Bytes::new(),
        }
    }

    fn record(generation: u32, end: Option<EndState>) -> Record {
        let mut record = Record::continued(None, EnvelopeId::new(), generation);
        record.end = end.map(|state| End {
            state,
            at: Timestamp::default(),
            result: None,
            error: None,
            reason: None,
        });
        record
    }

    /// R2, R3: an end between the two questions is not overlooked.
    #[test]
    fn the_record_is_asked_again_where_it_may_have_ended_meanwhile() {
        let (dead, ready) = (status(Place::Dead), status(Place::Ready));
        let (succeeded, failed) = (Some(EndState::Succeeded), Some(EndState::Failed));
        for (record, status, is_so) in [
            (None, None, true),
            (Some(record(2, None)), None, true),
            (Some(record(1, failed)), None, true),
            (Some(record(1, succeeded)), None, false),
            (Some(record(2, None)), Some(&dead), true),
            (Some(record(1, failed)), Some(&dead), true),
            (Some(record(2, failed)), Some(&dead), false),
            (Some(record(1, failed)), Some(&ready), false),
        ] {
            let missed = is_missed(record.as_ref(), status);
            assert_eq!(missed, is_so, "{record:?} {status:?}");
        }
    }
}
