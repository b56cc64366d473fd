//! Settling: each delivery whole or not at all, its record in the same step (B4, B8, R2).

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stem_core::broker::{Settled, Settling};
use stem_core::clock::in_millis;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::record::Report;
use stem_core::store_error::StoreError;
use stem_core::usage::{UsageKey, UsageSums};

use crate::entry;
use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::records::{self, Batch, Draft, Kept, Pending, Writing};
use crate::reply;
use crate::scripts;
use crate::store::Store;

/// How often a batch is sent until it is one that the server takes: each time it is smaller, or knows more.
const ROUNDS: usize = 16;
/// How long a lease is, as scripts take it.
const LEASE: usize = 20;

/// A settling as the script takes it.
pub(crate) struct Ending {
    id: EnvelopeId,
    /// The lease, what becomes of it (a letter and a number), and a mark where it was sent before.
    receipt: Vec<u8>,
    /// Why it is a dead letter: the reason, and the error behind it.
    grave: Vec<u8>,
    report: Option<Report>,
}

impl Ending {
    pub(crate) fn of(settling: &Settling) -> Stepped<Self> {
        let mut grave = Vec::new();
        if let Settlement::DeadLetter(reason) = settling.settlement {
            grave.extend(reason.as_str().as_bytes());
            grave.push(0);
            if let Some(error) = &settling.error {
                grave.extend(reply::encode(error)?);
            }
        }
        Ok(Self {
            id: settling.receipt.id,
            receipt: receipt(settling),
            grave,
            report: settling.report.clone(),
        })
    }
}

fn receipt(settling: &Settling) -> Vec<u8> {
    let (letter, number) = match settling.settlement {
        Settlement::Ack => (b'a', 0),
        Settlement::Release => (b'l', 0),
        Settlement::Retry(delay) => (b'r', in_millis(delay)),
        Settlement::Snooze(delay) => (b's', in_millis(delay)),
        Settlement::ReleaseAfterFault(delay) => (b'f', in_millis(delay)),
        Settlement::DeadLetter(reason) => (b'd', u64::from(reason.charges_an_attempt())),
    };
    let lease = entry::lease(&settling.receipt);
    [&lease[..], &[letter], &number.to_be_bytes()].concat()
}

/// Leases of settlements that were sent, and of whose answers nobody has heard: the same again may find them ended.
#[derive(Default)]
pub(crate) struct Unheard(Mutex<HashSet<Vec<u8>>>);

impl Unheard {
    /// Of more it forgets: their settlements, sent again, are told that their lease was lost.
    const MOST: usize = 10_000;

    /// Marks those of which nobody has heard.
    fn mark(&self, endings: &mut [Ending]) {
        let leases = self.locked();
        let sent_before = |one: &&mut Ending| leases.contains(one.lease());
        for ending in endings.iter_mut().filter(sent_before) {
            ending.receipt.push(1);
        }
    }

    fn note(&self, round: &[Pending<Ending>]) {
        let mut leases = self.locked();
        if leases.len() >= Self::MOST {
            leases.clear();
        }
        leases.extend(round.iter().map(|one| one.writing.lease().to_vec()));
    }

    fn forget(&self, round: &[Pending<Ending>]) {
        let mut leases = self.locked();
        if !leases.is_empty() {
            for ending in round {
                leases.remove(ending.writing.lease());
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ending {
    fn lease(&self) -> &[u8] {
        &self.receipt[..LEASE]
    }
}

impl Writing for Ending {
    fn id(&self) -> EnvelopeId {
        self.id
    }

    fn is_in(&self, kept: &Kept) -> bool {
        self.report.as_ref().is_some_and(|report| kept.has(report))
    }

    fn add_to(
        &self,
        call: &mut Call,
        kept: Option<&Kept>,
    ) -> Stepped<Option<(UsageKey, UsageSums)>> {
        call.arg(&self.receipt).arg(&self.grave);
        let Some(report) = &self.report else {
            call.arg("").arg(0);
            return Ok(None);
        };
        let draft = Draft::of(report, kept)?;
        call.arg(draft.body).arg(draft.kept_millis);
        Ok(draft.usage)
    }
}

impl Store {
    pub(crate) async fn settle_all(
        &self,
        mut endings: Vec<Ending>,
    ) -> Result<Vec<Settled>, StoreError> {
        const SETTLE: &str = "settle";
        let unheard = &self.shared.unheard;
        unheard.mark(&mut endings);
        let mut batch = Batch::new(endings);
        for _ in 0..ROUNDS {
            if batch.is_done() {
                let settled = |is_done: &bool| match is_done {
                    true => Settled::Done,
                    false => Settled::Lost,
                };
                return Ok(batch.outcomes.iter().map(settled).collect());
            }
            let round = batch.next_round();
            let mut call = self.call(&scripts::SETTLE);
            self.named(SETTLE, records::add_round(&mut call, &round))?;
            let answer = self.run(SETTLE, &call).await;
            let answer = answer.inspect_err(|_| unheard.note(&round))?;
            unheard.forget(&round);
            self.named(SETTLE, batch.take_in(round, answer))?;
        }
        self.named(SETTLE, Err(Problem::contended()))
    }
}
