//! What is summed of attempts: each once, by hour, task, queue and tenant, and for longer than their records.

use std::time::Duration;

use stem_core::broker::Settled;
use stem_core::clock::Timestamp;
use stem_core::outcome::Settlement;
use stem_core::record::{OutcomeWord, Report};
use stem_core::result_store::Reported;
use stem_core::state::EndState;
use stem_core::usage::{MAX_USAGE_KEYS, OTHER_TENANTS, USAGE_RETENTION, Usage, UsageSums, hour_of};
use stem_core::usage_store::{UsageBy, UsageQuestion, UsageShare};

use crate::builders::{
    attempt, ended, fence, first_fence, publication, queue_name, report, settling, task_name,
};
use crate::fixture::Fixture;
use crate::process::Process;

const HOUR: Duration = Duration::from_secs(3_600);

/// What is different for every number, and smaller in memory where all else is larger.
fn usage_of(number: u32) -> Usage {
    Usage {
        cpu: Duration::from_micros(7) * number,
        wall: Duration::from_millis(3) * number,
        peak_memory_bytes: u64::from(100 - number) << 10,
        fuel: Some(u64::from(number)),
        host_calls: u64::from(number) * 2,
        bytes_out: u64::from(number) * 5,
    }
}

/// A report of an attempt that used what this number stands for.
fn used(number: u32, [task, queue, tenant]: [&str; 3]) -> Report {
    let mut report = report(&first_fence());
    report.task = Some(task_name(task));
    report.queue = queue_name(queue);
    report.tenant = Some(tenant.to_owned()).filter(|name| !name.is_empty());
    if let Some(attempt) = &mut report.attempt {
        attempt.usage = usage_of(number);
    }
    report
}

/// What attempts of these numbers used, all of which failed.
fn share(name: &str, numbers: &[u32]) -> UsageShare {
    let mut sums = UsageSums::default();
    for number in numbers {
        let mut attempt = attempt(&first_fence(), OutcomeWord::Failed);
        attempt.usage = usage_of(*number);
        sums.add(&UsageSums::of(&attempt));
    }
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    UsageShare { name, sums }
}

fn all(by: UsageBy) -> UsageQuestion {
    UsageQuestion {
        by,
        since: Timestamp::default(),
        task: None,
        queue: None,
        tenant: None,
    }
}

/// How many attempts are summed.
async fn attempts(process: &Process) -> u64 {
    let shares = process.usage(&all(UsageBy::Task)).await;
    shares.iter().map(|share| share.sums.attempts()).sum()
}

const WORK: [[&str; 3]; 4] = [
    ["a", "q", "x"],
    ["a", "r", ""],
    ["b", "q", "x"],
    ["a", "q", "y"],
];

async fn with_work(fixture: &dyn Fixture) -> Process {
    let (here, there) = Process::two(fixture).await;
    for (number, work) in (1..).zip(WORK) {
        let reported = here.report(&used(number, work)).await;
        assert_eq!(reported, Reported::Written);
    }
    there
}

/// S8
pub async fn what_attempts_used_is_summed_by_task_queue_and_tenant(fixture: &dyn Fixture) {
    let there = with_work(fixture).await;
    let by_task = there.usage(&all(UsageBy::Task)).await;
    assert_eq!(by_task, [share("a", &[1, 2, 4]), share("b", &[3])]);
    let by_queue = there.usage(&all(UsageBy::Queue)).await;
    assert_eq!(by_queue, [share("q", &[1, 3, 4]), share("r", &[2])]);
    let by_tenant = there.usage(&all(UsageBy::Tenant)).await;
    let expected = [share("", &[2]), share("x", &[1, 3]), share("y", &[4])];
    assert_eq!(by_tenant, expected);
}

/// S8
pub async fn usage_of_one_task_queue_or_tenant_can_be_asked_for(fixture: &dyn Fixture) {
    let there = with_work(fixture).await;
    let mut of_a = all(UsageBy::Tenant);
    of_a.task = Some(task_name("a"));
    let of_a = there.usage(&of_a).await;
    assert_eq!(of_a, [share("", &[2]), share("x", &[1]), share("y", &[4])]);
    let mut in_q = all(UsageBy::Task);
    in_q.queue = Some(queue_name("q"));
    let in_q = there.usage(&in_q).await;
    assert_eq!(in_q, [share("a", &[1, 4]), share("b", &[3])]);
    let mut of_x = all(UsageBy::Queue);
    of_x.tenant = Some("x".to_owned());
    assert_eq!(there.usage(&of_x).await, [share("q", &[1, 3])]);
}

const WORDS: [OutcomeWord; 6] = [
    OutcomeWord::Succeeded,
    OutcomeWord::Failed,
    OutcomeWord::Snoozed,
    OutcomeWord::Cancelled,
    OutcomeWord::Expired,
    OutcomeWord::Interrupted,
];

/// S8
pub async fn attempts_are_counted_by_how_they_ended(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for word in WORDS {
        let mut report = report(&first_fence());
        report.attempt = Some(attempt(&first_fence(), word));
        here.report(&report).await;
    }
    let sums = here.usage(&all(UsageBy::Task)).await[0].sums;
    let charged = [sums.succeeded, sums.failed, sums.snoozed];
    let others = [sums.cancelled, sums.expired, sums.interrupted];
    assert_eq!((charged, others), ([1; 3], [1; 3]));
    assert_eq!(sums.attempts(), 6);
}

/// S8, R2: what a worker settles is summed with its record.
pub async fn a_settled_attempt_is_summed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let first = here.claim_one().await;
    let mut retrying = settling(&first, Settlement::Retry(<_>::default()));
    retrying.report = Some(report(&fence(&first)));
    here.settle_all(&[retrying]).await;
    here.end_next(EndState::Succeeded).await;
    let sums = there.usage(&all(UsageBy::Task)).await[0].sums;
    assert_eq!((sums.failed, sums.succeeded, sums.attempts()), (1, 1, 2));
}

/// S8, R1
pub async fn an_attempt_of_a_lost_delivery_is_not_summed(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    let lost = here.lose_one(fixture).await;
    let held = here.claim_one().await;
    assert_eq!(here.end(&lost, EndState::Failed).await, Settled::Lost);
    assert_eq!(attempts(&here).await, 0);
    here.end(&held, EndState::Succeeded).await;
    assert_eq!(attempts(&here).await, 1);
}

/// S8: bytes times time of a month is more than 63 bits hold, in one hour's sum and over all of them.
pub async fn sums_are_never_too_large(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    for queue in ["q", "q", "q", "r"] {
        let mut report = used(1, ["a", queue, ""]);
        if let Some(attempt) = &mut report.attempt {
            attempt.usage.peak_memory_bytes = 1 << 42;
            attempt.usage.wall = Duration::from_millis(1 << 20);
        }
        assert_eq!(here.report(&report).await, Reported::Written);
    }
    let sums = there.usage(&all(UsageBy::Task)).await[0].sums;
    assert_eq!(sums.memory_byte_millis, 4 << 62);
    assert_eq!(sums.peak_memory_bytes, 1 << 42);
}

/// S8, R2: a report that is repeated after a crash counts once.
pub async fn an_attempt_is_summed_once(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let fence = first_fence();
    for _ in 0..2 {
        assert_eq!(here.report(&report(&fence)).await, Reported::Written);
    }
    let end = ended(&first_fence(), EndState::Succeeded);
    assert_eq!(here.report(&end).await, Reported::Written);
    assert_eq!(here.report(&end).await, Reported::Stale);
    assert_eq!(attempts(&here).await, 2);
}

/// S8, R4: whatever becomes of the records.
pub async fn sums_outlive_records(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for retention in [Duration::ZERO, fixture.lease()] {
        let end = ended(&first_fence(), EndState::Succeeded);
        here.report(&Report { retention, ..end }).await;
    }
    fixture.pass(fixture.lease()).await;
    here.sweep().await;
    assert_eq!(attempts(&here).await, 2);
}

/// S8
pub async fn usage_is_counted_from_the_beginning_of_an_hour(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.report(&used(1, WORK[0])).await;
    fixture.pass(HOUR).await;
    here.report(&used(2, WORK[0])).await;
    let hour = hour_of(here.stores.clock.now());
    let later = hour - HOUR + Duration::from_millis(1);
    for (since, numbers) in [(hour - HOUR, &[1, 2][..]), (later, &[2]), (hour, &[2])] {
        let mut question = all(UsageBy::Task);
        question.since = since;
        assert_eq!(here.usage(&question).await, [share("a", numbers)]);
    }
}

/// S8, R4: producers name tenants as they like, and the sums of an hour are bounded.
pub async fn tenants_beyond_the_bound_are_summed_together(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let of = |number: usize| used(1, ["a", "q", &format!("t{number}")]);
    let beyond = [MAX_USAGE_KEYS, MAX_USAGE_KEYS + 1].map(|number| vec![number, 2]);
    let apart = (0..MAX_USAGE_KEYS).collect();
    for numbers in [apart].into_iter().chain(beyond) {
        let reports: Vec<Report> = numbers.into_iter().map(of).collect();
        let reported = here.stores.results.report(&reports).await;
        reported.expect("it answers");
    }
    let shares = here.usage(&all(UsageBy::Tenant)).await;
    assert_eq!(shares.len(), MAX_USAGE_KEYS + 1);
    assert!(shares.contains(&share(OTHER_TENANTS, &[1, 1])));
    assert!(shares.contains(&share("t2", &[1, 1, 1])));
}

/// S8, R4
pub async fn sums_are_forgotten_after_31_days(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.report(&used(1, WORK[0])).await;
    fixture.pass(USAGE_RETENTION).await;
    here.report(&used(2, WORK[0])).await;
    here.sweep().await;
    assert_eq!(attempts(&here).await, 2);
    fixture.pass(HOUR).await;
    here.sweep().await;
    assert_eq!(here.usage(&all(UsageBy::Task)).await, [share("a", &[2])]);
}

/// S8, B14
pub async fn a_namespace_never_sees_the_usage_of_another(fixture: &dyn Fixture) {
    let (here, stranger) = Process::strangers(fixture).await;
    here.report(&used(1, WORK[0])).await;
    assert_eq!(attempts(&here).await, 1);
    assert_eq!(stranger.usage(&all(UsageBy::Tenant)).await, []);
}
