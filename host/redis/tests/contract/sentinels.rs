//! Servers that sentinels watch: the master is found through them, and found again after a failover.

use std::time::Duration;

use stem_core::store_error::StoreErrorKind;
use stem_redis::Options;
use stem_testkit::builders::publications;
use stem_testkit::process::Process;
use stem_testkit::redis_server::free_port;

use crate::faults::claim_in_the_end;
use crate::replicas::Pair;
use crate::server::{Server, Usable as _, process, publish_in_the_end};
use crate::settings::refusal;

/// A pair of servers, and a sentinel that watches them.
struct Watched {
    pair: Pair,
    sentinel: Server,
}

impl Watched {
    fn start() -> Self {
        let pair = Pair::start();
        let port = pair.master.port();
        let sentinel = Server::sentinel(&format!(
            "sentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 3000\n"
        ));
        let replica = format!("slave0:ip=127.0.0.1,port={}", pair.replica.port());
        pair.master.ask_until(&["INFO", "replication"], &[&replica]);
        sentinel.ask_until(&["INFO", "sentinel"], &["status=ok", "slaves=1"]);
        Self { pair, sentinel }
    }

    /// Options for a store on the master of this name; the first sentinel of the URL is away.
    fn options(&self, master: &str) -> Options {
        let (nobody, port) = (free_port(), self.sentinel.port());
        let mut options = self.sentinel.options();
        options.url.0 = format!("redis-sentinel://127.0.0.1:{nobody},127.0.0.1:{port}/{master}");
        options
    }

    /// A process that has published so many, all of which the replica has.
    async fn published(&self, options: &Options, number: usize) -> Process {
        let mut kept = options.clone();
        kept.wait_replicas = 1;
        let here = process("here", &kept).await;
        here.add_all(&publications(number)).await;
        process("here", options).await
    }
}

/// B1, B13: workers go on with the replica, and nothing that was acknowledged is lost.
#[tokio::test]
async fn a_master_that_dies_is_replaced() {
    let mut watched = Watched::start();
    let options = watched.options("main");
    let here = watched.published(&options, 20).await;
    let there = process("there", &options).await;
    let mut wakeups = there.work().await;
    watched.pair.master.stop();
    publish_in_the_end(&here).await;
    claim_in_the_end(&there, &mut *wakeups).await;
    assert_eq!(here.counts().await, [20, 0, 1, 0]);
}

/// B13: a master that becomes a replica is left, though it still answers.
#[tokio::test]
async fn a_master_that_steps_down_is_left() {
    let watched = Watched::start();
    let options = watched.options("main");
    let here = watched.published(&options, 20).await;
    // It has to know its replica well enough first.
    let step_down = ["SENTINEL", "FAILOVER", "main"];
    watched.sentinel.ask_until(&step_down, &["OK"]);
    watched
        .pair
        .master
        .ask_until(&["INFO", "replication"], &["role:slave"]);
    publish_in_the_end(&here).await;
    assert_eq!(here.counts().await, [21, 0, 0, 0]);
}

/// B13: it says what the sentinels were asked for.
#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_named() {
    let watched = Watched::start();
    let mut options = watched.options("other");
    options.timeout = Duration::from_secs(1);
    let (kind, message) = refusal(options).await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
    assert!(message.contains("other"), "{message}");
}
