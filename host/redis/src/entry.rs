//! How an envelope is kept: a head that scripts rewrite in place, its names, and its bytes as they were published.
//!
//! Place, flags, priority and format are one byte each; generation, attempts, deliveries, losses, snoozes and faults are
//! four bytes each, most significant first; a position of at most 32 bytes follows its length. Then the lengths of the
//! queue, the task and the digest, these three, and the bytes.

use bytes::Bytes;
use stem_core::broker::{Delivery, Due, Publication, Receipt};
use stem_core::clock::{Timestamp, in_millis};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::{QueueName, TaskName, WorkerName};
use stem_core::queues::{EnvelopeStatus, Place};

use crate::problem::{Problem, Stepped};
use crate::reply;

const POSITION: usize = 28;
const LENGTHS: usize = POSITION + 33;
const NAMES: usize = LENGTHS + 3;

const HELD: u8 = 2;
const DEAD: u8 = 3;

const RETRY: u8 = 4;
const CANCELLED: u8 = 8 | 16;

/// The mark that asks what runs to stop.
pub(crate) const ASK: u8 = 8;
/// The mark that ends it at once.
pub(crate) const NOW: u8 = 16;

/// An envelope as the server keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: EnvelopeId,
    blob: Bytes,
}

impl Entry {
    pub(crate) fn new(id: EnvelopeId, blob: Bytes) -> Stepped<Self> {
        let entry = Self { id, blob };
        let is_whole = entry.blob.len() >= NAMES && entry.blob.len() >= entry.bytes_at();
        match is_whole {
            true => Ok(entry),
            false => Err(Problem::unreadable("an envelope", "it is too short")),
        }
    }

    /// A head's number, counted from the first.
    fn count(&self, index: usize) -> u32 {
        let at = 4 + 4 * index;
        let number = self.blob[at..at + 4].iter();
        number.fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    pub(crate) fn generation(&self) -> u32 {
        self.count(0)
    }

    /// Deliveries that have ended.
    pub(crate) fn ended_deliveries(&self) -> u32 {
        self.count(2)
    }

    /// The two numbers of its position: a time, and which came first.
    fn position(&self) -> (u64, u64) {
        let length = usize::from(self.blob[POSITION]).min(32);
        let text = &self.blob[POSITION + 1..=POSITION + length];
        let text = std::str::from_utf8(text).unwrap_or_default();
        let (time, number) = text.split_once('-').unwrap_or((text, "0"));
        // What is later than a number can say never comes.
        let parse = |digits: &str| digits.parse().unwrap_or(u64::MAX);
        (parse(time), parse(number))
    }

    fn lengths(&self) -> [usize; 3] {
        [0, 1, 2].map(|index| usize::from(self.blob[LENGTHS + index]))
    }

    fn bytes_at(&self) -> usize {
        NAMES + self.lengths().iter().sum::<usize>()
    }

    pub(crate) fn queue(&self) -> Stepped<QueueName> {
        let [queue, ..] = self.lengths();
        reply::name(&self.blob[NAMES..NAMES + queue], |text| {
            QueueName::new(text)
        })
    }

    pub(crate) fn task(&self) -> Stepped<TaskName> {
        let [queue, task, _] = self.lengths();
        let at = NAMES + queue;
        reply::name(&self.blob[at..at + task], |text| TaskName::new(text))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.blob.slice(self.bytes_at()..)
    }

    /// When it died, where it is a dead letter.
    pub(crate) fn died_at(&self) -> Timestamp {
        Timestamp::from_millis(self.position().0)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.count(1)
    }

    /// What a claim at this time gives of it.
    pub(crate) fn delivery(&self, now: Timestamp) -> Stepped<Delivery> {
        Ok(Delivery {
            receipt: Receipt {
                id: self.id,
                delivery: self.ended_deliveries() + 1,
                // An id alone finds its envelope.
                position: 0,
            },
            queue: self.queue()?,
            task: self.task()?,
            bytes: self.bytes(),
            generation: self.generation(),
            attempts: self.attempts(),
            losses: self.count(3),
            snoozes: self.count(4),
            faults: self.count(5),
            is_cancelled: self.blob[1] & CANCELLED != 0,
            claimed_at: now,
        })
    }

    /// What the broker has of it, and with whom it is.
    pub(crate) fn status(&self, lease: Option<(WorkerName, Timestamp)>) -> Stepped<EnvelopeStatus> {
        let is_leased = lease.is_some();
        let place = match (self.blob[0], lease) {
            (HELD, _) => Place::Held {
                until: Timestamp::from_millis(self.position().0),
                is_retry: self.blob[1] & RETRY != 0,
            },
            (DEAD, _) => Place::Dead,
            (_, Some((worker, until))) => Place::Leased { worker, until },
            (_, None) => Place::Ready,
        };
        Ok(EnvelopeStatus {
            id: self.id,
            task: self.task()?,
            queue: self.queue()?,
            priority: self.blob[2],
            generation: self.generation(),
            attempts: self.attempts(),
            deliveries: self.ended_deliveries() + u32::from(is_leased),
            place,
            bytes: self.bytes(),
        })
    }
}

/// What is kept behind the head.
pub(crate) fn tail(publication: &Publication) -> Vec<u8> {
    let module = publication.module.as_ref().map(Digest::as_bytes);
    let parts: [&[u8]; 3] = [
        publication.queue.as_str().as_bytes(),
        publication.task.as_str().as_bytes(),
        module.map_or(&[], |digest| digest),
    ];
    // Names have at most 128 bytes (E5).
    let lengths = parts.map(|part| u8::try_from(part.len()).unwrap_or(u8::MAX));
    [&lengths[..], &parts.concat(), &publication.bytes].concat()
}

/// Where it is to lie, as the script takes it: priority, due time, queue.
pub(crate) fn place(publication: &Publication) -> String {
    let due = match publication.due {
        Due::Now => String::new(),
        Due::After(delay) => format!("+{}", in_millis(delay)),
        Due::At(time) => format!("@{}", time.as_millis()),
    };
    format!("{}{due} {}", publication.priority, publication.queue)
}

/// A lease: the envelope, and which delivery of it.
pub(crate) fn lease(receipt: &Receipt) -> [u8; 20] {
    let mut lease = [0; 20];
    lease[..16].copy_from_slice(receipt.id.as_bytes());
    lease[16..].copy_from_slice(&receipt.delivery.to_be_bytes());
    lease
}
