//! What the dead letters promise: nothing set aside is lost, and a replay is a new life.

use std::time::Duration;

use bytes::Bytes;
use futures::join;
use stem_core::broker::{Publication, Published};
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::CancelMode;
use stem_core::state::EndState;
use stem_core::store_error::StoreErrorKind;

use crate::builders::{
    DAY, derived, failure, publication, publications, queue_name, queued_in, task_name, urgent,
};
use crate::fixture::Fixture;
use crate::process::Process;

const NOW: Duration = Duration::ZERO;

async fn bury_all(process: &Process, number: usize) -> Vec<EnvelopeId> {
    let mut ids = Vec::new();
    for publication in publications(number) {
        ids.push(process.bury(&publication).await);
    }
    ids
}

fn page(after: Option<EnvelopeId>, is_oldest_first: bool) -> Page {
    Page {
        after,
        limit: 2,
        is_oldest_first,
    }
}

/// Checks that the filter lets this one through, and no other.
async fn only(process: &Process, filter: &DeadFilter, id: EnvelopeId) {
    assert_eq!(process.dead(filter).await, [id]);
    let count = process.stores.dead_letters.count(filter).await;
    assert_eq!(count.expect("the store answers"), 1);
    let all = process.stores.dead_letters.count(&<_>::default()).await;
    assert_eq!(all.expect("the store answers"), 2);
}

/// B10
pub async fn dead_letters_are_listed_newest_first_page_by_page(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = bury_all(&here, 5).await;
    let all = DeadFilter::default();
    let first = there.dead_page(&all, &page(None, false)).await;
    assert_eq!(first, [ids[4], ids[3]]);
    let second = there.dead_page(&all, &page(Some(ids[3]), false)).await;
    assert_eq!(second, [ids[2], ids[1]]);
    let last = there.dead_page(&all, &page(Some(ids[1]), false)).await;
    assert_eq!(last, [ids[0]]);
    assert_eq!(there.dead_page(&all, &page(Some(ids[0]), false)).await, []);
}

/// B10: a replay by filter goes that way.
pub async fn dead_letters_are_listed_oldest_first_page_by_page(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ids = bury_all(&here, 3).await;
    let all = DeadFilter::default();
    assert_eq!(here.dead_page(&all, &page(None, true)).await, ids[..2]);
    assert_eq!(
        here.dead_page(&all, &page(Some(ids[1]), true)).await,
        ids[2..]
    );
}

/// B10: an empty page would look like the end of the list.
pub async fn a_page_after_what_is_no_dead_letter_is_refused(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = bury_all(&here, 2).await;
    here.remove(&ids[..1]).await;
    here.replay(&ids[1..]).await;
    for after in [ids[0], ids[1], EnvelopeId::new()] {
        let (all, page) = (DeadFilter::default(), page(Some(after), false));
        let refused = there.stores.dead_letters.list(&all, &page).await;
        let error = refused.expect_err("nobody knows where that page begins");
        assert_eq!(error.kind(), StoreErrorKind::Refused);
    }
}

/// B10
pub async fn dead_letters_are_filtered_by_queue(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    let id = here.bury(&queued_in("reports")).await;
    let filter = DeadFilter {
        queue: Some(queue_name("reports")),
        ..<_>::default()
    };
    only(&there, &filter, id).await;
}

/// B10
pub async fn dead_letters_are_filtered_by_task(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    let task = task_name("markdown");
    let other = Publication {
        task: task.clone(),
        ..publication()
    };
    let id = here.bury(&other).await;
    let filter = DeadFilter {
        task: Some(task),
        ..<_>::default()
    };
    only(&there, &filter, id).await;
}

/// B10
pub async fn dead_letters_are_filtered_by_reason(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    let id = here.bury_as(&publication(), DeadReason::Poison).await;
    let filter = DeadFilter {
        reason: Some(DeadReason::Poison),
        ..<_>::default()
    };
    only(&there, &filter, id).await;
}

/// B10: every word for a reason is kept.
pub async fn a_dead_letter_keeps_its_reason(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for reason in DeadReason::ALL {
        let id = here.bury_as(&publication(), reason).await;
        let letter = here.letter(id).await.expect("it is a dead letter");
        assert_eq!((letter.reason, letter.error), (reason, None));
    }
}

/// B10
pub async fn dead_letters_are_filtered_by_time(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.bury(&publication()).await;
    fixture.pass(fixture.lease()).await;
    let since = here.stores.clock.now();
    let id = here.bury(&publication()).await;
    let filter = DeadFilter {
        since: Some(since),
        ..<_>::default()
    };
    only(&here, &filter, id).await;
}

/// B10: what is filtered out takes no room on a page.
pub async fn a_page_holds_what_the_filter_lets_through(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        here.bury(&publication()).await;
        ids.push(here.bury(&queued_in("reports")).await);
    }
    let filter = DeadFilter {
        queue: Some(queue_name("reports")),
        ..<_>::default()
    };
    assert_eq!(here.dead_page(&filter, &page(None, true)).await, ids[..2]);
    let rest = here.dead_page(&filter, &page(Some(ids[1]), true)).await;
    assert_eq!(rest, ids[2..]);
}

/// B10
pub async fn a_dead_letter_shows_why_and_when(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let before = here.stores.clock.now();
    let id = here.bury(&publication()).await;
    let letter = there.letter(id).await.expect("it is a dead letter");
    assert_eq!(letter.reason, DeadReason::AttemptsExhausted);
    assert_eq!(letter.error, Some(failure()));
    assert!((before..=here.stores.clock.now()).contains(&letter.dead_at));
    assert_eq!((letter.generation, letter.attempts), (1, 1));
    assert_eq!(there.letter(EnvelopeId::new()).await, None);
}

/// B10, E1
pub async fn a_dead_letter_keeps_what_was_published(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = Publication {
        bytes: Bytes::from_static(b"garbage"),
        ..publication()
    };
    here.bury(&publication).await;
    let letter = there.letter(publication.id).await;
    let letter = letter.expect("it is a dead letter");
    assert_eq!(letter.id, publication.id);
    assert_eq!(letter.task, publication.task);
    assert_eq!(letter.queue, publication.queue);
    assert_eq!(letter.bytes, publication.bytes);
}

/// B10
pub async fn a_list_shows_what_each_letter_shows(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.bury(&publication()).await;
    let (all, page) = (DeadFilter::default(), page(None, false));
    let listed = there.stores.dead_letters.list(&all, &page).await;
    let letter = here.letter(id).await.expect("it is a dead letter");
    assert_eq!(listed.expect("the store answers"), [letter]);
}

/// B5, B10
pub async fn a_dead_letter_shows_the_attempts_that_were_charged(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    for _ in 0..2 {
        here.settle_next(Settlement::Retry(NOW)).await;
    }
    here.end_next(EndState::Failed).await;
    let letter = here.letter(id).await.expect("it is a dead letter");
    assert_eq!(letter.attempts, 3);
}

/// B5: what never ran is charged nothing.
pub async fn a_dead_letter_that_never_ran_shows_no_attempts(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let poison = Settlement::DeadLetter(DeadReason::Poison);
    here.settle_next(poison).await;
    let letter = here.letter(id).await.expect("it is a dead letter");
    assert_eq!(letter.attempts, 0);
}

/// B10
pub async fn a_replayed_dead_letter_begins_a_new_generation(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    for settlement in [Settlement::Retry(NOW), Settlement::Snooze(NOW)] {
        here.settle_next(settlement).await;
    }
    here.settle_next(Settlement::ReleaseAfterFault(NOW)).await;
    here.lose_one(fixture).await;
    here.end_next(EndState::Failed).await;
    assert_eq!(there.replay(&[id]).await, [true]);
    let delivery = here.claim_one().await;
    assert_eq!((delivery.receipt.delivery, delivery.generation), (6, 2));
    assert_eq!((delivery.attempts, delivery.losses), (0, 0));
    assert_eq!((delivery.snoozes, delivery.faults), (0, 0));
}

/// B8, B10, E2: not a byte is changed.
pub async fn a_replayed_dead_letter_is_delivered_as_it_was_published(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = urgent(7);
    here.bury(&publication).await;
    there.replay(&[publication.id]).await;
    let delivery = here.claim_one().await;
    assert_eq!(delivery.task, publication.task);
    assert_eq!(delivery.queue, publication.queue);
    assert_eq!(delivery.bytes, publication.bytes);
    let status = here.find(publication.id).await.expect("it lives");
    assert_eq!(status.priority, 7);
}

/// B7, B10
pub async fn replayed_dead_letters_join_at_the_end_in_the_order_given(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ids = bury_all(&here, 3).await;
    let waiting = here.add(&publication()).await;
    here.replay(&[ids[1], ids[2], ids[0]]).await;
    let expected = [waiting, ids[1], ids[2], ids[0]];
    assert_eq!(here.claim_ids(4).await, expected);
}

/// B8, B10
pub async fn a_dead_letter_is_replayed_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = bury_all(&here, 20).await;
    let (ours, theirs) = join!(here.replay(&ids), there.replay(&ids));
    assert!(
        ours.iter()
            .zip(theirs)
            .all(|(ours, theirs)| *ours != theirs)
    );
    assert_eq!(here.counts().await, [20, 0, 0, 0]);
    let living = here.add(&publication()).await;
    assert_eq!(
        here.replay(&[living, EnvelopeId::new()]).await,
        [false, false]
    );
}

/// B8: the way from the dead letters to the lane and back, as often as one likes.
pub async fn a_replayed_envelope_can_die_again(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.bury(&publication()).await;
    for generation in 2..5 {
        here.replay(&[id]).await;
        assert_eq!(here.counts().await, [1, 0, 0, 0]);
        here.end_next(EndState::Failed).await;
        assert_eq!(here.counts().await, [0, 0, 0, 1]);
        let status = here.find(id).await.expect("it is a dead letter");
        assert_eq!(status.generation, generation);
        assert_eq!(
            here.record(id).await.map(|record| record.generation),
            Some(generation)
        );
    }
}

/// W7, B10: a cancellation belongs to the life that it was meant for.
pub async fn a_replay_forgets_a_cancellation(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    here.cancel(id, CancelMode::Now).await;
    here.end(&delivery, EndState::Failed).await;
    here.replay(&[id]).await;
    assert!(!here.claim_one().await.is_cancelled);
}

/// B10
pub async fn a_removed_dead_letter_is_gone(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let ids = bury_all(&here, 2).await;
    let living = here.add(&publication()).await;
    let asked = [ids[0], living, EnvelopeId::new(), ids[0]];
    let removed = there.remove(&asked).await;
    assert_eq!(removed, [true, false, false, false]);
    assert_eq!(here.dead(&<_>::default()).await, [ids[1]]);
    assert_eq!(here.replay(&ids).await, [false, true]);
    assert_eq!(here.counts().await, [2, 0, 0, 0]);
}

/// B15: a derived id is remembered also when its dead letter was removed.
pub async fn a_removed_derived_id_is_remembered(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let derived = derived();
    let ids = [here.bury_as(&derived, DeadReason::Rejected).await];
    assert_eq!(here.remove(&ids).await, [true]);
    let again = here.publish(&[derived]).await;
    assert_eq!(again, [Published::AlreadyKnown]);
}

/// B10
pub async fn a_dead_letter_is_kept_for_seven_days(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let old = here.bury(&publication()).await;
    fixture.pass(DAY).await;
    let young = here.bury(&publication()).await;
    fixture.pass(DAY * 6 - fixture.lease()).await;
    here.sweep().await;
    assert_eq!(here.dead(&<_>::default()).await, [young, old]);
    fixture.pass(fixture.lease()).await;
    here.sweep().await;
    assert_eq!(here.dead(&<_>::default()).await, [young]);
    assert_eq!(here.find(old).await, None);
}
