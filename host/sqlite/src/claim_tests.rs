//! Which envelopes are claimed first, and in which runs they are read.

use super::*;

fn lane(priority: u8, waiting: &[(i64, u64)]) -> Lane {
    let candidate = |&(number, seconds): &(i64, u64)| Candidate {
        number,
        ready_at: Timestamp::from_millis(seconds * 1_000),
    };
    Lane {
        priority,
        waiting: waiting.iter().map(candidate).collect(),
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// B7
#[test]
fn higher_priority_goes_first_and_a_lane_keeps_its_order() {
    let lanes = vec![
        lane(0, &[(1, 990), (2, 991)]),
        lane(9, &[(5, 995), (4, 996)]),
    ];
    assert_eq!(merge(lanes, NOW, 3), [5, 4, 1]);
}

/// B7
#[test]
fn each_minute_of_waiting_counts_as_a_level() {
    let lanes = vec![lane(0, &[(1, 750), (2, 999)]), lane(3, &[(3, 999)])];
    assert_eq!(
        merge(lanes, NOW, 9),
        [1, 3, 2],
        "1 has waited 250 s: level 4"
    );
    let lanes = vec![lane(0, &[(1, 1_000 - 180)]), lane(3, &[(3, 999)])];
    assert_eq!(merge(lanes, NOW, 1), [1], "of equals the older one");
}

#[test]
fn a_gap_ends_a_run() {
    let all: Vec<_> = runs(&[3, 4, 5, 7, 9, 10, 8]).collect();
    assert_eq!(all, [(3, 5), (7, 7), (9, 10), (8, 8)]);
    assert_eq!(runs(&[]).count(), 0);
}
