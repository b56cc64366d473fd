//! What was published, what killed workers had in hand, and whether every envelope ended as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use stem_core::clock::Timestamp;
use stem_core::lookup::Lookup;
use stem_core::names::WorkerName;
use stem_core::queues::Place;
use stem_core::record::OutcomeWord;
use stem_core::state::State;
use stem_tests::store::TestStore;

/// Whatever a dead worker had runs elsewhere by then (W6): with the default lease, and so with every shorter one.
const SLOWEST_RESCUE: Duration = Duration::from_secs(20);

/// How long what was cut off may still be felt.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Times are kept in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// A delivery that was in a worker's hands when it was killed.
struct Loss {
    delivery: u32,
    at: Timestamp,
}

/// What was published, and what became of it.
pub struct Ledger {
    store: TestStore,
    /// How long a lease lasts.
    lease: Duration,
    /// Every envelope, and how many of its attempts are to fail.
    published: BTreeMap<String, u32>,
    open: Vec<String>,
    losses: BTreeMap<String, Vec<Loss>>,
    outages: Vec<Range<Timestamp>>,
}

/// How deliveries were rescued.
#[derive(Debug, Default)]
pub struct Rescues {
    /// How many there were.
    pub count: usize,
    /// The longest time from a kill until the envelope was in other hands, without the time that the server was away.
    pub slowest: Duration,
}

impl Ledger {
    /// An empty one, of workers who lease for so long.
    pub fn on(store: TestStore, lease: Duration) -> Self {
        Self {
            store,
            lease,
            published: BTreeMap::new(),
            open: Vec::new(),
            losses: BTreeMap::new(),
            outages: Vec::new(),
        }
    }

    /// Where its envelopes are.
    pub fn store(&self) -> &TestStore {
        &self.store
    }

    /// How many envelopes there are.
    pub fn count(&self) -> usize {
        self.published.len()
    }

    /// Adds envelopes of which so many attempts are to fail.
    pub fn add(&mut self, ids: Vec<String>, failures: u32) {
        let fresh = ids.iter().map(|id| (id.clone(), failures));
        self.published.extend(fresh);
        self.open.extend(ids);
    }

    /// The envelopes that have not ended yet.
    fn open(&mut self) -> Vec<(String, Lookup)> {
        let lookups = self.store.look_up(&self.open);
        let all = std::mem::take(&mut self.open).into_iter().zip(lookups);
        let open: Vec<_> = all
            .filter(|(_, lookup)| lookup.state.end().is_none())
            .collect();
        self.open = open.iter().map(|(id, _)| id.clone()).collect();
        open
    }

    /// How many have not ended yet.
    pub fn count_open(&mut self) -> usize {
        self.open().len()
    }

    /// What runs: the envelope, which delivery of it, and the worker that has it.
    fn running(&mut self) -> Vec<(String, u32, WorkerName)> {
        let held = |(id, lookup): (String, Lookup)| {
            let status = lookup.status.expect("what has not ended is in the broker");
            match status.place {
                Place::Leased { worker, .. } => Some((id, status.deliveries, worker)),
                Place::Ready | Place::Held { .. } | Place::Dead => None,
            }
        };
        self.open().into_iter().filter_map(held).collect()
    }

    /// How many workers have something in hand.
    pub fn count_busy(&mut self) -> usize {
        let running = self.running();
        let workers: BTreeSet<_> = running.iter().map(|(_, _, worker)| worker).collect();
        workers.len()
    }

    /// Notes what a worker had in hand when it was killed.
    pub fn note_losses(&mut self, killed: &str, at: Timestamp) {
        let running = self.running();
        let lost = running.into_iter();
        for (id, delivery, _) in lost.filter(|(_, _, worker)| worker.as_str() == killed) {
            let losses = self.losses.entry(id).or_default();
            losses.push(Loss { delivery, at });
        }
    }

    /// Notes when the server was away.
    pub fn note_outage(&mut self, outage: Range<Timestamp>) {
        self.outages.push(outage);
    }

    /// Looks at every envelope again, and at every rescue.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn check(&self) -> Rescues {
        let ids: Vec<String> = self.published.keys().cloned().collect();
        let mut rescues = Rescues::default();
        for (id, lookup) in ids.iter().zip(self.store.look_up(&ids)) {
            assert_ended_once(&lookup, self.published[id]);
            self.assert_lost_one_by_one(&lookup);
            for time in self.rescues(id, &lookup) {
                rescues.count += 1;
                rescues.slowest = rescues.slowest.max(time);
            }
        }
        assert!(rescues.slowest <= SLOWEST_RESCUE, "{rescues:?}");
        rescues
    }

    /// A worker is lost when a lease has ended, so that no two are lost within one: each is counted once (B3, B5). Where a
    /// connection was cut, a delivery may also have been given back without a loss.
    fn assert_lost_one_by_one(&self, lookup: &Lookup) {
        let record = lookup.record.as_ref().expect("an end has a record");
        let mut before = (0, record.enqueued_at.unwrap_or_default());
        for attempt in &record.attempts {
            let (delivery, since) = before;
            let lost = attempt.delivery - delivery - 1;
            let took = attempt.started_at.since(since) + ROUNDING;
            let is_disturbed = self.is_disturbed(&(since..attempt.started_at));
            assert!(
                is_disturbed || took >= self.lease * lost,
                "{lost} workers were lost within {took:?}: {record:?}"
            );
            before = (attempt.delivery, attempt.ended_at);
        }
    }

    /// Whether the server was away meanwhile, or had only just come back.
    fn is_disturbed(&self, time: &Range<Timestamp>) -> bool {
        let mut outages = self.outages.iter();
        outages.any(|one| one.start < time.end && one.end + AFTERMATH > time.start)
    }

    /// How long each loss of an envelope lasted.
    fn rescues(&self, id: &str, lookup: &Lookup) -> Vec<Duration> {
        let losses = self.losses.get(id).map_or(&[][..], Vec::as_slice);
        let attempts = || lookup.record.iter().flat_map(|record| &record.attempts);
        // It may have been settled with the worker's last breath.
        let is_settled = |loss: &Loss| attempts().any(|one| one.delivery == loss.delivery);
        let rescue = |loss: &Loss| {
            let later = attempts().filter(|one| one.delivery > loss.delivery);
            let later = later.map(|one| one.started_at);
            let lost_again = losses.iter().filter(|one| one.delivery > loss.delivery);
            let seen = later.chain(lost_again.map(|one| one.at)).min();
            let seen = seen.expect("it ended in other hands");
            let away = self
                .outages
                .iter()
                .map(|one| overlap(one, &(loss.at..seen)));
            seen.since(loss.at).saturating_sub(away.sum())
        };
        let lost = losses.iter().filter(|loss| !is_settled(loss));
        lost.map(rescue).collect()
    }
}

/// How long both last.
fn overlap(one: &Range<Timestamp>, other: &Range<Timestamp>) -> Duration {
    let (from, to) = (one.start.max(other.start), one.end.min(other.end));
    to.since(from)
}

/// Nothing is left in the broker, and the record has one end: after as many failures as there were to be, and none that
/// was charged for a kill.
pub fn assert_ended_once(lookup: &Lookup, failures: u32) {
    assert_eq!(lookup.state, State::Succeeded, "{lookup:?}");
    assert!(lookup.status.is_none(), "still in the broker: {lookup:?}");
    let record = lookup.record.as_ref().expect("an end has a record");
    let charged = record
        .attempts
        .iter()
        .filter(|one| one.outcome != OutcomeWord::Interrupted);
    let charged: Vec<_> = charged.map(|one| (one.number, one.outcome)).collect();
    let failed = (1..=failures).map(|number| (number, OutcomeWord::Failed));
    let expected: Vec<_> = failed
        .chain([(failures + 1, OutcomeWord::Succeeded)])
        .collect();
    assert_eq!(charged, expected, "{record:?}");
}

#[test]
fn times_overlap_where_both_last() {
    let range = |from, to| Timestamp::from_millis(from)..Timestamp::from_millis(to);
    for (one, other, expected) in [
        (range(0, 10), range(5, 20), 5),
        (range(5, 20), range(0, 10), 5),
        (range(0, 30), range(5, 20), 15),
        (range(0, 5), range(10, 20), 0),
    ] {
        assert_eq!(overlap(&one, &other), Duration::from_millis(expected));
    }
}
