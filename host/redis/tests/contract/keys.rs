//! What lies on the server: nothing more than is needed, and no more than it should be (R4).

use std::time::Duration;

use stem_core::ids::Digest;
use stem_core::names::TaskName;
use stem_core::outcome::Settlement;
use stem_core::queues::CancelMode;
use stem_core::state::EndState;
use stem_testkit::builders::{
    DEFAULT_QUEUE, delayed, fence, half_way, publications, queue_name, queued_in, urgent,
};
use stem_testkit::process::Process;

use crate::server::{Server, Usable as _, keys, process};

async fn on(server: &Server) -> Process {
    process("here", &server.options()).await
}

/// The one lane that there is, with its namespace.
fn lane(server: &Server) -> String {
    let mut lanes: Vec<String> = server.ask(&["KEYS", "*}:lane:*"]);
    assert_eq!(lanes.len(), 1);
    lanes.remove(0)
}

/// What begins with this.
fn count(keys: &[String], beginning: &str) -> usize {
    keys.iter().filter(|key| key.starts_with(beginning)).count()
}

/// How many of the keys that match live for ever.
fn without_lifetime(server: &Server, pattern: &str) -> usize {
    let script = "local n = 0 for _, k in ipairs(redis.call('KEYS', ARGV[1])) do \
                  if redis.call('TTL', k) < 0 then n = n + 1 end end return n";
    server.ask(&["EVAL", script, "0", pattern])
}

/// R4: all that is left of what has ended is its record, and that has a lifetime.
#[tokio::test]
async fn what_has_ended_leaves_its_record_alone() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(20)).await;
    for delivery in here.claim(20).await {
        let progress = half_way(&*here.stores.clock);
        here.save_progress(&fence(&delivery), &progress).await;
        here.end(&delivery, EndState::Succeeded).await;
    }
    here.sweep().await;
    let mut left = keys(&server);
    assert_eq!(count(&left, "e:"), 20);
    left.retain(|key| !["e:", "usage:", "c:"].iter().any(|it| key.starts_with(it)));
    left.sort();
    assert_eq!(left, ["hours", "seq"]);
    assert_eq!(without_lifetime(&server, "*}:[ec]:*"), 0);
}

/// R4: lanes and leases go with what lay in them, however it ended.
#[tokio::test]
async fn a_lane_goes_with_its_content() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    for round in 0..10 {
        here.add(&urgent(round)).await;
        assert_eq!(count(&keys(&server), "lane:"), 1);
        here.settle_next(Settlement::Release).await;
        assert_eq!(count(&keys(&server), "back:"), 1);
        let delivery = here.claim_one().await;
        here.end(&delivery, EndState::Failed).await;
    }
    let left = keys(&server);
    for gone in ["lane", "back", "leased", "running", "ends"] {
        assert_eq!(count(&left, gone), 0, "{left:?}");
    }
}

/// B9, R4: what nobody has read stays, and what was acknowledged does not.
#[tokio::test]
async fn a_busy_lane_keeps_only_what_is_not_settled() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(500)).await;
    for delivery in here.claim(400).await {
        here.settle(&delivery, Settlement::Ack).await;
    }
    let left = keys(&server);
    // Of packs of 16.
    assert_eq!(server.ask::<usize>(&["XLEN", &lane(&server)]), 7);
    // What was acknowledged without a record leaves nothing.
    assert_eq!(count(&left, "e:"), 100);
}

/// R4: a waiting envelope takes no more than 600 bytes beside its payload.
#[tokio::test]
async fn a_waiting_envelope_takes_little() {
    const NUMBER: usize = 10_000;
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    // The first ones make what all the others use.
    here.add_all(&publications(100)).await;
    let before = used(&server);
    let batch = publications(NUMBER);
    let payload = r#"{"text":"a b a"}"#.len();
    here.add_all(&batch).await;
    let each = (used(&server) - before) / NUMBER;
    assert!(each <= 600 + payload, "{each} bytes");
}

fn used(server: &Server) -> usize {
    let text: String = server.ask(&["INFO", "memory"]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("it is said").parse().expect("a number")
}

/// B4, B8: an entry that somebody has put back by hand is not run beside its envelope.
#[tokio::test]
async fn an_entry_whose_envelope_has_moved_on_is_passed_over() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(2)).await;
    let lane = lane(&server);
    let before: Vec<u8> = server.ask(&["DUMP", &lane]);
    let held = here.claim(2).await;
    here.settle(&held[0], Settlement::Retry(Duration::from_secs(60)))
        .await;
    server.restore(&lane, &before);
    assert!(here.claim(2).await.is_empty());
}

/// B5: what was claimed several times within one lease has one lease to lose.
#[tokio::test]
async fn a_lost_worker_is_counted_once_however_often_it_was_claimed_before() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add_all(&publications(2)).await;
    let queue = vec![queue_name(DEFAULT_QUEUE)];
    let together = here.claim_with(queue, 2, LEASE).await;
    here.settle(&together[0], Settlement::Snooze(Duration::ZERO))
        .await;
    let lost = here.claim_for(LEASE).await.receipt.id;
    tokio::time::sleep(LEASE).await;
    assert_eq!(here.counts().await, [2, 0, 0, 0]);
    let again = here.claim(2).await;
    let again = again.iter().find(|it| it.receipt.id == lost);
    assert_eq!(again.expect("it came back").losses, 1);
}

/// Long enough for the claims of a test, on a busy machine.
const LEASE: Duration = Duration::from_secs(2);

/// B6: a delay that outlives everything holds up nobody who waits for work.
#[tokio::test]
async fn a_delay_of_ages_is_a_time_that_is_waited_for() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    here.add(&delayed(Duration::from_millis(u64::MAX))).await;
    here.work().await;
    assert_eq!(here.counts().await, [0, 1, 0, 0]);
    here.add_all(&publications(1)).await;
    assert_eq!(here.claim(2).await.len(), 1);
}

/// M2, R4: a pin goes with its envelope, however long the names are.
#[tokio::test]
async fn a_pin_goes_with_an_envelope_of_long_names() {
    let server = Server::start(&["--save", ""]);
    let here = on(&server).await;
    let name = "n".repeat(128);
    let mut long = queued_in(&name);
    long.task = TaskName::new(&name).expect("a name");
    long.module = Some(Digest::of(b"module"));
    here.add(&long).await;
    assert_eq!(count(&keys(&server), "pins"), 1);
    here.cancel(long.id, CancelMode::Ask).await;
    assert_eq!(count(&keys(&server), "pins"), 0);
}
