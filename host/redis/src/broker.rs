//! The broker's seam: each call is one script.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stem_core::broker::{
    Broker, Capabilities, Claim, Delivery, Publication, Published, Receipt, Renewal, Settled,
    Settling, Wakeups,
};
use stem_core::clock::in_millis;
use stem_core::names::{QueueName, WorkerName};
use stem_core::queues::CancelMode;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::units::ByteSize;

use crate::entry::{self, Entry};
use crate::lines::Taken;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::scripts;
use crate::settle::Ending;
use crate::store::Store;
use crate::wakeups::Work;

const PUBLISH: &str = "publish";
const CLAIM: &str = "claim";
const RENEW: &str = "renew leases";
/// For so many the server needs half a tenth of a second, and for so many bytes half a second.
const MOST_PUBLISHED: usize = 10_000;
const LARGEST_PUBLISHED: ByteSize = ByteSize(64 << 20);

#[async_trait]
impl Broker for Store {
    async fn publish(&self, publications: &[Publication]) -> Result<Vec<Published>, StoreError> {
        self.named(PUBLISH, check_size(publications))?;
        self.shared.check_room(PUBLISH).await?;
        let mut call = self.call(&scripts::PUBLISH);
        // Of one id that comes twice, only the first is new.
        let mut ids = HashSet::with_capacity(publications.len());
        let first = publications.iter().filter(|one| ids.insert(one.id));
        for publication in first {
            call.arg(publication.id.as_bytes())
                .arg(entry::place(publication))
                .arg(entry::tail(publication));
        }
        let answer = self.run_through(PUBLISH, &call).await?;
        let marks = self.named(PUBLISH, reply::marks(answer, ids.len()))?;
        let mut marks = marks.into_iter();
        let published = publications.iter().map(|publication| {
            let is_new = ids.remove(&publication.id) && marks.next() == Some(b'1');
            if is_new {
                Published::Stored
            } else {
                Published::AlreadyKnown
            }
        });
        Ok(published.collect())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Delivery>, StoreError> {
        let mut line = self.shared.lines.take();
        loop {
            let claimed = self.claim_on(&mut line, claim).await?;
            if claimed.is_more && claimed.deliveries.is_empty() {
                continue;
            }
            if claimed.is_more {
                self.shared.bell.ring_for_work(&claim.queues);
            }
            return Ok(claimed.deliveries);
        }
    }

    async fn renew(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Renewal>, StoreError> {
        let mut call = self.call(&scripts::RENEW);
        call.arg(in_millis(lease));
        for receipt in receipts {
            call.arg(&entry::lease(receipt));
        }
        let answer = self.run(RENEW, &call).await?;
        let marks = self.named(RENEW, reply::marks(answer, receipts.len()))?;
        let renewals = marks.into_iter().map(renewal).collect();
        self.named(RENEW, renewals)
    }

    async fn settle(&self, settlings: &[Settling]) -> Result<Vec<Settled>, StoreError> {
        let endings = settlings.iter().map(Ending::of).collect();
        let endings = self.named("settle", endings)?;
        self.settle_all(endings).await
    }

    async fn work(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError> {
        Ok(Box::new(Work::begin(&self.shared, queues).await?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            is_shared: true,
            is_durable: true,
            keeps_records: true,
        }
    }
}

/// Refuses what would hold up everybody else on the server for too long: a batch is one step, so that it cannot be
/// published in parts here. The script refuses as many.
fn check_size(publications: &[Publication]) -> Stepped<()> {
    let (number, most) = (publications.len(), MOST_PUBLISHED);
    let size = publications.iter().map(|one| one.bytes.len() as u64);
    let (size, largest) = (ByteSize(size.sum()), LARGEST_PUBLISHED);
    if number <= most && size <= largest {
        return Ok(());
    }
    let message = format!(
        "{number} envelopes of {size} in all were given, and {most} of {largest} are published in one step at the most: \
         publish them in smaller batches"
    );
    Err(Problem::new(StoreErrorKind::Refused, message))
}

/// What one run of the script gives.
struct Claimed {
    deliveries: Vec<Delivery>,
    /// Whether there may be more at once: an answer has a size, and what has to be done before it another bound.
    is_more: bool,
}

impl Store {
    async fn claim_on(&self, line: &mut Taken<'_>, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut call = self.call(&scripts::CLAIM);
        line.ask(&mut call);
        call.arg(claim.worker.as_str())
            .arg(claim.limit)
            .arg(in_millis(claim.lease));
        for queue in &claim.queues {
            call.arg(queue.as_str());
        }
        let answer = self.run(CLAIM, &call).await?;
        line.hear();
        self.named(CLAIM, claimed(answer))
    }

    /// Gives back what claims have leased whose answers never arrived: nobody here asks for more.
    pub(crate) async fn give_back(&self, worker: &WorkerName) -> Result<(), StoreError> {
        while let Some(mut line) = self.shared.lines.take_unanswered() {
            let nothing = Claim {
                worker: worker.clone(),
                queues: Vec::new(),
                limit: 0,
                lease: Duration::ZERO,
            };
            self.claim_on(&mut line, &nothing).await?;
        }
        Ok(())
    }
}

fn claimed(answer: Value) -> Stepped<Claimed> {
    let mut values = reply::list(answer)?.into_iter();
    let now = reply::time(reply::next(&mut values)?)?;
    let is_more = reply::number(reply::next(&mut values)?)? == 1;
    let mut deliveries = Vec::with_capacity(values.len() / 2);
    while let Some(id) = values.next() {
        let id = reply::id(&reply::bytes(id)?)?;
        let blob = reply::bytes(reply::next(&mut values)?)?;
        deliveries.push(Entry::new(id, blob)?.delivery(now)?);
    }
    Ok(Claimed {
        deliveries,
        is_more,
    })
}

fn renewal(mark: u8) -> Stepped<Renewal> {
    match mark {
        b'0' => Ok(Renewal::Lost),
        b'1' => Ok(Renewal::Held),
        b'2' => Ok(Renewal::Cancelled(CancelMode::Ask)),
        b'3' => Ok(Renewal::Cancelled(CancelMode::Now)),
        _ => Err(Problem::unexpected("a renewal")),
    }
}
