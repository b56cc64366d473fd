//! What every outcome is settled as (W3): a table, and properties.

use proptest::prelude::*;

use super::*;

fn standing(attempts: u32) -> Standing {
    Standing {
        attempts,
        max_attempts: 3,
        snoozes: 0,
        max_snoozes: 2,
        faults: 0,
    }
}

fn returned(disposition: Disposition) -> Outcome {
    let kind = FailureKind::Returned {
        code: "busy".to_owned(),
        details: Vec::new(),
    };
    Outcome::Failed(Failure {
        kind,
        message: String::new(),
        disposition,
    })
}

fn settled(outcome: &Outcome, standing: &Standing) -> (Settlement, Option<EndState>) {
    let retry = RetryPolicy {
        has_jitter: false,
        ..RetryPolicy::default()
    };
    settle(outcome, standing, &retry, 0.5)
}

/// W3
#[test]
fn every_outcome_has_its_settlement() {
    let result = Payload::new("application/json", "1");
    let seven = Duration::from_secs(7);
    let fault = Outcome::Interrupted(Disruption::HostFault(String::new()));
    let table = [
        (
            Outcome::Succeeded(result),
            Settlement::Ack,
            Some(EndState::Succeeded),
        ),
        (
            Outcome::Cancelled,
            Settlement::Ack,
            Some(EndState::Cancelled),
        ),
        (Outcome::Expired, Settlement::Ack, Some(EndState::Expired)),
        (
            returned(Disposition::Retry),
            Settlement::Retry(Duration::from_secs(2)),
            None,
        ),
        (
            returned(Disposition::RetryAfter(seven)),
            Settlement::Retry(seven),
            None,
        ),
        (
            returned(Disposition::Reject),
            Settlement::DeadLetter(DeadReason::Rejected),
            Some(EndState::Failed),
        ),
        (Outcome::Snoozed(seven), Settlement::Snooze(seven), None),
        (
            Outcome::Interrupted(Disruption::Shutdown),
            Settlement::Release,
            None,
        ),
        (
            Outcome::Interrupted(Disruption::LeaseLost),
            Settlement::Release,
            None,
        ),
        (
            fault,
            Settlement::ReleaseAfterFault(Duration::from_secs(1)),
            None,
        ),
    ];
    for (outcome, settlement, end) in table {
        assert_eq!(
            settled(&outcome, &standing(0)),
            (settlement, end),
            "{outcome:?}"
        );
    }
}

/// W3
#[test]
fn the_last_attempt_is_dead_lettered_even_if_the_task_asks_for_another() {
    let dead = (
        Settlement::DeadLetter(DeadReason::AttemptsExhausted),
        Some(EndState::Failed),
    );
    assert_eq!(settled(&returned(Disposition::Retry), &standing(2)), dead);
    assert_eq!(
        settled(
            &returned(Disposition::RetryAfter(Duration::ZERO)),
            &standing(2)
        ),
        dead
    );
}

/// B5
#[test]
fn snoozes_are_bounded() {
    let tired = Standing {
        snoozes: 2,
        ..standing(0)
    };
    let dead = (
        Settlement::DeadLetter(DeadReason::SnoozesExhausted),
        Some(EndState::Failed),
    );
    assert_eq!(settled(&Outcome::Snoozed(Duration::ZERO), &tired), dead);
}

/// B5
#[test]
fn a_release_after_a_host_fault_waits_one_second_doubling_to_a_minute() {
    let delays: Vec<u64> = (0..9).map(|faults| fault_delay(faults).as_secs()).collect();
    assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

/// S4
#[test]
fn a_failure_that_never_ran_is_dead_lettered_under_its_own_name() {
    for (kind, reason) in [
        (FailureKind::UnknownTask, DeadReason::UnknownTask),
        (FailureKind::Poison, DeadReason::Poison),
        (FailureKind::Undecodable, DeadReason::Undecodable),
    ] {
        assert_eq!(kind.as_str(), reason.as_str());
        let outcome = Outcome::Failed(Failure::permanent(kind, ""));
        assert_eq!(
            settled(&outcome, &standing(0)).0,
            Settlement::DeadLetter(reason)
        );
    }
}

#[test]
fn every_reason_is_read_as_it_is_written() {
    for reason in DeadReason::ALL {
        assert_eq!(DeadReason::parse(reason.as_str()), Some(reason));
    }
}

proptest! {
    /// W3: an interruption never ends an envelope and never charges an attempt.
    #[test]
    fn an_interruption_is_only_ever_released(attempts in 0_u32..10, faults: u32, message: String) {
        let standing = Standing { attempts, faults, ..standing(0) };
        let (settlement, end) = settled(&Outcome::Interrupted(Disruption::HostFault(message)), &standing);
        prop_assert!(matches!(settlement, Settlement::ReleaseAfterFault(_)));
        prop_assert_eq!(end, None);
    }
}
