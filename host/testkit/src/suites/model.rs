//! What holds whatever happens: random short histories of one queue, checked after every step.
//!
//! The dice are seeded, so that a history that breaks a promise breaks it again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use stem_core::broker::{Delivery, Due, Publication, Renewal, Settled};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::{CancelMode, Cancelling, Place};
use stem_core::state::{Cause, EndState, State};

use crate::builders::{ending, publication, settling};
use crate::fixture::{Ability, Fixture};
use crate::process::Process;

const STEPS: usize = 60;

/// B5, B8, R1, R2: every envelope is in exactly one place, ends once in each generation, and none is lost.
pub async fn no_history_loses_or_doubles_an_envelope(fixture: &dyn Fixture) {
    let can_move = fixture.abilities().contains(&Ability::MovableClock);
    let histories = if can_move { 40 } else { 6 };
    for seed in 1..=histories {
        let mut history = History::begin(fixture, seed).await;
        for _ in 0..STEPS {
            history.step().await;
            history.follow().await;
            history.check().await;
        }
        history.finish().await;
        history.check().await;
    }
}

/// A small generator of numbers (xorshift): not good, but always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("less than the limit")
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What time alone does: an envelope falls due, a lease ends.
const BY_TIME: [Cause; 2] = [Cause::Due, Cause::Released];

/// Where a cause leads; a lease that ended without a claim is still its worker's to settle (B4). A clock that nobody
/// holds may have gone on before.
fn step(state: State, cause: Cause, is_clock_held: bool) -> State {
    let of_worker = || {
        State::Running
            .after(cause)
            .filter(|_| state == State::Queued)
    };
    let after_time = || {
        let states = BY_TIME.into_iter().filter_map(|time| state.after(time));
        let mut next = states.filter_map(|later| later.after(cause));
        next.next().filter(|_| !is_clock_held)
    };
    let next = state.after(cause).or_else(of_worker).or_else(after_time);
    next.unwrap_or_else(|| panic!("{state} is not left by {cause:?}"))
}

struct History<'a> {
    fixture: &'a dyn Fixture,
    process: Process,
    dice: Dice,
    seed: u64,
    published: Vec<EnvelopeId>,
    /// Every delivery that was ever handed out: most of them are stale.
    deliveries: Vec<Delivery>,
    newest: HashMap<EnvelopeId, u32>,
    ended: HashSet<(EnvelopeId, u32)>,
    /// What each was doing at the last look, and what has moved it since.
    seen: HashMap<EnvelopeId, State>,
    moved: Vec<(EnvelopeId, Cause)>,
}

impl<'a> History<'a> {
    async fn begin(fixture: &'a dyn Fixture, seed: u64) -> Self {
        Self {
            fixture,
            process: Process::here(fixture).await,
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            seed,
            published: Vec::new(),
            deliveries: Vec::new(),
            newest: HashMap::new(),
            ended: HashSet::new(),
            seen: HashMap::new(),
            moved: Vec::new(),
        }
    }

    async fn step(&mut self) {
        match self.dice.below(20) {
            0..=4 => self.publish().await,
            5..=8 => self.claim().await,
            9..=15 => self.settle().await,
            16 => self.renew().await,
            17 => self.cancel().await,
            18 => self.replay().await,
            _ => self.fixture.pass(self.fixture.lease()).await,
        }
    }

    async fn publish(&mut self) {
        let delay = self.fixture.lease();
        let due = self.dice.pick(&[Due::Now, Due::Now, Due::After(delay)]);
        let priority = self.dice.pick(&[0, 0, 5, 9]);
        let publication = Publication {
            due,
            priority,
            ..publication()
        };
        self.published.push(self.process.add(&publication).await);
    }

    async fn claim(&mut self) {
        let limit = self.dice.below(4);
        let queue = publication().queue;
        let lost = self.dice.below(3) == 0;
        let claimed = if lost {
            self.process
                .try_claim_for(self.fixture.lease())
                .await
                .into_iter()
                .collect()
        } else {
            self.process.claim_from(&[queue], limit).await
        };
        for delivery in claimed {
            let number = delivery.receipt.delivery;
            let before = self.newest.insert(delivery.receipt.id, number);
            assert!(
                before.is_none_or(|before| before < number),
                "seed {}",
                self.seed
            );
            self.moved.push((delivery.receipt.id, Cause::Claimed));
            self.deliveries.push(delivery);
        }
    }

    async fn settle(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        let chosen = self.dice.below(self.deliveries.len());
        let delivery = self.deliveries[chosen].clone();
        let delay = self.dice.pick(&[Duration::ZERO, self.fixture.lease()]);
        let settling = match self.dice.below(8) {
            0..=2 => ending(&delivery, EndState::Succeeded),
            3 => ending(&delivery, EndState::Failed),
            4 => settling(&delivery, Settlement::Retry(delay)),
            5 => settling(&delivery, Settlement::Snooze(delay)),
            6 => settling(&delivery, Settlement::ReleaseAfterFault(delay)),
            _ => settling(&delivery, Settlement::Release),
        };
        let settled = self
            .process
            .settle_all(std::slice::from_ref(&settling))
            .await;
        let (cause, is_end) = match settling.settlement {
            Settlement::Ack => (Cause::Succeeded, true),
            Settlement::DeadLetter(_) => (Cause::Failed, true),
            Settlement::Retry(_) => (Cause::Retried, false),
            Settlement::Snooze(_) => (Cause::Snoozed, false),
            Settlement::Release => (Cause::Released, false),
            Settlement::ReleaseAfterFault(_) => (Cause::Faulted, false),
        };
        if settled == [Settled::Done] {
            let id = delivery.receipt.id;
            assert_eq!(
                self.newest[&id], delivery.receipt.delivery,
                "seed {}",
                self.seed
            );
            self.moved.push((id, cause));
            if is_end {
                self.count_end(id, delivery.generation);
            }
        }
    }

    async fn renew(&mut self) {
        let Some(delivery) = self.deliveries.last() else {
            return;
        };
        let id = delivery.receipt.id;
        let renewal = self.process.renew(delivery, self.fixture.lease()).await;
        // A lease that has ended and that nobody took is held again.
        if renewal != Renewal::Lost && self.seen.get(&id) == Some(&State::Queued) {
            self.moved.push((id, Cause::Claimed));
        }
    }

    async fn cancel(&mut self) {
        if self.published.is_empty() {
            return;
        }
        let id = self.dice.pick(&self.published);
        let before = self.process.find(id).await;
        let cancelled = self.process.cancel(id, CancelMode::Ask).await;
        if cancelled == Cancelling::Cancelled {
            let before = before.expect("only what is there can be cancelled");
            self.moved.push((id, Cause::Cancelled));
            self.count_end(id, before.generation);
        }
    }

    async fn replay(&mut self) {
        let dead = self.process.dead(&<_>::default()).await;
        if let Some(id) = dead.first() {
            assert_eq!(self.process.replay(&[*id]).await, [true]);
            self.moved.push((*id, Cause::Replayed));
        }
    }

    fn count_end(&mut self, id: EnvelopeId, generation: u32) {
        let is_first = self.ended.insert((id, generation));
        assert!(
            is_first,
            "{id} ended twice in one generation: seed {}",
            self.seed
        );
    }

    /// What each envelope does now is where the causes lead from what it did before (R1).
    async fn follow(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        if !self.process.stores.broker.capabilities().keeps_records {
            // A record on another server goes first, and may take an end that comes too late for the broker (R2).
            return;
        }
        let is_clock_held = self.fixture.abilities().contains(&Ability::MovableClock);
        for id in self.published.clone() {
            let now = self.process.state(id).await.expect("none is lost");
            let Some(before) = self.seen.insert(id, now) else {
                assert!(matches!(now, State::Scheduled | State::Queued));
                continue;
            };
            let causes = moved.iter().filter(|(moved, _)| *moved == id);
            let expected = causes.fold(before, |state, (_, cause)| {
                step(state, *cause, is_clock_held)
            });
            let by_time = BY_TIME.map(|cause| expected.after(cause));
            let is_legal = now == expected || by_time.contains(&Some(now));
            assert!(is_legal, "{expected} became {now}: seed {}", self.seed);
        }
    }

    /// Every envelope is in the broker, or has ended and its record says so; a dead letter is both.
    async fn check(&self) {
        let mut held = 0;
        for id in &self.published {
            let status = self.process.find(*id).await;
            let generation = status.as_ref().map_or(1, |status| status.generation);
            let has_ended = |generation| self.ended.contains(&(*id, generation));
            let lives = status
                .as_ref()
                .is_some_and(|status| status.place != Place::Dead);
            if status.is_none() || !lives {
                let lookup = self.process.look_up(*id).await.expect("none is lost");
                assert!(lookup.end().is_some(), "{id}: seed {}", self.seed);
            } else {
                assert!(!has_ended(generation), "{id} lives on: seed {}", self.seed);
            }
            held += u64::from(status.is_some());
        }
        let counted: u64 = self.process.counts().await.iter().sum();
        assert_eq!(counted, held, "seed {}", self.seed);
    }

    /// Lets everything end that can still run.
    async fn finish(&mut self) {
        self.fixture.pass(self.fixture.lease()).await;
        for delivery in std::mem::take(&mut self.deliveries) {
            self.process.settle(&delivery, Settlement::Release).await;
        }
        loop {
            let claimed = self.process.claim(100).await;
            if claimed.is_empty() {
                break;
            }
            for delivery in claimed {
                let settlement = ending(&delivery, EndState::Succeeded);
                assert_eq!(
                    self.process.settle_all(&[settlement]).await,
                    [Settled::Done]
                );
                self.count_end(delivery.receipt.id, delivery.generation);
            }
        }
        let dead = self.process.dead(&<_>::default()).await;
        let removed = self.process.remove(&dead).await;
        assert!(removed.iter().all(|removed| *removed));
        assert_eq!(self.process.queues().await, [], "seed {}", self.seed);
    }
}
