//! Two workers and several producers at work, and what is done to them.

use std::collections::VecDeque;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stem_core::broker::DEFAULT_LEASE;
use stem_tests::host::{PATIENCE, TestHost, now};
use stem_tests::store::TestStore;
use stem_tests::worker::Worker;

use crate::ledger::Ledger;
use crate::scale::Scale;

/// Short leases.
pub const SHORT_LEASE: [&str; 2] = ["--lease", "1s"];
/// As many losses as it takes: a `poison` is a failure of the test.
const WITHOUT_POISON: [&str; 2] = ["--max-deliveries", "1000000"];

/// What a producer publishes.
struct Kind {
    name: &'static str,
    flags: &'static [&'static str],
    /// How many attempts fail before the one that succeeds.
    failures: u32,
}

/// Every share has all of them in equal parts.
const KINDS: [Kind; 4] = [
    Kind {
        name: "plain",
        flags: &[],
        failures: 0,
    },
    Kind {
        name: "retried",
        flags: &[],
        failures: 2,
    },
    Kind {
        name: "delayed",
        flags: &["--delay", "300ms"],
        failures: 0,
    },
    Kind {
        name: "urgent",
        flags: &["--priority", "7"],
        failures: 0,
    },
];

impl Kind {
    /// Long enough that a kill meets some at work.
    fn payload(&self, ms: u64) -> Value {
        match self.failures {
            0 => json!({"fate": "sleep", "ms": ms}),
            times => json!({"fate": "fail-times", "times": times}),
        }
    }

    /// Starts a process that publishes its part of a share.
    fn produce(&self, host: &TestHost, scale: &Scale) -> Child {
        let count = scale.share().div_ceil(KINDS.len() as u64);
        let sleeps = (0..count).map(|number| scale.sleep + number % 40);
        let lines: Vec<String> = sleeps.map(|ms| self.payload(ms).to_string()).collect();
        let file = host.write(&format!("{}.jsonl", self.name), lines.join("\n"));
        let each = format!("@{file}");
        let mut command = host.command(&["enqueue", "misbehave", "--each", &each]);
        command
            .args(self.flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("stem-host is built")
    }
}

/// Two workers in processes of their own, and what they are given.
pub struct Trial<'a> {
    host: &'a TestHost,
    flags: Vec<&'a str>,
    scale: Scale,
    workers: VecDeque<(String, Worker)>,
    ledger: Ledger,
    began: Instant,
    kills: u64,
    outages: u64,
    away: Duration,
}

impl<'a> Trial<'a> {
    /// Workers start with these flags, and have their first envelopes.
    pub fn new(host: &'a TestHost, flags: &[&'a str], scale: Scale) -> Self {
        let lease = match flags == SHORT_LEASE {
            true => Duration::from_secs(1),
            false => DEFAULT_LEASE,
        };
        let mut trial = Self {
            host,
            flags: [flags, &WITHOUT_POISON].concat(),
            scale,
            workers: VecDeque::new(),
            ledger: Ledger::on(TestStore::of(host), lease),
            began: now(),
            kills: 0,
            outages: 0,
            away: Duration::ZERO,
        };
        trial.start_worker();
        trial.start_worker();
        let producers = trial.start_producers();
        trial.hear_out(producers, false);
        trial
    }

    fn start_worker(&mut self) {
        let number = self.kills + self.workers.len() as u64 + 1;
        let name = format!("worker-{number}");
        let flags = [&["--name", &name], self.flags.as_slice()].concat();
        let worker = self.host.worker(&flags);
        self.workers.push_back((name, worker));
    }

    fn start_producers(&self) -> Vec<Child> {
        let start = |kind: &Kind| kind.produce(self.host, &self.scale);
        KINDS.iter().map(start).collect()
    }

    /// Waits for the producers' ends, and notes what they say is published: that has to last, also where a disturbed
    /// one failed afterwards.
    fn hear_out(&mut self, producers: Vec<Child>, is_disturbed: bool) {
        for (kind, producer) in KINDS.iter().zip(producers) {
            let output = producer.wait_with_output().expect("it can be waited for");
            let is_well = output.status.success() || is_disturbed;
            assert!(is_well, "{}: {output:?}", kind.name);
            let ids = String::from_utf8_lossy(&output.stdout);
            let ids = ids.lines().map(str::to_owned).collect();
            self.ledger.add(ids, kind.failures);
        }
    }

    /// While the next share is published the elder worker is killed; another takes its place.
    pub fn kill_one(&mut self) {
        let producers = self.start_producers();
        let (name, worker) = self.workers.pop_front().expect("there are two");
        worker.kill();
        let at = self.ledger.store().now();
        self.kills += 1;
        self.hear_out(producers, false);
        self.ledger.note_losses(&name, at);
        self.start_worker();
    }

    /// Does something that the server is away for, or cut off, while another share is published.
    pub fn outage(&mut self, act: impl FnOnce()) {
        let producers = self.start_producers();
        let from = self.ledger.store().now();
        act();
        let to = self.ledger.store().now();
        self.hear_out(producers, true);
        self.outages += 1;
        self.away += to.since(from);
        self.ledger.note_outage(from..to);
    }

    /// Waits until both workers have something in hand.
    pub fn until_all_work(&mut self) {
        self.until("both workers work", |ledger| ledger.count_busy() >= 2);
    }

    /// Waits until two shares are left: enough that the next kill meets some at work.
    pub fn run_down(&mut self) {
        let left = 2 * self.scale.share();
        self.until("few are left", |ledger| ledger.count_open() as u64 <= left);
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&mut Ledger) -> bool) {
        let deadline = now() + PATIENCE;
        while !is_so(&mut self.ledger) {
            assert!(now() < deadline, "waited in vain until {what}");
            self.ledger.store().wait_for_ends();
        }
    }

    /// Lets everything end, looks at every envelope, and prints the counts; gives how many deliveries the kills met.
    pub fn conclude(mut self, what: &str) -> usize {
        self.until("all have ended", |ledger| ledger.count_open() == 0);
        // Whatever a disturbed producer could not tell of ends too.
        self.host.until("nothing is left", |host| host.alive() == 0);
        let rescues = self.ledger.check();
        let (envelopes, kills, outages) = (self.ledger.count(), self.kills, self.outages);
        let (met, slowest) = (rescues.count, rescues.slowest.as_secs_f64());
        let (away, took) = (self.away.as_secs_f64(), self.began.elapsed().as_secs());
        say(&format!(
            "counted: {what}: {envelopes} envelopes ended once each; {kills} workers were killed and {met} of their \
             deliveries rescued, the slowest after {slowest:.1} s; the server was away or cut \
             off {outages} times, {away:.1} s in all; it took {took} s"
        ));
        met
    }
}

/// Says something also where a test's output is kept back.
pub fn say(line: &str) {
    // Nobody may listen.
    let _ = writeln!(std::io::stderr(), "{line}");
}
