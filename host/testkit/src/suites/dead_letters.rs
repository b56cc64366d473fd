//! What the dead letters promise: nothing set aside is lost, and a replay is a new life.

use futures::join;
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::CancelMode;
use stem_core::state::EndState;

use crate::builders::{
    DAY, derived, failure, publication, publications, queue_name, queued_in, task_name,
};
use crate::fixture::Fixture;
use crate::process::Process;

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

/// B10
pub async fn dead_letters_are_filtered_by_queue_task_and_reason(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut other_task = publication();
    other_task.task = task_name("markdown");
    let by_task = here.bury(&other_task).await;
    let by_queue = here.bury(&queued_in("reports")).await;
    let by_reason = here.bury_as(&publication(), DeadReason::Poison).await;
    let (queue, task) = (Some(queue_name("reports")), Some(other_task.task));
    let reason = Some(DeadReason::Poison);
    for (filter, expected) in [
        (
            DeadFilter {
                queue,
                ..<_>::default()
            },
            vec![by_queue],
        ),
        (
            DeadFilter {
                task,
                ..<_>::default()
            },
            vec![by_task],
        ),
        (
            DeadFilter {
                reason,
                ..<_>::default()
            },
            vec![by_reason],
        ),
        (DeadFilter::default(), vec![by_reason, by_queue, by_task]),
    ] {
        assert_eq!(there.dead(&filter).await, expected);
        let count = there.stores.dead_letters.count(&filter).await;
        assert_eq!(count.expect("the store answers"), expected.len() as u64);
    }
}

/// B10
pub async fn dead_letters_are_filtered_by_time(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let early = here.bury(&publication()).await;
    fixture.pass(fixture.lease()).await;
    let since = Some(here.stores.clock.now());
    let late = here.bury(&publication()).await;
    let filter = DeadFilter {
        since,
        ..<_>::default()
    };
    assert_eq!(here.dead(&filter).await, [late]);
    assert_eq!(here.dead(&<_>::default()).await, [late, early]);
}

/// B10: a filter and a page together: what is filtered out takes no room on a page.
pub async fn a_page_holds_what_the_filter_lets_through(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        here.bury(&publication()).await;
        expected.insert(0, here.bury(&queued_in("reports")).await);
    }
    let filter = DeadFilter {
        queue: Some(queue_name("reports")),
        ..<_>::default()
    };
    assert_eq!(
        here.dead_page(&filter, &page(None, false)).await,
        expected[..2]
    );
    let rest = here
        .dead_page(&filter, &page(Some(expected[1]), false))
        .await;
    assert_eq!(rest, expected[2..]);
}

/// B10, E1
pub async fn a_dead_letter_shows_why_and_keeps_its_bytes(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = publication();
    let before = here.stores.clock.now();
    here.bury(&publication).await;
    let ids = [EnvelopeId::new(), publication.id];
    let letters = there
        .stores
        .dead_letters
        .show(&ids)
        .await
        .expect("the store answers");
    let [None, Some(letter)] = &letters[..] else {
        panic!("one answer for each id: {letters:?}");
    };
    assert_eq!(
        (letter.id, &letter.bytes),
        (publication.id, &publication.bytes)
    );
    assert_eq!(
        (&letter.task, &letter.queue),
        (&publication.task, &publication.queue)
    );
    assert_eq!(letter.reason, DeadReason::AttemptsExhausted);
    assert_eq!(letter.error, Some(failure()));
    assert!((before..=here.stores.clock.now()).contains(&letter.dead_at));
    assert_eq!(letter.generation, 1);
}

/// B5, B10
pub async fn a_dead_letter_shows_the_attempts_that_were_charged(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let retry = Settlement::Retry(std::time::Duration::ZERO);
    here.settle(&here.claim_one().await, retry).await;
    here.settle(&here.claim_one().await, retry).await;
    here.end(&here.claim_one().await, EndState::Failed).await;
    let letters = here
        .stores
        .dead_letters
        .show(&[id])
        .await
        .expect("the store answers");
    assert_eq!(letters[0].as_ref().map(|letter| letter.attempts), Some(2));
}

/// B10
pub async fn a_replayed_dead_letter_begins_a_new_generation(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = publication();
    here.add(&publication).await;
    here.settle(&here.claim_one().await, Settlement::Retry(<_>::default()))
        .await;
    here.settle(&here.claim_one().await, Settlement::Snooze(<_>::default()))
        .await;
    here.lose_one(fixture).await;
    here.end(&here.claim_one().await, EndState::Failed).await;
    assert_eq!(there.replay(&[publication.id]).await, [true]);
    let delivery = here.claim_one().await;
    assert_eq!((delivery.generation, delivery.receipt.delivery), (2, 5));
    assert_eq!(
        (delivery.attempts, delivery.losses, delivery.snoozes),
        (0, 0, 0)
    );
    assert_eq!(
        (delivery.queue, delivery.bytes),
        (publication.queue, publication.bytes)
    );
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
        here.end(&here.claim_one().await, EndState::Failed).await;
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
    let removed = there.stores.dead_letters.remove(&asked).await;
    assert_eq!(
        removed.expect("the store answers"),
        [true, false, false, false]
    );
    assert_eq!(here.dead(&<_>::default()).await, [ids[1]]);
    assert_eq!(here.replay(&ids).await, [false, true]);
    assert_eq!(here.counts().await, [2, 0, 0, 0]);
}

/// B15: a derived id is remembered also when its dead letter was removed.
pub async fn a_removed_derived_id_is_remembered(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let derived = derived();
    let ids = [here.bury_as(&derived, DeadReason::Rejected).await];
    let removed = here.stores.dead_letters.remove(&ids).await;
    assert_eq!(removed.expect("the store answers"), [true]);
    let again = here.publish(&[derived]).await;
    assert_eq!(again, [stem_core::broker::Published::AlreadyKnown]);
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
