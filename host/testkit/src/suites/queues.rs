//! What looking after queues promises: true counts, durable pauses, and every envelope found where it stands.

use stem_core::broker::{Due, Publication, Renewal};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::{CancelMode, Place, QueueStatus};
use stem_core::state::{EndState, State};

use crate::builders::{
    DEFAULT_QUEUE, delayed, publication, publications, queue_name, queued_in, task_name, urgent,
};
use crate::fixture::Fixture;
use crate::process::{LONG, Process};

/// B11
pub async fn a_queue_counts_what_it_holds(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    here.add_all(&publications(6)).await;
    let deliveries = here.claim(3).await;
    here.settle(&deliveries[0], Settlement::Retry(LONG)).await;
    here.add_all(&[delayed(LONG), urgent(9)]).await;
    assert_eq!(there.counts().await, [4, 2, 2, 1]);
}

/// B11
pub async fn queues_that_hold_something_are_listed_by_name(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&queued_in("c-dead")).await;
    let ready = ["d-ready", "a-ready"].map(queued_in);
    here.add_all(&ready).await;
    let held = Publication {
        due: Due::After(LONG),
        ..queued_in("b-held")
    };
    here.add(&held).await;
    here.add(&publication()).await;
    here.end_next(EndState::Succeeded).await;
    let names = there.queues().await.into_iter().map(|queue| queue.name);
    assert!(names.eq(["a-ready", "b-held", "c-dead", "d-ready"].map(queue_name)));
}

/// B11
pub async fn a_paused_queue_is_listed_though_it_holds_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.set_paused(true).await;
    let paused = QueueStatus {
        name: queue_name(DEFAULT_QUEUE),
        is_paused: true,
        queued: 0,
        scheduled: 0,
        running: 0,
        dead: 0,
    };
    assert_eq!(there.queues().await, [paused]);
    there.set_paused(false).await;
    assert_eq!(here.queues().await, []);
}

/// B11: nothing that waits, nothing that falls due, nothing that a worker lost.
pub async fn a_paused_queue_hands_nothing_out_in_any_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    here.claim_for(fixture.lease()).await;
    here.add_all(&[publication(), delayed(fixture.lease())])
        .await;
    here.set_paused(true).await;
    fixture.pass(fixture.lease()).await;
    assert!(here.claim(5).await.is_empty());
    assert!(there.claim(5).await.is_empty());
}

/// B11
pub async fn a_pause_is_one_queues_own(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.set_paused(true).await;
    here.add(&publication()).await;
    let other = here.add(&queued_in("other")).await;
    let both = [DEFAULT_QUEUE, "other"].map(queue_name);
    let claimed = there.claim_from(&both, 5).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].receipt.id, other);
}

/// B11
pub async fn a_resumed_queue_hands_out_again(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.set_paused(true).await;
    let id = here.add(&publication()).await;
    there.set_paused(false).await;
    assert_eq!(here.claim_ids(1).await, [id]);
    assert!(here.queues().await.iter().all(|queue| !queue.is_paused));
}

/// B11
pub async fn pausing_leaves_what_runs_alone(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add_all(&publications(2)).await;
    let [first, second] = here.claim(2).await.try_into().expect("two were claimed");
    here.set_paused(true).await;
    assert_eq!(here.renew(&first, LONG).await, Renewal::Held);
    here.end(&first, EndState::Succeeded).await;
    here.settle(&second, Settlement::Release).await;
    assert_eq!(here.counts().await, [1, 0, 0, 0]);
}

/// B11
pub async fn a_pause_outlives_who_asked_for_it(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    here.set_paused(true).await;
    drop(here);
    let (_, there) = Process::two(fixture).await;
    assert!(there.claim(1).await.is_empty());
}

/// R1: what an envelope is doing is read from where it stands.
pub async fn an_envelope_is_found_where_it_stands(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut envelopes = vec![(here.bury(&publication()).await, State::Failed)];
    envelopes.push((here.add(&publication()).await, State::Retrying));
    here.settle_next(Settlement::Retry(LONG)).await;
    envelopes.push((here.add(&publication()).await, State::Running));
    here.claim_one().await;
    envelopes.push((here.add(&publication()).await, State::Queued));
    envelopes.push((here.add(&delayed(LONG)).await, State::Scheduled));
    for (id, state) in envelopes {
        let status = there.find(id).await.expect("it lives");
        assert_eq!(status.state(), state);
        assert_eq!(there.state(id).await, Some(state));
    }
}

/// R1
pub async fn envelopes_are_found_in_the_order_asked_for(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let ids = here.add_all(&publications(2)).await;
    let asked = [ids[1], EnvelopeId::new(), ids[0], ids[1]];
    let found = here.stores.queues.find(&asked).await;
    let found = found.expect("the store answers").into_iter();
    let found: Vec<_> = found.map(|status| status.map(|status| status.id)).collect();
    let expected = [Some(ids[1]), None, Some(ids[0]), Some(ids[1])];
    assert_eq!(found, expected);
}

/// E2
pub async fn a_status_shows_what_was_published(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = urgent(7);
    here.add(&publication).await;
    let status = there.find(publication.id).await.expect("it lives");
    assert_eq!(status.id, publication.id);
    assert_eq!(status.task, publication.task);
    assert_eq!(status.queue, publication.queue);
    assert_eq!(status.priority, publication.priority);
    assert_eq!(status.bytes, publication.bytes);
}

/// E2
pub async fn a_status_shows_what_was_counted(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.bury(&publication()).await;
    here.replay(&[id]).await;
    here.settle_next(Settlement::Retry(<_>::default())).await;
    let status = there.find(id).await.expect("it lives");
    assert_eq!((status.generation, status.attempts), (2, 1));
    assert_eq!(status.deliveries, 2);
}

/// R1: nobody has to claim before it shows.
pub async fn an_envelope_that_has_fallen_due_is_queued(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&delayed(fixture.lease())).await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(there.place(id).await, Some(Place::Ready));
}

/// B11
pub async fn an_envelope_that_has_fallen_due_is_counted_as_queued(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add_all(&[delayed(fixture.lease()), delayed(LONG)])
        .await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(there.counts().await, [1, 1, 0, 0]);
}

/// R1, B11: nobody has to claim before it shows, not even where nobody can.
pub async fn an_envelope_whose_worker_was_lost_is_queued(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    here.lose_one(fixture).await;
    here.set_paused(true).await;
    assert_eq!(there.state(id).await, Some(State::Queued));
    assert_eq!(there.counts().await, [1, 0, 0, 0]);
    assert_eq!(there.waiting(10).await, [id]);
}

/// B11: purging cancels what waits, and only that.
pub async fn what_waits_in_a_queue_is_listed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    here.add(&queued_in("other")).await;
    let retried = here.add(&publication()).await;
    here.settle_next(Settlement::Retry(LONG)).await;
    here.add(&publication()).await;
    here.claim_one().await;
    let mut ids = here.add_all(&[publication(), delayed(LONG)]).await;
    ids.push(retried);
    let mut waiting = there.waiting(10).await;
    ids.sort();
    waiting.sort();
    assert_eq!(waiting, ids);
}

/// B11
pub async fn what_waits_is_listed_in_chunks(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add_all(&publications(5)).await;
    for left in [3, 2, 0] {
        let chunk = here.waiting(3).await;
        assert_eq!(chunk.len(), left);
        let cancelled = here.stores.queues.cancel(&chunk, CancelMode::Ask).await;
        assert_eq!(cancelled.expect("the store answers").len(), left);
    }
    assert_eq!(here.queues().await, []);
}

/// One for this task.
fn of_task(task: &str, publication: Publication) -> Publication {
    Publication {
        task: task_name(task),
        ..publication
    }
}

/// M3: those of other tasks are not asked for, and a task that none waits for is left out.
pub async fn what_waits_is_counted_by_task_in_all_queues(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&of_task("a", publication())).await;
    here.settle_next(Settlement::Retry(LONG)).await;
    let of_a = [publication(), delayed(LONG), queued_in("other")];
    here.add_all(&of_a.map(|one| of_task("a", one))).await;
    let others = ["b", "c"].map(|task| of_task(task, publication()));
    here.add_all(&others).await;
    let counts = there.count_waiting(&["a", "b", "d"]).await;
    assert_eq!(counts, [("a".to_owned(), 4), ("b".to_owned(), 1)]);
    assert_eq!(there.count_waiting(&[]).await, []);
}

/// M3: what its worker has lost waits again.
pub async fn what_runs_or_is_dead_waits_for_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&of_task("a", publication())).await;
    here.add(&of_task("a", publication())).await;
    here.claim_one().await;
    assert_eq!(there.count_waiting(&["a"]).await, []);
    here.add(&of_task("a", publication())).await;
    here.lose_one(fixture).await;
    assert_eq!(there.count_waiting(&["a"]).await, [("a".to_owned(), 1)]);
}
