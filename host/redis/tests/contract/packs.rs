//! Lanes are streams of packs of 16: whatever is taken out of one, the order stays.

use std::time::Duration;

use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::CancelMode;
use stem_testkit::builders::publications;
use stem_testkit::process::Process;

use crate::server::{Server, Usable as _, process};

async fn here(server: &Server) -> Process {
    process("here", &server.options()).await
}

/// All that can be claimed, so many at a time.
async fn drain(here: &Process, at_a_time: usize) -> Vec<EnvelopeId> {
    let mut claimed = Vec::new();
    loop {
        let more = here.claim_ids(at_a_time).await;
        if more.is_empty() {
            return claimed;
        }
        claimed.extend(more);
    }
}

/// B2: parts of packs are claimed, packs are broken in their middle, and what was claimed comes back.
#[tokio::test]
async fn what_is_left_of_packs_is_claimed_in_its_order() {
    let server = Server::start(&["--save", ""]);
    let here = here(&server).await;
    let ids = here.add_all(&publications(100)).await;
    let held = here.claim(5).await;
    for gone in [7, 40, 47, 99] {
        here.cancel(ids[gone], CancelMode::Ask).await;
    }
    here.settle(&held[2], Settlement::Release).await;
    let left = (0..100).filter(|at| *at == 2 || (*at > 4 && ![7, 40, 47, 99].contains(at)));
    let left: Vec<EnvelopeId> = left.map(|at| ids[at]).collect();
    assert_eq!(here.queues().await[0].queued, 96 - 4);
    assert_eq!(drain(&here, 7).await, left);
    assert_eq!(here.queues().await[0].queued, 0);
}

/// B2: one at a time, from packs of any length.
#[tokio::test]
async fn packs_of_any_length_are_claimed_to_their_end() {
    let server = Server::start(&["--save", ""]);
    let here = here(&server).await;
    for at_a_time in [1, 15, 16, 17, 1_000] {
        let mut ids = Vec::new();
        for number in [1, 15, 16, 17, 33, 1, 1] {
            ids.extend(here.add_all(&publications(number)).await);
        }
        assert_eq!(drain(&here, at_a_time).await, ids, "{at_a_time} at a time");
    }
}

/// B4: where somebody has put a lane back by hand, what is published behind it is not lost with it.
#[tokio::test]
async fn what_lies_behind_entries_that_are_known_again_is_claimed() {
    let server = Server::start(&["--save", ""]);
    let here = here(&server).await;
    here.add_all(&publications(40)).await;
    let lane = server.ask::<Vec<String>>(&["KEYS", "*}:lane:*"]).remove(0);
    let before: Vec<u8> = server.ask(&["DUMP", &lane]);
    for delivery in here.claim(40).await {
        here.settle(&delivery, Settlement::Retry(Duration::from_secs(60)))
            .await;
    }
    server.restore(&lane, &before);
    let ids = here.add_all(&publications(3)).await;
    assert!(here.claim_ids(40).await.is_empty());
    assert_eq!(here.claim_ids(40).await, ids);
}

/// B4: a count that somebody has altered by hand is made anew, and stops nobody.
#[tokio::test]
async fn a_lane_whose_count_is_off_goes_on() {
    let server = Server::start(&["--save", ""]);
    let here = here(&server).await;
    for off in ["13 -3 ", "0", "1 0 ", "999 7 "] {
        let mut ids = here.add_all(&publications(20)).await;
        let lanes = server.ask::<Vec<String>>(&["KEYS", "*}:lanes:*"]).remove(0);
        let _: u64 = server.ask(&["HSET", &lanes, "0", off]);
        ids.push(here.add(&publications(1)[0]).await);
        assert_eq!(drain(&here, 4).await, ids, "{off}");
        assert!(here.queues().await.iter().all(|queue| queue.queued == 0));
    }
}
