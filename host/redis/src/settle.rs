//! Settling: each delivery whole or not at all, its record in the same step (B4, B8, R2).

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
use crate::records::{self, Batch, Draft, Kept, Writing};
use crate::reply;
use crate::scripts;
use crate::store::Store;

/// How often a batch is sent until it is one that the server takes: each time it is smaller, or knows more.
const ROUNDS: usize = 16;

/// A settling as the script takes it.
pub(crate) struct Ending {
    id: EnvelopeId,
    /// The lease, and what becomes of it: a letter and a number.
    receipt: [u8; 29],
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

fn receipt(settling: &Settling) -> [u8; 29] {
    let (letter, number) = match settling.settlement {
        Settlement::Ack => (b'a', 0),
        Settlement::Release => (b'l', 0),
        Settlement::Retry(delay) => (b'r', in_millis(delay)),
        Settlement::Snooze(delay) => (b's', in_millis(delay)),
        Settlement::ReleaseAfterFault(delay) => (b'f', in_millis(delay)),
        Settlement::DeadLetter(reason) => (b'd', u64::from(reason.charges_an_attempt())),
    };
    let mut receipt = [0; 29];
    receipt[..20].copy_from_slice(&entry::lease(&settling.receipt));
    receipt[20] = letter;
    receipt[21..].copy_from_slice(&number.to_be_bytes());
    receipt
}

impl Writing for Ending {
    fn id(&self) -> EnvelopeId {
        self.id
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
        endings: Vec<Ending>,
    ) -> Result<Vec<Settled>, StoreError> {
        const SETTLE: &str = "settle";
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
            let answer = self.run(SETTLE, &call).await?;
            self.named(SETTLE, batch.take_in(round, answer))?;
        }
        self.named(SETTLE, Err(Problem::contended()))
    }
}
