//! What publishing promises: durable, idempotent, whole, and not a byte is changed.

use bytes::Bytes;
use futures::join;
use stem_core::broker::{Due, Publication, Published};
use stem_core::clock::Timestamp;
use stem_core::envelope::Envelope;
use stem_core::outcome::{DeadReason, Settlement};
use stem_core::queues::{CancelMode, Place};
use stem_core::record::{DEAD_LETTER_RETENTION, Report};
use stem_core::state::EndState;

use crate::builders::{
    DAY, delayed, derived, ending, envelope, publication, publication_of, publications, urgent,
    with_unknown_field,
};
use crate::fixture::Fixture;
use crate::process::{LONG, Process};

/// B1
pub async fn a_published_envelope_is_delivered_to_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = publication();
    here.add(&publication).await;
    let delivery = there.claim_one().await;
    assert_eq!(delivery.receipt.id, publication.id);
    assert_eq!(delivery.bytes, publication.bytes);
}

/// B1
pub async fn what_was_published_outlives_its_publisher(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (ready, held) = (publication(), delayed(LONG));
    here.add_all(&[ready.clone(), held.clone()]).await;
    drop(here);
    let (_, there) = Process::two(fixture).await;
    assert_eq!(there.claim_ids(2).await, [ready.id]);
    assert!(there.find(held.id).await.is_some());
}

/// B1: nobody sees a part of a batch.
pub async fn a_batch_appears_whole(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let batch = publications(300);
    let watching = async {
        loop {
            match there.counts().await {
                [0, ..] => tokio::task::yield_now().await,
                [queued, ..] => return queued,
            }
        }
    };
    let (first_seen, _) = join!(watching, here.add_all(&batch));
    assert_eq!(first_seen, 300);
}

/// B15
pub async fn a_second_publish_of_an_id_that_lives_changes_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = publication();
    here.add(&first).await;
    let second = Publication {
        id: first.id,
        due: Due::After(LONG),
        ..urgent(9)
    };
    assert_eq!(there.publish(&[second]).await, [Published::AlreadyKnown]);
    let deliveries = there.claim(2).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].bytes, first.bytes);
}

/// B15: also while it is held, with a worker, or a dead letter.
pub async fn an_id_lives_wherever_its_envelope_lies(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (dead, leased, held) = (publication(), publication(), delayed(LONG));
    here.bury(&dead).await;
    here.add_all(&[leased.clone(), held.clone()]).await;
    here.claim_one().await;
    let again = here.publish(&[dead, leased, held]).await;
    assert_eq!(again, [Published::AlreadyKnown; 3]);
    assert_eq!(here.counts().await, [0, 1, 1, 1]);
}

/// B15
pub async fn a_batch_stores_what_is_new_and_says_what_is_not(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [known, fresh] = [publication(), publication()];
    here.add(&known).await;
    let published = here.publish(&[known, fresh.clone(), fresh]).await;
    let (stored, not) = (Published::Stored, Published::AlreadyKnown);
    assert_eq!(published, [not, stored, not]);
    assert_eq!(here.counts().await, [2, 0, 0, 0]);
}

/// B15
pub async fn an_id_whose_record_is_kept_is_not_published_again(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let publication = publication();
    here.add(&publication).await;
    here.end_next(EndState::Succeeded).await;
    let again = there.publish(&[publication]).await;
    assert_eq!(again, [Published::AlreadyKnown]);
    assert!(there.claim(1).await.is_empty());
}

/// B15
pub async fn a_derived_id_is_remembered_when_nothing_else_is_kept_of_it(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let (derived, other) = (derived(), publication());
    here.add_all(&[derived.clone(), other.clone()]).await;
    for delivery in here.claim(2).await {
        here.settle(&delivery, Settlement::Ack).await;
    }
    let again = there.publish(&[derived, other]).await;
    assert_eq!(again, [Published::AlreadyKnown, Published::Stored]);
}

/// B15: however it ended.
pub async fn a_derived_id_outlives_its_record_by_days(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [ended, cancelled] = [derived(), derived()];
    here.add(&ended).await;
    here.end_next(EndState::Succeeded).await;
    here.add(&cancelled).await;
    here.cancel(cancelled.id, CancelMode::Ask).await;
    fixture.pass(DAY * 6).await;
    here.sweep().await;
    assert_eq!(here.record(ended.id).await, None);
    let again = here.publish(&[ended, cancelled]).await;
    assert_eq!(again, [Published::AlreadyKnown; 2]);
}

/// B15, R4
pub async fn a_derived_id_is_forgotten_after_seven_days(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let [ended, cancelled] = [derived(), derived()];
    here.add(&ended).await;
    here.end_next(EndState::Succeeded).await;
    here.add(&cancelled).await;
    here.cancel(cancelled.id, CancelMode::Ask).await;
    fixture.outlast(DAY * 7).await;
    here.sweep().await;
    let again = here.publish(&[ended, cancelled]).await;
    assert_eq!(again, [Published::Stored; 2]);
}

/// B15: swept or not.
pub async fn a_derived_id_outlives_its_dead_letter_by_days(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let derived = derived();
    here.bury_as(&derived, DeadReason::Rejected).await;
    fixture.pass(DEAD_LETTER_RETENTION).await;
    let again = here.publish(std::slice::from_ref(&derived)).await;
    assert_eq!(again, [Published::AlreadyKnown]);
    here.sweep().await;
    let again = here.publish(&[derived]).await;
    assert_eq!(again, [Published::AlreadyKnown]);
}

/// B15, R4
pub async fn an_id_can_be_published_again_when_its_record_has_gone(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let publication = publication();
    here.add(&publication).await;
    let mut ending = ending(&here.claim_one().await, EndState::Succeeded);
    ending.report = ending.report.map(|report| Report {
        retention: fixture.lease(),
        ..report
    });
    here.settle_all(&[ending]).await;
    fixture.outlast(fixture.lease()).await;
    here.sweep().await;
    here.add(&publication).await;
}

/// E1: a broker moves bytes; what they are is the worker's to say.
pub async fn bytes_that_are_no_envelope_are_delivered_as_they_are(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let large: Vec<u8> = (0..(1 << 20) + (64 << 10))
        .map(|n: u32| n.to_le_bytes()[1])
        .collect();
    let bodies = [vec![], b"garbage".to_vec(), vec![0, 0xff, 0xc1, 0], large];
    for body in bodies {
        let publication = Publication {
            bytes: Bytes::from(body),
            ..publication()
        };
        here.add(&publication).await;
        assert_eq!(here.claim_one().await.bytes, publication.bytes);
    }
}

/// E1
pub async fn a_field_that_this_build_does_not_know_stays(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let envelope = envelope();
    let publication = publication_of(&envelope);
    let bytes = with_unknown_field(&publication.bytes);
    here.add(&Publication {
        bytes: bytes.clone(),
        ..publication
    })
    .await;
    let delivered = here.claim_one().await.bytes;
    assert_eq!(delivered, bytes);
    assert_eq!(
        Envelope::decode(&delivered).expect("a hint is ignored"),
        envelope
    );
}

/// B14
pub async fn a_namespace_never_sees_the_envelopes_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    let publication = publication();
    ours.add(&publication).await;
    assert!(theirs.claim(1).await.is_empty());
    assert_eq!(theirs.find(publication.id).await, None);
    assert_eq!(theirs.queues().await, []);
    theirs.add(&publication).await;
    assert_eq!(theirs.claim_ids(2).await, [publication.id]);
    assert_eq!(ours.counts().await, [1, 0, 0, 0]);
}

/// B14
pub async fn a_namespace_never_sees_the_ends_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    let id = ours.bury(&publication()).await;
    assert!(ours.record(id).await.is_some());
    assert_eq!(theirs.record(id).await, None);
    assert_eq!(theirs.look_up(id).await, None);
    assert_eq!(theirs.dead(&<_>::default()).await, []);
    assert_eq!(theirs.replay(&[id]).await, [false]);
}

/// B16
pub async fn a_delay_is_counted_by_the_stores_clock(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let before = here.stores.clock.now();
    let id = here.add(&delayed(LONG)).await;
    let after = here.stores.clock.now();
    let Some(Place::Held { until, is_retry }) = here.place(id).await else {
        panic!("a delayed envelope is held");
    };
    assert!((before + LONG..=after + LONG).contains(&until), "{until}");
    assert!(!is_retry);
}

/// B6
pub async fn a_time_that_has_passed_is_due_at_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let publication = Publication {
        due: Due::At(Timestamp::from_millis(1)),
        ..publication()
    };
    here.add(&publication).await;
    assert_eq!(here.claim_ids(1).await, [publication.id]);
}

/// B1
pub async fn publishing_nothing_is_no_mistake(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    assert_eq!(here.publish(&[]).await, []);
    assert_eq!(here.queues().await, []);
}
