//! What the result store promises while envelopes live and when they end: whole records, and fences that hold.

use futures::join;
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::payload::{Payload, StoredPayload};
use stem_core::record::{AttemptError, AttemptRecord, MAX_KEPT_LOGS, OutcomeWord, Record, Report};
use stem_core::result_store::{Fence, Reported};
use stem_core::state::EndState;

use crate::builders::{
    attempt, end, ended, fence, first_fence, half_way, json, publication, report, settling,
};
use crate::fixture::Fixture;
use crate::process::Process;

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

/// An attempt that nobody is charged for.
fn interrupted(fence: &Fence) -> Report {
    let host_fault = AttemptError::HostFault {
        host_fault: "the disk went away".to_owned(),
    };
    let attempt = AttemptRecord {
        error: Some(host_fault),
        ..attempt(fence, OutcomeWord::Interrupted)
    };
    Report {
        attempt: Some(attempt),
        ..report(fence)
    }
}

/// The record that this report begins.
fn begun_by(report: Report) -> Record {
    Record {
        id: report.id,
        task: report.task,
        queue: Some(report.queue),
        generation: report.generation,
        enqueued_at: report.enqueued_at,
        attempts: report.attempt.into_iter().collect(),
        progress: None,
        end: report.end,
    }
}

/// R5
pub async fn a_record_shows_everything_that_was_reported(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for state in [
        EndState::Succeeded,
        EndState::Failed,
        EndState::Cancelled,
        EndState::Expired,
    ] {
        let report = ended(&first_fence(), state);
        assert_eq!(here.report(&report).await, Reported::Written);
        assert_eq!(there.record(report.id).await, Some(begun_by(report)));
    }
}

/// R5
pub async fn a_record_shows_its_attempts_in_their_order(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = first_fence();
    let (second, third) = (later(&first), later(&later(&first)));
    let reports = [
        report(&first),
        interrupted(&second),
        ended(&third, EndState::Succeeded),
    ];
    for report in &reports {
        assert_eq!(here.report(report).await, Reported::Written);
    }
    let record = there.record(first.id).await.expect("it is kept");
    let reported = reports.into_iter().filter_map(|report| report.attempt);
    assert!(record.attempts.into_iter().eq(reported));
}

/// R5, S7: a record is written whole each time, so that not every attempt keeps its log.
pub async fn the_newest_attempts_keep_their_logs(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let mut fence = first_fence();
    for _ in 0..MAX_KEPT_LOGS + 2 {
        here.report(&report(&fence)).await;
        fence = later(&fence);
    }
    let record = here.record(fence.id).await.expect("it is kept");
    let attempts = record.attempts.iter();
    let logs = attempts.map(|attempt| (attempt.log.len(), attempt.log_dropped));
    let mut expected = vec![(2, 3); MAX_KEPT_LOGS + 2];
    expected[..2].fill((0, 5));
    assert!(logs.eq(expected));
}

/// R5: what a worker settles is recorded as if it had been reported.
pub async fn a_settlement_records_its_attempt(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let first = here.claim_one().await;
    let mut retrying = settling(&first, Settlement::Retry(<_>::default()));
    retrying.report = Some(report(&fence(&first)));
    here.settle_all(&[retrying]).await;
    let second = here.end_next(EndState::Succeeded).await;
    let record = there.record(id).await.expect("it is kept");
    let failed = attempt(&fence(&first), OutcomeWord::Failed);
    let succeeded = attempt(&fence(&second), OutcomeWord::Succeeded);
    assert_eq!(record.attempts, [failed, succeeded]);
    assert_eq!(record.end, Some(end(EndState::Succeeded)));
}

/// R5: a result comes back as large as results may be.
pub async fn a_large_result_comes_back(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let numbers = (0..1_u32 << 18).map(|n| n.wrapping_mul(2_654_435_761));
    let body: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
    let payload = Payload::new("application/octet-stream", body);
    let mut report = ended(&first_fence(), EndState::Succeeded);
    if let Some(end) = &mut report.end {
        end.result = Some(StoredPayload::pack(payload));
    }
    here.report(&report).await;
    let record = there.record(report.id).await.expect("it is kept");
    assert_eq!(record.end, report.end);
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
    for fence in [&first, &second] {
        here.report(&ended(fence, EndState::Succeeded)).await;
    }
    let ids = [second.id, EnvelopeId::new(), first.id];
    let records = here.stores.results.records(&ids).await;
    let records = records.expect("the store answers").into_iter();
    let found: Vec<_> = records
        .map(|record| record.map(|record| record.id))
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

/// R1: what the broker has handed out again is known without being told.
pub async fn a_report_of_a_lost_delivery_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = fence(&here.lose_one(fixture).await);
    there.claim_one().await;
    for late in [report(&lost), ended(&lost, EndState::Succeeded)] {
        assert_eq!(here.report(&late).await, Reported::Stale);
    }
    assert_eq!(there.record(id).await, None);
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
    assert_eq!((record.generation, record.end), (2, None));
    assert_eq!(record.attempts.len(), 2);
    let again = ended(&second, EndState::Succeeded);
    assert_eq!(here.report(&again).await, Reported::Written);
}

/// R1
pub async fn a_report_of_an_earlier_generation_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = first_fence();
    there.report(&report(&replayed(&first))).await;
    let record = there.record(first.id).await;
    let late = ended(&first, EndState::Succeeded);
    assert_eq!(here.report(&late).await, Reported::Stale);
    assert_eq!(there.record(first.id).await, record);
}

/// R1, W8
pub async fn a_delivery_that_was_opened_makes_earlier_ones_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let early = first_fence();
    assert_eq!(there.open(&later(&early)).await, None);
    let progress = half_way(&*here.stores.clock);
    let late = ended(&early, EndState::Succeeded);
    assert_eq!(here.report(&late).await, Reported::Stale);
    assert_eq!(here.save_progress(&early, &progress).await, Reported::Stale);
    assert_eq!(here.save_checkpoint(&early, "1").await, Reported::Stale);
    assert_eq!(here.record(early.id).await, None);
    assert_eq!(here.checkpoint(early.id).await, None);
}

/// R1, W8: opening an earlier one again takes nothing back.
pub async fn a_delivery_stays_known(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let early = first_fence();
    there.open(&later(&early)).await;
    here.open(&early).await;
    let late = ended(&early, EndState::Succeeded);
    assert_eq!(here.report(&late).await, Reported::Stale);
    let newest = ended(&later(&early), EndState::Succeeded);
    assert_eq!(there.report(&newest).await, Reported::Written);
}

/// W8: of a whole batch in one call.
pub async fn opening_deliveries_gives_the_ends_of_their_generations(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let (ended_one, living) = (first_fence(), first_fence());
    here.report(&ended(&ended_one, EndState::Failed)).await;
    here.report(&report(&living)).await;
    let batch = [later(&ended_one), later(&living), first_fence()];
    let ends = there.stores.results.open(&batch).await;
    let expected = [Some(EndState::Failed), None, None];
    assert_eq!(ends.expect("the store answers"), expected);
    assert_eq!(there.open(&replayed(&ended_one)).await, None);
}

/// R1
pub async fn a_checkpoint_is_kept_for_the_next_attempt(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.lose_one(fixture).await;
    assert_eq!(there.checkpoint(id).await, None);
    for text in ["1", "2"] {
        let saved = here.save_checkpoint(&fence(&delivery), text).await;
        assert_eq!(saved, Reported::Written);
    }
    there.claim_one().await;
    let newest = StoredPayload::pack(json("2"));
    assert_eq!(there.checkpoint(id).await, Some(newest));
}

/// R1
pub async fn a_checkpoint_of_a_lost_delivery_is_stale(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let id = here.add(&publication()).await;
    let lost = fence(&here.lose_one(fixture).await);
    let held = fence(&there.claim_one().await);
    let saved = there.save_checkpoint(&held, "1").await;
    assert_eq!(saved, Reported::Written);
    assert_eq!(here.save_checkpoint(&lost, "2").await, Reported::Stale);
    let kept = StoredPayload::pack(json("1"));
    assert_eq!(there.checkpoint(id).await, Some(kept));
}

/// R1: after a failed attempt, and after a replay, the next one goes on from there.
pub async fn a_checkpoint_outlives_failed_attempts(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let id = here.add(&publication()).await;
    let delivery = here.claim_one().await;
    here.save_checkpoint(&fence(&delivery), "1").await;
    here.settle(&delivery, Settlement::Retry(<_>::default()))
        .await;
    let kept = Some(StoredPayload::pack(json("1")));
    assert_eq!(here.checkpoint(id).await, kept);
    here.end_next(EndState::Failed).await;
    here.replay(&[id]).await;
    here.claim_one().await;
    assert_eq!(here.checkpoint(id).await, kept);
}

/// R1: of two workers that both report the end, one is heard.
pub async fn an_end_is_recorded_once(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for _ in 0..20 {
        let fence = first_fence();
        let (succeeded, failed) = (EndState::Succeeded, EndState::Failed);
        let [ours, theirs] = [succeeded, failed].map(|state| ended(&fence, state));
        let both = join!(here.report(&ours), there.report(&theirs));
        let winner = match both {
            (Reported::Written, Reported::Stale) => ours,
            (Reported::Stale, Reported::Written) => theirs,
            _ => panic!("one of two is heard, not {both:?}"),
        };
        assert_eq!(here.record(fence.id).await, Some(begun_by(winner)));
    }
}
