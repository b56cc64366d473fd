//! Settling: each delivery whole or not at all, its record in the same step (B4, B8, R2).

use rusqlite::CachedStatement;
use stem_core::broker::{DERIVED_ID_RETENTION, Receipt, Renewal, Settled, Settling};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::CancelMode;
use stem_core::record::DEAD_LETTER_RETENTION;

use crate::problem::Stepped;
use crate::records::{Entry, Leftovers, Recorder};
use crate::rows::{self, millis};
use crate::wake::Topic;
use crate::writer::Step;

/// A settling whose record and error are encoded already.
pub(crate) struct Ending {
    receipt: Receipt,
    settlement: Settlement,
    error: Option<Vec<u8>>,
    entry: Option<Entry>,
}

impl Ending {
    pub(crate) fn of(settling: &Settling) -> Stepped<Self> {
        Ok(Self {
            receipt: settling.receipt,
            settlement: settling.settlement,
            error: settling.error.as_ref().map(rows::encode).transpose()?,
            entry: settling.report.as_ref().map(Entry::of).transpose()?,
        })
    }
}

/// Carries settlements out, in their order.
pub(crate) fn settle(step: &Step<'_>, endings: &[Ending]) -> Stepped<Vec<Settled>> {
    let mut desk = Desk::new(step)?;
    let settled: Vec<Settled> = endings
        .iter()
        .map(|ending| desk.settle(ending))
        .collect::<Stepped<_>>()?;
    desk.recorder.finish()?;
    if settled.contains(&Settled::Done) {
        step.wake(Topic::Records);
    }
    if endings
        .iter()
        .any(|ending| ending.settlement != Settlement::Ack)
    {
        step.wake(Topic::Work);
    }
    Ok(settled)
}

/// What a batch of settlements needs.
struct Desk<'s, 'c, 'e> {
    step: &'s Step<'c>,
    acknowledge: CachedStatement<'c>,
    recorder: Recorder<'s, 'c, 'e>,
    leftovers: Leftovers,
    has_bodies: bool,
}

/// Every statement that ends a delivery asks for the lease: a fence, not a clock (B4).
macro_rules! leased {
    () => {
        " WHERE number = ?1 AND place = 1 AND deliveries = ?2 AND id = ?3 AND namespace = ?4"
    };
}

impl<'s, 'c, 'e> Desk<'s, 'c, 'e> {
    fn new(step: &'s Step<'c>) -> Stepped<Self> {
        const ACKNOWLEDGE: &str = concat!("DELETE FROM envelopes", leased!());
        const BODIES: &str = "SELECT EXISTS (SELECT 1 FROM bodies)";
        Ok(Self {
            step,
            acknowledge: step.prepare(ACKNOWLEDGE)?,
            recorder: Recorder::new(step)?,
            leftovers: Leftovers::of(step)?,
            has_bodies: rows::has_rows(step.connection, BODIES)?,
        })
    }

    fn settle(&mut self, ending: &'e Ending) -> Stepped<Settled> {
        if !self.apply(ending)? {
            return Ok(Settled::Lost);
        }
        let number = ending.receipt.position.cast_signed();
        if let Some(entry) = &ending.entry {
            self.recorder.add(number, entry)?;
        }
        match ending.settlement {
            Settlement::Ack => {
                self.leftovers.clear(self.step, number)?;
                self.leave(number, ending)?;
            }
            Settlement::DeadLetter(_) => self.leftovers.bury(self.step, number)?,
            Settlement::Retry(_)
            | Settlement::Snooze(_)
            | Settlement::Release
            | Settlement::ReleaseAfterFault(_) => {
                if let Some(entry) = &ending.entry {
                    self.leftovers.prolong(self.step, number, entry)?;
                }
            }
        }
        Ok(Settled::Done)
    }

    /// Changes the envelope, if the lease is still held.
    fn apply(&mut self, ending: &Ending) -> Stepped<bool> {
        const HOLD: &str = concat!(
            "UPDATE envelopes SET place = 2, until = iif(cancel = 0, ?5, ?9), losses = 0, worker = NULL,
                attempts = attempts + ?6, is_retry = ?6, snoozes = snoozes + ?7,
                faults = CASE WHEN ?8 THEN faults + 1 ELSE 0 END",
            leased!()
        );
        const RELEASE: &str = concat!(
            "UPDATE envelopes SET place = 0, until = 0, losses = 0, worker = NULL",
            leased!()
        );
        let lease = (
            ending.receipt.position.cast_signed(),
            ending.receipt.delivery,
            ending.receipt.id.as_bytes(),
            self.step.namespace,
        );
        let (delay, is_retry, is_snooze, is_fault) = match ending.settlement {
            Settlement::Ack => return Ok(self.acknowledge.execute(lease)? == 1),
            Settlement::Release => return Ok(self.step.execute(RELEASE, lease)? == 1),
            Settlement::DeadLetter(reason) => return self.bury(ending, reason),
            Settlement::Retry(delay) => (delay, true, false, false),
            Settlement::Snooze(delay) => (delay, false, true, false),
            Settlement::ReleaseAfterFault(delay) => (delay, false, false, true),
        };
        let now = self.step.now;
        let until = millis(now + delay);
        let (number, delivery, id, namespace) = lease;
        let params = rusqlite::params![
            number,
            delivery,
            id,
            namespace,
            until,
            is_retry,
            is_snooze,
            is_fault,
            millis(now)
        ];
        Ok(self.step.execute(HOLD, params)? == 1)
    }

    fn bury(&self, ending: &Ending, reason: DeadReason) -> Stepped<bool> {
        const KILL: &str = concat!(
            "UPDATE envelopes SET place = 3, until = 0, losses = 0, worker = NULL,
                attempts = attempts + ?5",
            leased!()
        );
        const BURY: &str = "INSERT INTO dead_letters
            (seat, number, namespace, queue, task, reason, error, dead_at, expires_at)
            SELECT ?2, e.number, e.namespace, l.queue, e.task, ?3, ?4, ?5, ?6
            FROM envelopes e JOIN lanes l ON l.lane = e.lane WHERE e.number = ?1";
        let receipt = &ending.receipt;
        let number = receipt.position.cast_signed();
        let step = self.step;
        let lease = (
            number,
            receipt.delivery,
            receipt.id.as_bytes(),
            step.namespace,
            reason.charges_an_attempt(),
        );
        if step.execute(KILL, lease)? == 0 {
            return Ok(false);
        }
        let expires_at = millis(step.now + DEAD_LETTER_RETENTION);
        let params = rusqlite::params![
            number,
            step.take_numbers(1)?,
            reason.as_str(),
            ending.error,
            millis(step.now),
            expires_at
        ];
        step.execute(BURY, params)?;
        Ok(true)
    }

    /// An envelope that has gone leaves nothing but its record, and its id where that is derived.
    fn leave(&self, number: i64, ending: &Ending) -> Stepped<()> {
        if self.has_bodies {
            const DROP: &str = "DELETE FROM bodies WHERE number = ?1";
            self.step.execute(DROP, [number])?;
        }
        let id = ending.receipt.id;
        // The record needs the id as long as it is kept: then there is nothing to write.
        match ending.entry.is_some() && !id.is_derived() {
            true => Ok(()),
            false => depart(self.step, self.step.namespace, number, id),
        }
    }
}

/// What becomes of the id of an envelope that has gone (B15).
pub(crate) fn depart(step: &Step<'_>, namespace: i64, number: i64, id: EnvelopeId) -> Stepped<()> {
    if id.is_derived() {
        const KEEP: &str = "UPDATE ids SET kept_until = ?3 WHERE id = ?1 AND namespace = ?2";
        let until = millis(step.now + DERIVED_ID_RETENTION);
        step.execute(KEEP, (id.as_bytes(), namespace, until))?;
        return Ok(());
    }
    rows::forget_id(step, namespace, number, id)
}

/// Prolongs leases; a lease that has ended and that nobody took is still held (B3, B4).
pub(crate) fn renew(step: &Step<'_>, receipts: &[Receipt], until: i64) -> Stepped<Vec<Renewal>> {
    const RENEW: &str = concat!(
        "UPDATE envelopes SET until = ?5",
        leased!(),
        " RETURNING cancel"
    );
    let mut renew = step.prepare(RENEW)?;
    let mut renewals = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let number = receipt.position.cast_signed();
        let params = (
            number,
            receipt.delivery,
            receipt.id.as_bytes(),
            step.namespace,
            until,
        );
        let mut rows = renew.query(params)?;
        let renewal = match rows.next()? {
            None => Renewal::Lost,
            Some(row) => match cancel_mode(row.get(0)?) {
                None => Renewal::Held,
                Some(mode) => Renewal::Cancelled(mode),
            },
        };
        renewals.push(renewal);
    }
    Ok(renewals)
}

/// The mark in `envelopes.cancel`: the stronger one wins.
pub(crate) fn cancel_mark(mode: CancelMode) -> i64 {
    match mode {
        CancelMode::Ask => 1,
        CancelMode::Now => 2,
    }
}

fn cancel_mode(mark: i64) -> Option<CancelMode> {
    match mark {
        1 => Some(CancelMode::Ask),
        2 => Some(CancelMode::Now),
        _ => None,
    }
}
