//! No call holds up the server, or fills a connection, for as much as somebody asks for: it is done, or answered, in parts.

use std::time::Duration;

use bytes::Bytes;
use futures::join;
use stem_core::broker::Publication;
use stem_core::clock::Timestamp;
use stem_core::dead_letters::{DeadFilter, Page};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Settlement;
use stem_core::queues::CancelMode;
use stem_core::state::{EndState, State};
use stem_core::store_error::StoreErrorKind;
use stem_core::usage_store::{UsageBy, UsageQuestion};
use stem_testkit::builders::{DEFAULT_TASK, delayed, ending, publication, publications, settling};
use stem_testkit::process::{LONG, Process, ROUNDS, within};

use crate::moved::Moved;
use crate::server::{Server, Usable as _, process};

const HOUR: Duration = Duration::from_secs(3_600);
const MIB: usize = 1 << 20;
/// Envelopes of a megabyte each: more than an answer holds.
const MANY: usize = 10;

async fn alone() -> (Server, Process) {
    let server = Server::start(&["--save", ""]);
    let here = process("here", &server.options()).await;
    (server, here)
}

async fn together() -> (Server, [Process; 2]) {
    let server = Server::start(&["--save", ""]);
    let options = server.options();
    let processes = [
        process("here", &options).await,
        process("there", &options).await,
    ];
    (server, processes)
}

fn large() -> Publication {
    Publication {
        bytes: Bytes::from(vec![7; MIB]),
        ..publication()
    }
}

/// How often the server was asked for a script while this was done, once more for each that it did not know, and what that
/// gave.
async fn scripts<T>(server: &Server, done: impl Future<Output = T>) -> (u64, T) {
    let before = server.calls().get("evalsha").copied().unwrap_or(0);
    let given = done.await;
    (server.calls()["evalsha"] - before, given)
}

/// How many bytes the server sent meanwhile.
async fn sent<T>(server: &Server, done: impl Future<Output = T>) -> (usize, T) {
    let total = || {
        let text: String = server.ask(&["INFO", "stats"]);
        let line = |line: &str| Some(line.strip_prefix("total_net_output_bytes:")?.to_owned());
        let total = text.lines().find_map(line).expect("it is said");
        total.parse::<usize>().expect("a number")
    };
    let before = total();
    let given = done.await;
    (total() - before, given)
}

/// B1: all or none, and what is too much for one step is none.
#[tokio::test]
async fn a_batch_that_is_too_large_for_one_step_is_refused_whole() {
    let (_server, here) = alone().await;
    let heavy: Vec<_> = (0..65).map(|_| large()).collect();
    for batch in [publications(10_001), heavy] {
        let refused = here.stores.broker.publish(&batch).await;
        let error = refused.expect_err("it is too much");
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert_eq!(here.counts().await, [0; 4]);
    }
}

/// E3
#[tokio::test]
async fn large_envelopes_are_looked_up_in_parts() {
    let (server, here) = alone().await;
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(here.add(&large()).await);
    }
    let (calls, found) = scripts(&server, here.stores.queues.find(&ids)).await;
    let found = found.expect("the store answers").into_iter().flatten();
    assert!(found.clone().all(|status| status.bytes.len() == MIB));
    assert_eq!(found.map(|status| status.id).collect::<Vec<_>>(), ids);
    assert!(calls >= 3, "{calls} calls");
    let cancelling = here.stores.queues.cancel(&ids, CancelMode::Ask).await;
    assert_eq!(cancelling.expect("the store answers").len(), MANY);
    assert_eq!(here.counts().await, [0; 4]);
}

/// Large dead letters, the newest first.
async fn bury_many(process: &Process) -> Vec<EnvelopeId> {
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.insert(0, process.bury(&large()).await);
    }
    ids
}

/// R3: whoever waits looks often.
#[tokio::test]
async fn a_look_at_heads_carries_no_bytes() {
    let (server, here) = alone().await;
    let ids = bury_many(&here).await;
    let (all, page) = (DeadFilter::default(), newest_first(MANY));
    let looking = async {
        let found = here.stores.queues.find_heads(&ids).await;
        let listed = here.stores.dead_letters.list_heads(&all, &page).await;
        (found.map(|all| all.len()), listed.map(|all| all.len()))
    };
    let (bytes, (found, listed)) = sent(&server, looking).await;
    assert_eq!(found.expect("the store answers"), MANY);
    assert_eq!(listed.expect("the store answers"), MANY);
    assert!(bytes < MIB, "{bytes} bytes");
}

fn newest_first(limit: usize) -> Page {
    Page {
        after: None,
        limit,
        is_oldest_first: false,
    }
}

/// B10
#[tokio::test]
async fn large_dead_letters_are_listed_and_shown_in_parts() {
    let (server, here) = alone().await;
    let ids = bury_many(&here).await;
    let (letters, page) = (&here.stores.dead_letters, newest_first(MANY));
    let all = DeadFilter::default();
    let (listing, listed) = scripts(&server, letters.list(&all, &page)).await;
    let (showing, shown) = scripts(&server, letters.show(&ids)).await;
    let listed = listed.expect("the store answers").into_iter().map(Some);
    let listed: Vec<_> = listed.collect();
    assert_eq!(listed, shown.expect("the store answers"));
    assert_eq!(listed.len(), MANY);
    assert!(listing >= 3 && showing >= 3, "{listing} and {showing}");
}

/// What came back is counted a chunk at a time, as what nobody has had yet.
#[tokio::test]
async fn what_came_back_is_counted_in_parts() {
    const NUMBER: usize = 2_500;
    let (server, here) = alone().await;
    here.add_all(&publications(NUMBER)).await;
    let mut released = Vec::new();
    while released.len() < NUMBER {
        let claimed = here.claim(NUMBER).await;
        released.extend(claimed.iter().map(|one| settling(one, Settlement::Release)));
    }
    here.settle_all(&released).await;
    let (calls, counts) = scripts(&server, here.count_waiting(&[DEFAULT_TASK])).await;
    assert_eq!(counts, [(DEFAULT_TASK.to_owned(), NUMBER as u64)]);
    assert!(calls >= 7, "{calls} calls");
}

/// S8
#[tokio::test]
async fn the_sums_of_many_hours_are_read_in_parts() {
    const HOURS: u32 = 20;
    let moved = Moved::start();
    let [here] = moved.processes(["here"]).await;
    for _ in 0..HOURS {
        work(&here, 1).await;
        moved.clock.advance(HOUR);
    }
    let (calls, shares) = scripts(&moved.server, here.usage(&by_task())).await;
    assert_eq!(shares[0].sums.succeeded, u64::from(HOURS));
    assert!(calls >= 3, "{calls} calls");
}

fn by_task() -> UsageQuestion {
    UsageQuestion {
        by: UsageBy::Task,
        since: Timestamp::default(),
        task: None,
        queue: None,
        tenant: None,
    }
}

/// Publishes and ends so many, one after the other.
async fn work(process: &Process, number: u64) {
    for _ in 0..number {
        process.add(&publication()).await;
        process.end_next(EndState::Succeeded).await;
    }
}

/// R3: whatever else ends meanwhile.
#[tokio::test]
async fn whoever_waits_looks_when_its_own_envelope_has_changed() {
    const NUMBER: u64 = 100;
    let (server, [here, there]) = together().await;
    let id = here.add(&delayed(LONG)).await;
    let working = async {
        let (calls, ()) = scripts(&server, work(&here, NUMBER)).await;
        here.cancel(id, CancelMode::Ask).await;
        calls
    };
    let (waited, calls) = join!(there.wait(id), working);
    assert_eq!(waited.map(|it| it.state), Some(State::Cancelled));
    assert!(calls < NUMBER * 3 + 50, "{calls} calls");
}

/// Ends very many in one step, while somebody waits for one of them.
async fn end_together(here: &Process, there: &Process) {
    const NUMBER: usize = 300;
    let ids = here.add_all(&publications(NUMBER)).await;
    let changes = there.stores.results.changes_of(ids[7]).await;
    let mut changes = changes.expect("the store answers");
    let claimed = here.claim(NUMBER).await;
    let endings = claimed.iter().map(|one| ending(one, EndState::Succeeded));
    here.settle_all(&endings.collect::<Vec<_>>()).await;
    changes.next().await.expect("the store answers");
}

/// R3: also where nobody is named, since very many have changed.
#[tokio::test]
async fn whoever_waits_is_woken_where_very_many_end_at_once() {
    let (_server, [here, there]) = together().await;
    let rounds = async {
        for _ in 0..ROUNDS.0 {
            end_together(&here, &there).await;
        }
    };
    within(ROUNDS.1, rounds).await;
}
