//! What the result store promises while envelopes live and when they end: whole records, and fences that hold.

use futures::join;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::{AttemptError, AttemptRecord, OutcomeWord, Record, Report};
use stem_core::result_store::{Fence, Reported};
use stem_core::state::EndState;

use crate::builders::{
    attempt, end, ended, fence, first_fence, half_way, json, publication, report,
};
use crate::fixture::Fixture;
use crate::process::{Process, SOON, within};

fn later(fence: &Fence) -> Fence {
    Fence {
        delivery: fence.delivery + 1,
        ..*fence
    }
}

fn replayed(fence: &Fence) -> Fence {
    Fence {
        generation: fence.generation + 1,
        ..later(fence)
    }
}

async fn open(process: &Process, fence: &Fence) -> Option<EndState> {
    let ends = process.stores.results.open(&[*fence]).await;
    ends.expect("the store answers")[0]
}

async fn save_progress(process: &Process, fence: &Fence) -> Reported {
    let progress = half_way(&*process.stores.clock);
    let reported = process.stores.results.save_progress(fence, &progress).await;
    reported.expect("the store answers")
}

async fn save_checkpoint(process: &Process, fence: &Fence, text: &str) -> Reported {
    let checkpoint = StoredPayload::pack(json(text));
    let reported = process
        .stores
        .results
        .save_checkpoint(fence, &checkpoint)
        .await;
    reported.expect("the store answers")
}

async fn checkpoint(process: &Process, id: EnvelopeId) -> Option<StoredPayload> {
    let checkpoint = process.stores.results.load_checkpoint(id).await;
    checkpoint.expect("the store answers")
}

/// R5
pub async fn a_record_shows_everything_that_was_reported(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for state in [EndState::Succeeded, EndState::Failed, EndState::Expired] {
        let fence = first_fence();
        let report = ended(&fence, state);
        assert_eq!(here.report(&report).await, Reported::Written);
        let expected = Record {
            id: fence.id,
            task: report.task.clone(),
            queue: Some(report.queue.clone()),
            generation: 1,
            enqueued_at: report.enqueued_at,
            attempts: report.attempt.into_iter().collect(),
            progress: None,
            end: report.end,
        };
        assert_eq!(there.record(fence.id).await, Some(expected));
    }
}

/// R5
pub async fn a_record_shows_its_attempts_in_their_order(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = first_fence();
    let (second, third) = (later(&first), later(&later(&first)));
    here.report(&report(&first)).await;
    let host_fault = AttemptRecord {
        error: Some(AttemptError::HostFault {
            host_fault: "the disk went away".to_owned(),
        }),
        ..attempt(&second, OutcomeWord::Interrupted)
    };
    let interrupted = Report {
        attempt: Some(host_fault.clone()),
        ..report(&second)
    };
    here.report(&interrupted).await;
    here.report(&ended(&third, EndState::Succeeded)).await;
    let record = there.record(first.id).await.expect("it is kept");
    let (failed, succeeded) = (OutcomeWord::Failed, OutcomeWord::Succeeded);
    let expected = [
        attempt(&first, failed),
        host_fault,
        attempt(&third, succeeded),
    ];
    assert_eq!(record.attempts, expected);
}

/// R5: what a worker settles is recorded as if it had been reported.
pub async fn a_settlement_records_its_attempt(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    let mut retrying = crate::builders::settling(&delivery, Settlement::Retry(<_>::default()));
    retrying.report = Some(report(&fence(&delivery)));
    here.settle_all(&[retrying]).await;
    let last = here.claim_one().await;
    here.end(&last, EndState::Succeeded).await;
    let record = there.record(id).await.expect("it is kept");
    let deliveries: Vec<_> = record
        .attempts
        .iter()
        .map(|attempt| attempt.delivery)
        .collect();
    assert_eq!(deliveries, [1, 2]);
    assert_eq!(record.end, Some(end(EndState::Succeeded)));
}

/// R5: a result comes back as large as results may be.
pub async fn a_large_result_comes_back(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let fence = first_fence();
    let body: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    let result = StoredPayload::pack(Payload::new("application/octet-stream", body));
    let mut report = ended(&fence, EndState::Succeeded);
    report.end = report.end.map(|end| stem_core::record::End {
        result: Some(result.clone()),
        ..end
    });
    here.report(&report).await;
    let record = there.record(fence.id).await.expect("it is kept");
    assert_eq!(record.end.and_then(|end| end.result), Some(result));
}

/// E1, R5: nobody knows the task of bytes that are no envelope.
pub async fn a_record_of_unreadable_bytes_has_no_task(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    let report = Report {
        task: None,
        enqueued_at: None,
        attempt: None,
        ..ended(&fence, EndState::Failed)
    };
    here.report(&report).await;
    let record = here.record(fence.id).await.expect("it is kept");
    assert_eq!((record.task, record.enqueued_at), (None, None));
    assert_eq!(record.end, report.end);
}

/// R5
pub async fn records_are_given_in_the_order_asked_for(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (first, second) = (first_fence(), first_fence());
    here.report(&ended(&first, EndState::Succeeded)).await;
    here.report(&ended(&second, EndState::Cancelled)).await;
    let ids = [second.id, EnvelopeId::new(), first.id];
    let records = here
        .stores
        .results
        .records(&ids)
        .await
        .expect("the store answers");
    let found: Vec<_> = records
        .iter()
        .map(|record| record.as_ref().map(|r| r.id))
        .collect();
    assert_eq!(found, [Some(second.id), None, Some(first.id)]);
}

/// R1
pub async fn a_report_of_an_earlier_delivery_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let early = first_fence();
    there.report(&report(&later(&early))).await;
    let record = there.record(early.id).await;
    for late in [report(&early), ended(&early, EndState::Succeeded)] {
        assert_eq!(here.report(&late).await, Reported::Stale);
    }
    assert_eq!(there.record(early.id).await, record);
}

/// R1
pub async fn a_report_of_an_ended_generation_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let fence = first_fence();
    here.report(&ended(&fence, EndState::Failed)).await;
    let record = here.record(fence.id).await;
    for late in [fence, later(&fence)] {
        let again = there.report(&ended(&late, EndState::Succeeded)).await;
        assert_eq!(again, Reported::Stale);
    }
    assert_eq!(here.record(fence.id).await, record);
}

/// R1: each report of a batch stands alone.
pub async fn a_stale_report_holds_up_no_other(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let (stale, fresh) = (first_fence(), first_fence());
    here.report(&ended(&stale, EndState::Succeeded)).await;
    let batch = [&stale, &fresh].map(|fence| ended(fence, EndState::Succeeded));
    let reported = here.stores.results.report(&batch).await;
    let expected = [Reported::Stale, Reported::Written];
    assert_eq!(reported.expect("the store answers"), expected);
    assert!(here.record(fresh.id).await.is_some());
}

/// R1: a worker that does not know whether its report arrived may send it again.
pub async fn an_attempt_is_recorded_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    for _ in 0..2 {
        assert_eq!(here.report(&report(&fence)).await, Reported::Written);
    }
    let record = here.record(fence.id).await.expect("it is kept");
    assert_eq!(record.attempts.len(), 1);
}

/// R1: every replay starts a new generation; an end counts only for its own.
pub async fn a_new_generation_goes_on_with_the_record(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let first = first_fence();
    let second = replayed(&first);
    here.report(&ended(&first, EndState::Failed)).await;
    assert_eq!(here.report(&report(&second)).await, Reported::Written);
    let record = here.record(first.id).await.expect("it is kept");
    assert_eq!(
        (record.generation, record.end, record.attempts.len()),
        (2, None, 2)
    );
    assert_eq!(
        here.report(&ended(&first, EndState::Succeeded)).await,
        Reported::Stale
    );
    let again = ended(&second, EndState::Succeeded);
    assert_eq!(here.report(&again).await, Reported::Written);
}

/// R1, W8
pub async fn a_delivery_that_was_opened_makes_earlier_ones_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let early = first_fence();
    assert_eq!(
        there
            .stores
            .results
            .open(&[])
            .await
            .expect("the store answers"),
        []
    );
    assert_eq!(open(&there, &later(&early)).await, None);
    assert_eq!(here.record(early.id).await, None);
    let late = ended(&early, EndState::Succeeded);
    assert_eq!(here.report(&late).await, Reported::Stale);
    assert_eq!(save_progress(&here, &early).await, Reported::Stale);
    assert_eq!(save_checkpoint(&here, &early, "1").await, Reported::Stale);
    assert_eq!(here.record(early.id).await, None);
}

/// W8
pub async fn opening_a_delivery_gives_the_end_of_its_generation(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let fence = first_fence();
    here.report(&ended(&fence, EndState::Failed)).await;
    assert_eq!(open(&there, &later(&fence)).await, Some(EndState::Failed));
    assert_eq!(open(&there, &replayed(&fence)).await, None);
}

/// R3: the record begins with it, where no attempt has ended yet.
pub async fn progress_is_seen_from_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let fence = fence(&here.claim_one().await);
    let progress = half_way(&*here.stores.clock);
    let saved = here.stores.results.save_progress(&fence, &progress).await;
    assert_eq!(saved.expect("the store answers"), Reported::Written);
    let record = there.record(id).await.expect("it begins with progress");
    assert_eq!(record.progress, Some(progress));
    assert_eq!(
        (record.generation, record.end, record.attempts),
        (1, None, vec![])
    );
}

/// R1
pub async fn progress_of_a_lost_delivery_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = fence(&here.lose_one(fixture).await);
    let held = there.claim_one().await;
    assert_eq!(save_progress(&here, &lost).await, Reported::Stale);
    assert_eq!(there.record(id).await, None);
    there.end(&held, EndState::Succeeded).await;
    assert_eq!(save_progress(&there, &fence(&held)).await, Reported::Stale);
}

/// R1
pub async fn a_checkpoint_is_kept_for_the_next_attempt(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let first = fence(&here.lose_one(fixture).await);
    assert_eq!(checkpoint(&there, id).await, None);
    for text in ["1", "2"] {
        assert_eq!(
            save_checkpoint(&here, &first, text).await,
            Reported::Written
        );
    }
    let newest = Some(StoredPayload::pack(json("2")));
    let second = fence(&there.claim_one().await);
    assert_eq!(checkpoint(&there, id).await, newest);
    assert_eq!(save_checkpoint(&here, &first, "3").await, Reported::Stale);
    assert_eq!(checkpoint(&there, id).await, newest);
    assert_eq!(
        save_checkpoint(&there, &second, "4").await,
        Reported::Written
    );
}

/// R1: of two workers that both report the end, one is heard.
pub async fn an_end_is_recorded_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for _ in 0..20 {
        let fence = first_fence();
        let succeeded = ended(&fence, EndState::Succeeded);
        let failed = ended(&fence, EndState::Failed);
        let both = async { join!(here.report(&succeeded), there.report(&failed)) };
        let (ours, theirs) = within(SOON, both).await;
        assert_ne!(ours, theirs);
        let record = here.record(fence.id).await.expect("it is kept");
        let winner = if ours == Reported::Written {
            succeeded
        } else {
            failed
        };
        assert_eq!(record.end, winner.end);
    }
}
