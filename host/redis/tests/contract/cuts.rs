//! Connections that are cut in the middle of something: who asked does not know whether it was done, and asks again.

use std::slice;
use std::time::Duration;

use futures::future::join_all;
use stem_core::broker::{Claim, Published, Settled, Settling};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::record::Report;
use stem_core::state::EndState;
use stem_core::store_error::StoreError;
use stem_testkit::builders::{
    DEFAULT_QUEUE, end, ending, fence, publication, publications, queue_name, report, settling,
};
use stem_testkit::process::{Process, within};
use stem_testkit::proxy::Way;

use crate::load::Load;
use crate::server::{BACK, Line, process};

fn assert_cut<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let error = answer.expect_err("the connection was cut");
    assert!(error.is_transient(), "{error:?}");
}

/// B13, B15: what was done before its answer was cut is not done again.
#[tokio::test]
async fn a_publish_whose_answer_was_cut_is_repeated_without_doubling() {
    for bytes in [0, 1, 5] {
        let line = Line::start().await;
        let (far, near) = line.processes().await;
        let batch = publications(3);
        line.proxy.cut_after(Way::ToClient, bytes);
        assert_cut(far.stores.broker.publish(&batch).await);
        assert_eq!(near.counts().await, [3, 0, 0, 0]);
        let again = far.publish(&batch).await;
        assert_eq!(again, [Published::AlreadyKnown; 3]);
        assert_eq!(near.counts().await, [3, 0, 0, 0]);
    }
}

/// B13, B15: half of a command is none.
#[tokio::test]
async fn a_publish_that_was_cut_on_its_way_is_stored_when_it_is_repeated() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let batch = publications(3);
    line.proxy.cut_after(Way::ToServer, 200);
    assert_cut(far.stores.broker.publish(&batch).await);
    assert_eq!(near.counts().await, [0; 4]);
    assert_eq!(far.publish(&batch).await, [Published::Stored; 3]);
    assert_eq!(near.counts().await, [3, 0, 0, 0]);
}

async fn assert_ended_once(process: &Process, id: EnvelopeId) {
    let record = process.record(id).await.expect("its end is recorded");
    assert_eq!(record.attempts.len(), 1);
    assert_eq!(record.end.map(|end| end.state), Some(EndState::Succeeded));
    assert_eq!(process.find(id).await, None);
    assert_eq!(process.counts().await, [0; 4]);
}

/// R2, B13: cut before it is done, or after it, it is done once, and whoever sends it again is told so.
#[tokio::test]
async fn a_settlement_that_was_cut_ends_its_envelope_once() {
    for (way, bytes) in [(Way::ToServer, 300), (Way::ToClient, 0), (Way::ToClient, 2)] {
        let line = Line::start().await;
        let (far, near) = line.processes().await;
        let id = far.add(&publication()).await;
        let delivery = far.claim_one().await;
        line.proxy.cut_after(way, bytes);
        let ending = [ending(&delivery, EndState::Succeeded)];
        assert_cut(far.stores.broker.settle(&ending).await);
        let settled = far.settle_all(&ending).await;
        assert_eq!(settled, [Settled::Done], "{way:?} {bytes}");
        assert_ended_once(&near, id).await;
    }
}

/// Settles what is claimed next, and loses the answer.
async fn settle_unheard(line: &Line, far: &Process, settlement: Settlement) -> Settling {
    let delivery = far.claim_one().await;
    let settling = Settling {
        report: Some(report(&fence(&delivery))),
        ..settling(&delivery, settlement)
    };
    line.proxy.cut_after(Way::ToClient, 0);
    assert_cut(far.stores.broker.settle(slice::from_ref(&settling)).await);
    settling
}

/// B4, B13: also where the envelope has lived on, and others have ended it since.
#[tokio::test]
async fn a_settlement_that_is_sent_again_is_answered_as_the_first_time() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let id = near.add(&publication()).await;
    let retried = settle_unheard(&line, &far, Settlement::Retry(Duration::ZERO)).await;
    near.end_next(EndState::Succeeded).await;
    let sent = [retried];
    assert_eq!(far.settle_all(&sent).await, [Settled::Done]);
    assert_eq!(near.record(id).await.map(|it| it.attempts.len()), Some(2));
    // Now it is heard.
    assert_eq!(far.settle_all(&sent).await, [Settled::Lost]);
}

/// B4, R4: an end of which no value is kept is told from another one by its numbers and its time.
#[tokio::test]
async fn a_settlement_that_is_sent_again_without_a_value_is_answered_as_the_first_time() {
    for (second, expected) in [
        (EndState::Succeeded, Settled::Done),
        (EndState::Cancelled, Settled::Lost),
    ] {
        let line = Line::start().await;
        let (far, near) = line.processes().await;
        near.add(&publication()).await;
        let mut ending = [ending(&far.claim_one().await, EndState::Succeeded)];
        reported(&mut ending).retention = Duration::ZERO;
        line.proxy.cut_after(Way::ToClient, 0);
        assert_cut(far.stores.broker.settle(&ending).await);
        reported(&mut ending).end = Some(end(second));
        assert_eq!(far.settle_all(&ending).await, [expected], "{second:?}");
    }
}

fn reported(ending: &mut [Settling; 1]) -> &mut Report {
    ending[0].report.as_mut().expect("it reports")
}

fn short_claim(process: &Process) -> Claim {
    Claim {
        worker: process.worker.clone(),
        queues: vec![queue_name(DEFAULT_QUEUE)],
        limit: 3,
        lease: Duration::from_millis(300),
    }
}

/// B1, B5: nobody knows of the lease, so it ends, and nothing is charged.
#[tokio::test]
async fn what_was_claimed_by_an_answer_that_was_cut_comes_back() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let ids = near.add_all(&publications(3)).await;
    line.proxy.cut_after(Way::ToClient, 100);
    assert_cut(far.stores.broker.claim(&short_claim(&far)).await);
    assert_eq!(near.counts().await, [0, 0, 3, 0]);
    let mut wakeups = near.work().await;
    for id in ids {
        let delivery = within(BACK, near.next_delivery(&mut *wakeups)).await;
        let counts = (delivery.losses, delivery.attempts);
        assert_eq!((delivery.receipt.id, counts), (id, (1, 0)));
    }
}

/// B13, B15: in the middle of many commands of many callers.
#[tokio::test]
async fn callers_on_a_connection_that_is_cut_all_hear_of_it() {
    let line = Line::start().await;
    let (far, near) = line.processes().await;
    let batch = publications(300);
    let publish = || join_all(batch.chunks(1).map(|one| far.stores.broker.publish(one)));
    line.proxy.cut_after(Way::ToServer, 20_000);
    let heard = within(BACK, publish()).await;
    let cut: Vec<_> = heard.into_iter().filter(Result::is_err).collect();
    assert!(!cut.is_empty());
    cut.into_iter().for_each(assert_cut);
    let [stored, ..] = near.counts().await;
    assert!((1..300).contains(&stored), "{stored} arrived whole");
    let again = within(BACK, publish()).await;
    assert!(again.iter().all(Result::is_ok));
    assert_eq!(near.counts().await, [300, 0, 0, 0]);
}

/// B1, B5, B15, R2: whatever is cut in the middle, everything ends, and once.
#[tokio::test]
async fn work_goes_on_over_connections_that_are_cut_again_and_again() {
    let line = Line::start().await;
    let near = process("near", &line.near).await;
    let load = Load::begin(&line.far).await;
    for way in [Way::ToServer, Way::ToClient].repeat(10) {
        load.progress(20).await;
        line.proxy.cut_after(way, 2_000);
    }
    load.finish(&near).await;
}
