//! Records as they are kept: a revision that a writer must have seen, the fence, the end, and the record itself (R5).
//!
//! A report on its own is ready to be stored; where something was kept before, the script says what, the report is
//! merged into it here, and sent again: so that what a record is, is said in one place for every store.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use redis::Value;
use stem_core::clock::in_millis;
use stem_core::ids::EnvelopeId;
use stem_core::record::{Record, Report, kept_for};
use stem_core::state::EndState;
use stem_core::usage::{UsageKey, UsageSums};

use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::usage_store;

/// Bytes before the record itself.
const HEAD: usize = 13;
/// No retention is longer than this: a hundred years.
const LONGEST: u64 = 100 * 365 * 24 * 3_600_000;

/// A record as it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    revision: u32,
    delivery: u32,
    pub(crate) record: Record,
}

impl Kept {
    pub(crate) fn read(blob: &Bytes) -> Stepped<Self> {
        if blob.len() < HEAD {
            return Err(Problem::unreadable("a record", "it is too short"));
        }
        let number = |at: usize| {
            let bytes = blob[at..at + 4].iter();
            bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
        };
        Ok(Self {
            revision: number(0),
            delivery: number(8),
            record: reply::decode("a record", &blob[HEAD..])?,
        })
    }

    /// Whether this report was added to it before: by the numbers of its delivery, and by times that no other one has.
    pub(crate) fn has(&self, report: &Report) -> bool {
        let attempts = &self.record.attempts;
        match (&report.attempt, &report.end) {
            (Some(sent), _) if !attempts.is_empty() => attempts.iter().any(|known| {
                let times = (known.started_at, known.ended_at);
                known.delivery == sent.delivery
                    && known.worker == sent.worker
                    && times == (sent.started_at, sent.ended_at)
            }),
            (_, Some(sent)) => {
                let numbers = (self.record.generation, self.delivery);
                let end = self.record.end.as_ref();
                numbers == (report.generation, report.delivery)
                    && end.is_some_and(|end| (end.state, end.at) == (sent.state, sent.at))
            }
            (_, None) => false,
        }
    }
}

/// A report ready to be stored behind what was kept before.
pub(crate) struct Draft {
    pub(crate) body: Vec<u8>,
    pub(crate) kept_millis: u64,
    /// What its attempt used, unless that was summed before.
    pub(crate) usage: Option<(UsageKey, UsageSums)>,
}

impl Draft {
    pub(crate) fn of(report: &Report, kept: Option<&Kept>) -> Stepped<Self> {
        let record = kept.map(|kept| &kept.record);
        let knows = |record: &Record| report.attempt.as_ref().is_some_and(|it| record.knows(it));
        let is_known = record.is_some_and(knows);
        let end = report.end.as_ref().map(|end| end.state);
        let kept_millis = in_millis(kept_for(end, report.retention)).clamp(1, LONGEST);
        let merged = report.clone().merge_into(record.cloned());
        let delivery = kept.map_or(0, |kept| kept.delivery).max(report.delivery);
        let revision = kept.map_or(0, |kept| kept.revision).wrapping_add(1);
        let mut body = Vec::with_capacity(512);
        body.extend(revision.to_be_bytes());
        body.extend(merged.generation.to_be_bytes());
        body.extend(delivery.to_be_bytes());
        body.push(end.map_or(0, state_number));
        body.extend(reply::encode(&merged)?);
        Ok(Self {
            body,
            kept_millis,
            usage: report.usage().filter(|_| !is_known),
        })
    }
}

fn state_number(state: EndState) -> u8 {
    match state {
        EndState::Succeeded => 1,
        EndState::Failed => 2,
        EndState::Cancelled => 3,
        EndState::Expired => 4,
    }
}

/// The end that a digit of an answer stands for.
pub(crate) fn end_state(digit: u8) -> Stepped<Option<EndState>> {
    match digit {
        b'0' => Ok(None),
        b'1' => Ok(Some(EndState::Succeeded)),
        b'2' => Ok(Some(EndState::Failed)),
        b'3' => Ok(Some(EndState::Cancelled)),
        b'4' => Ok(Some(EndState::Expired)),
        _ => Err(Problem::unexpected("an end")),
    }
}

/// Something that is written with a record, once what was kept before is known.
pub(crate) trait Writing {
    fn id(&self) -> EnvelopeId;
    /// Whether this record has it already.
    fn is_in(&self, kept: &Kept) -> bool;
    /// Adds it to the script's arguments, and gives what is to be summed.
    fn add_to(
        &self,
        call: &mut Call,
        kept: Option<&Kept>,
    ) -> Stepped<Option<(UsageKey, UsageSums)>>;
}

/// Something on its way, its place among what was asked for, and what was kept before it.
pub(crate) struct Pending<W> {
    index: usize,
    pub(crate) writing: W,
    kept: Option<Kept>,
}

/// What is to be written still, and what became of the rest.
pub(crate) struct Batch<W> {
    pending: Vec<Pending<W>>,
    pub(crate) outcomes: Vec<bool>,
}

impl<W: Writing> Batch<W> {
    pub(crate) fn new(writings: Vec<W>) -> Self {
        let outcomes = vec![false; writings.len()];
        let pending = |(index, writing)| Pending {
            index,
            writing,
            kept: None,
        };
        Self {
            pending: writings.into_iter().enumerate().map(pending).collect(),
            outcomes,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes the next round: of one envelope, only the first.
    pub(crate) fn next_round(&mut self) -> Vec<Pending<W>> {
        let mut ids = HashSet::with_capacity(self.pending.len());
        let (round, later) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| ids.insert(pending.writing.id()));
        self.pending = later;
        round
    }

    /// Sorts a round by what the script says of it.
    pub(crate) fn take_in(&mut self, round: Vec<Pending<W>>, answer: Value) -> Stepped<()> {
        if let Value::Int(1) = answer {
            for pending in round {
                self.outcomes[pending.index] = true;
            }
            return Ok(());
        }
        let verdicts = reply::list(answer)?;
        if verdicts.len() != round.len() {
            return Err(Problem::unexpected("as long as it should be"));
        }
        let mut again = Vec::with_capacity(round.len());
        for (mut pending, verdict) in round.into_iter().zip(verdicts) {
            if verdict == Value::Int(0) {
                continue;
            }
            if let Value::Array(kept) = verdict {
                let blob = reply::bytes(reply::next(&mut kept.into_iter())?)?;
                self.outcomes[pending.index] = pending.writing.is_in(&Kept::read(&blob)?);
                continue;
            }
            if verdict != Value::Int(1) {
                let blob = reply::some_bytes(verdict)?;
                pending.kept = blob.map(|blob| Kept::read(&blob)).transpose()?;
            }
            again.push(pending);
        }
        again.append(&mut self.pending);
        self.pending = again;
        Ok(())
    }
}

/// Adds a round to a script's arguments: how many there are, each of them, and the sums.
pub(crate) fn add_round<W: Writing>(call: &mut Call, round: &[Pending<W>]) -> Stepped<()> {
    call.arg(round.len());
    let mut tally: BTreeMap<UsageKey, UsageSums> = BTreeMap::new();
    for pending in round {
        if let Some((key, sums)) = pending.writing.add_to(call, pending.kept.as_ref())? {
            tally.entry(key).or_default().add(&sums);
        }
    }
    for (key, sums) in tally {
        usage_store::add_to(call, &key, &sums);
    }
    Ok(())
}
