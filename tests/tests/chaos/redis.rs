//! Workers on a Redis server that is killed, paused, cut off and emptied.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::json;
use stem_testkit::proxy::{Proxy, Way};
use stem_testkit::redis_server::Server;
use stem_tests::host::TestHost;
use stem_tests::store::TestStore;
use tokio::runtime::Runtime;

use crate::ledger::assert_ended_once;
use crate::scale::Scale;
use crate::trial::{SHORT_LEASE, Trial};

const DURABLE: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];

/// What the suite has time for.
const SHORT: Scale = Scale {
    kills: 50,
    envelopes: 5_000,
    pause: Duration::from_secs(3),
    sleep: 10,
};

/// A server behind a network that can be cut.
struct Site {
    server: Server,
    proxy: Proxy,
    /// What carries the network's connections.
    _network: Runtime,
}

impl Site {
    fn open() -> Self {
        let mut network = tokio::runtime::Builder::new_multi_thread();
        let network = network.worker_threads(1).enable_all().build();
        let network = network.expect("a runtime starts");
        let server = Server::start(&DURABLE);
        Self {
            proxy: network.block_on(Proxy::to(server.port())),
            server,
            _network: network,
        }
    }

    /// A host with a task whose commands are all behind the network.
    fn host(&self) -> TestHost {
        let url = format!("redis://127.0.0.1:{}/0", self.proxy.port());
        host_on(url)
    }

    /// Ends every connection in the middle of a command, or of an answer.
    fn cut(&self, number: u64) {
        let way = match number.is_multiple_of(2) {
            true => Way::ToServer,
            false => Way::ToClient,
        };
        self.proxy.cut_after(way, 300);
    }

    /// Does what is due after this kill.
    fn disturb(&mut self, trial: &mut Trial<'_>, (scale, kill): (Scale, u64)) {
        if scale.cuts_after(kill) {
            trial.outage(|| self.cut(kill));
        }
        if scale.restarts_after(kill) {
            trial.outage(|| self.server.restart());
        }
        if scale.pauses_after(kill) {
            trial.outage(|| pause(&self.server, scale.pause));
        }
    }
}

fn host_on(url: String) -> TestHost {
    let host = TestHost::new().with("STEM_BROKER_URL", url);
    host.with_deployed(&["misbehave"])
}

/// A time in which nothing is waited for: that is what a pause is.
fn let_pass(time: Duration) {
    let (_sender, nothing) = channel::<()>();
    assert_eq!(nothing.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}

/// A server that answers nobody for a time.
fn pause(server: &Server, time: Duration) {
    server.pause();
    let_pass(time);
    server.resume();
}

/// B1, B3, B4, B5, B8, B13, R2, W6: with retries, delays and priorities; connections are cut, and the server is killed and
/// paused now and then.
#[test]
fn every_envelope_ends_once_whatever_is_killed() {
    let scale = Scale::asked_or(SHORT);
    let mut site = Site::open();
    let host = site.host();
    let mut trial = Trial::new(&host, &SHORT_LEASE, scale);
    for kill in 1..=scale.kills {
        trial.kill_one();
        site.disturb(&mut trial, (scale, kill));
        trial.run_down();
    }
    let met = trial.conclude("Redis") as u64;
    assert!(met >= scale.kills, "the kills met {met} at work");
}

/// B3, W6: the default lease of 15 s.
#[test]
fn what_a_killed_worker_held_runs_elsewhere_within_20_s() {
    let server = Server::start(&DURABLE);
    let host = host_on(server.url());
    let scale = Scale {
        kills: 1,
        envelopes: 400,
        pause: Duration::ZERO,
        sleep: 2_000,
    };
    let mut trial = Trial::new(&host, &[], scale);
    trial.until_all_work();
    trial.kill_one();
    assert!(trial.conclude("Redis, leases of 15 s") > 0);
}

/// B13: what a server has lost is gone, and what comes afterwards is done.
#[test]
fn workers_on_a_server_that_comes_back_empty_say_so_and_go_on() {
    let mut server = Server::start(&DURABLE);
    let host = host_on(server.url());
    let mut workers = [host.worker(&[]), host.worker(&[])];
    let held = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 2_000}), &[]);
    host.until_state(&held, "running");
    server.restart_empty();
    for worker in &mut workers {
        worker.hear("came back empty");
    }
    let host = host.with_deployed(&["misbehave"]);
    let fates = (0..100).map(|_| json!({"fate": "sleep", "ms": 10}));
    let ids = host.enqueue_each("misbehave", fates);
    host.until("all have ended", |host| host.alive() == 0);
    let lookups = TestStore::of(&host).look_up(&ids);
    lookups.iter().for_each(|one| assert_ended_once(one, 0));
}
