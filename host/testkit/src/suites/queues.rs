//! What steering promises: true counts, durable pauses, and a cancellation that reaches an envelope wherever it lies.

use std::time::Duration;

use stem_core::broker::Renewal;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::{CancelMode, Cancelling, Place};
use stem_core::state::{EndState, State};

use crate::builders::{delayed, publication, publications, queue_name, queued_in, urgent};
use crate::fixture::Fixture;
use crate::process::{LONG, Process};

const NOW: Duration = Duration::ZERO;

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
pub async fn queues_that_hold_something_or_are_paused_are_listed_by_name(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&queued_in("d-dead")).await;
    here.add_all(&[queued_in("b-ready"), queued_in("a-ready")])
        .await;
    here.add(&publication()).await;
    here.end(&here.claim_one().await, EndState::Succeeded).await;
    let paused = queue_name("c-paused");
    here.stores
        .queues
        .set_paused(&paused, true)
        .await
        .expect("the store answers");
    let queues = there.queues().await;
    let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["a-ready", "b-ready", "c-paused", "d-dead"]);
    assert!(
        queues
            .iter()
            .all(|queue| queue.is_paused == (queue.name == paused))
    );
}

/// B11
pub async fn a_paused_queue_hands_nothing_out_in_any_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    here.lose_one(fixture).await;
    here.set_paused(true).await;
    here.add_all(&[publication(), delayed(NOW)]).await;
    let other = here.add(&queued_in("other")).await;
    for process in [&here, &there] {
        assert!(process.claim(5).await.is_empty());
        assert!(process.queues().await.iter().any(|queue| queue.is_paused));
    }
    let claimed = there
        .claim_from(&["default", "other"].map(queue_name), 5)
        .await;
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
    let dead = here.bury(&publication()).await;
    let [retrying, running] = here.add_all(&publications(2)).await[..] else {
        panic!("two were published");
    };
    here.settle(&here.claim_one().await, Settlement::Retry(LONG))
        .await;
    here.claim_one().await;
    let [queued, scheduled] = here.add_all(&[publication(), delayed(LONG)]).await[..] else {
        panic!("two were published");
    };
    let ids = [
        scheduled,
        queued,
        running,
        retrying,
        dead,
        EnvelopeId::new(),
    ];
    let found = there
        .stores
        .queues
        .find(&ids)
        .await
        .expect("the store answers");
    let states: Vec<_> = found
        .iter()
        .flatten()
        .map(|status| status.state())
        .collect();
    assert_eq!(states, [&State::ALL[..4], &[State::Failed]].concat());
    assert_eq!(found[5], None);
}

/// E2
pub async fn a_status_shows_what_was_published_and_what_was_counted(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = urgent(7);
    here.add(&publication).await;
    here.settle(&here.claim_one().await, Settlement::Retry(NOW))
        .await;
    here.claim_one().await;
    let status = there.find(publication.id).await.expect("it lives");
    assert_eq!(
        (status.id, status.bytes),
        (publication.id, publication.bytes)
    );
    assert_eq!(
        (status.task, status.queue),
        (publication.task, publication.queue)
    );
    assert_eq!((status.priority, status.generation), (7, 1));
    assert_eq!((status.attempts, status.deliveries), (1, 2));
}

/// R1: nobody has to claim before it shows.
pub async fn an_envelope_that_has_fallen_due_is_queued(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&delayed(fixture.lease())).await;
    fixture.pass(fixture.lease()).await;
    assert_eq!(there.place(id).await, Some(Place::Ready));
    assert_eq!(there.counts().await, [1, 0, 0, 0]);
}

/// B11: purging cancels what waits, and only that.
pub async fn what_waits_in_a_queue_is_listed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.bury(&publication()).await;
    let mut ids = here.add_all(&publications(4)).await;
    let deliveries = here.claim(2).await;
    here.settle(&deliveries[1], Settlement::Retry(LONG)).await;
    ids.remove(0);
    ids.push(here.add(&delayed(LONG)).await);
    here.add(&queued_in("other")).await;
    let queue = queue_name("default");
    let mut waiting = there
        .stores
        .queues
        .waiting(&queue, 10)
        .await
        .expect("the store answers");
    ids.sort();
    waiting.sort();
    assert_eq!(waiting, ids);
    let some = there
        .stores
        .queues
        .waiting(&queue, 3)
        .await
        .expect("the store answers");
    assert_eq!(some.len(), 3);
}

/// W7, R2
pub async fn what_waits_is_cancelled_and_recorded_in_one_step(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let retried = here.add(&publication()).await;
    here.settle(&here.claim_one().await, Settlement::Retry(LONG))
        .await;
    let [queued, scheduled] = [publication(), delayed(LONG)];
    here.add_all(&[queued.clone(), scheduled.clone()]).await;
    for id in [retried, queued.id, scheduled.id] {
        assert_eq!(
            there.cancel(id, CancelMode::Ask).await,
            Cancelling::Cancelled
        );
        assert_eq!(here.find(id).await, None);
        let lookup = here.look_up(id).await.expect("its end is recorded");
        assert_eq!(lookup.state, State::Cancelled);
    }
    assert!(here.claim(3).await.is_empty());
    assert_eq!(here.queues().await, []);
}

/// W7
pub async fn a_cancelled_record_says_what_was_cancelled(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let publication = queued_in("reports");
    here.add(&publication).await;
    let before = here.stores.clock.now();
    here.cancel(publication.id, CancelMode::Now).await;
    let record = here
        .record(publication.id)
        .await
        .expect("its end is recorded");
    assert_eq!(record.task, Some(publication.task));
    assert_eq!(record.queue, Some(publication.queue));
    assert_eq!(record.attempts, []);
    let end = record.end.expect("it has ended");
    assert!((before..=here.stores.clock.now()).contains(&end.at));
    assert_eq!(
        (end.state, end.result, end.error),
        (EndState::Cancelled, None, None)
    );
}

/// W7
pub async fn what_runs_is_marked_for_its_worker(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    assert_eq!(there.cancel(id, CancelMode::Ask).await, Cancelling::Asked);
    let renewal = here.renew(&delivery, LONG * 2).await;
    assert_eq!(renewal, Renewal::Cancelled(CancelMode::Ask));
    let Some(Place::Leased { until, .. }) = there.place(id).await else {
        panic!("the lease lasts on");
    };
    assert!(until >= delivery.claimed_at + LONG * 2);
    here.end(&delivery, EndState::Cancelled).await;
    assert_eq!(
        there.look_up(id).await.map(|lookup| lookup.state),
        Some(State::Cancelled)
    );
}

/// W7
pub async fn to_end_at_once_wins_over_to_ask(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (ask, now) = (CancelMode::Ask, CancelMode::Now);
    for (modes, strongest) in [([ask, ask], ask), ([ask, now], now), ([now, ask], now)] {
        let id = here.add(&publication()).await;
        let delivery = here.claim_one().await;
        for mode in modes {
            assert_eq!(here.cancel(id, mode).await, Cancelling::Asked);
        }
        let renewal = here.renew(&delivery, LONG).await;
        assert_eq!(renewal, Renewal::Cancelled(strongest), "{modes:?}");
    }
}

/// W7: revocations survive whatever becomes of the worker.
pub async fn a_cancellation_outlives_the_delivery(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_for(fixture.lease()).await;
    assert!(!delivery.is_cancelled);
    there.cancel(id, CancelMode::Ask).await;
    fixture.pass(fixture.lease()).await;
    for settlement in [
        Settlement::Release,
        Settlement::Retry(NOW),
        Settlement::Snooze(NOW),
    ] {
        let delivery = there.claim_one().await;
        assert!(delivery.is_cancelled, "before {settlement:?}");
        there.settle(&delivery, settlement).await;
    }
    assert!(here.claim_one().await.is_cancelled);
}

/// W7: with an answer for each, in their order.
pub async fn many_are_cancelled_at_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let dead = here.bury(&publication()).await;
    let running = here.add(&publication()).await;
    here.claim_one().await;
    let queued = here.add(&publication()).await;
    let ids = [EnvelopeId::new(), queued, dead, running];
    let answers = here.stores.queues.cancel(&ids, CancelMode::Ask).await;
    let (unknown, cancelled) = (Cancelling::Unknown, Cancelling::Cancelled);
    let expected = [unknown, cancelled, Cancelling::Dead, Cancelling::Asked];
    assert_eq!(answers.expect("the store answers"), expected);
    assert_eq!(here.counts().await, [0, 0, 1, 1]);
    assert_eq!(here.record(ids[0]).await, None);
}

/// W7: what was cancelled has ended, and ends once.
pub async fn a_cancelled_envelope_cannot_be_cancelled_again(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    here.cancel(id, CancelMode::Ask).await;
    let record = here.record(id).await;
    assert_eq!(there.cancel(id, CancelMode::Now).await, Cancelling::Unknown);
    assert_eq!(here.record(id).await, record);
}
