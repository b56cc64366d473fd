//! What these tests do with a server.

use std::collections::BTreeMap;
use std::time::Duration;

use stem_core::clock::SystemClock;
use stem_redis::{Options, Store};
use stem_testkit::builders::{fresh_namespace, publication};
use stem_testkit::clock::ManualClock;
use stem_testkit::process::{Process, within};
use stem_testkit::proxy::Proxy;
pub use stem_testkit::redis_server::{Server, shared_url};

/// Settings of a server that loses nothing which it has acknowledged.
pub const DURABLE: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
];
/// How long servers may take to find each other.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to find a server that has come back.
pub const BACK: Duration = Duration::from_secs(30);

/// A server, as these tests use it.
pub trait Usable {
    /// Options for a store there.
    fn options(&self) -> Options;

    /// Asks the server something, as a person at its command line would.
    fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).expect("the server answers")
    }

    /// The same of a server that may refuse.
    fn try_ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T>;

    /// Asks until the answer has all of this.
    fn ask_until(&self, command: &[&str], wanted: &[&str]) {
        let clock = SystemClock::shared();
        let begun = clock.monotonic();
        loop {
            let asked = self.try_ask(command);
            let answer = asked.unwrap_or_else(|error| error.to_string());
            if wanted.iter().all(|wanted| answer.contains(wanted)) {
                return;
            }
            let waited = clock.monotonic() - begun;
            assert!(waited < PATIENCE, "{command:?} says:\n{answer}");
            // Nobody says when it will be so, and asking at once again would keep servers from getting there.
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Puts back what `DUMP` gave of a key.
    fn restore(&self, key: &str, dump: &[u8]);

    /// How often each command was called since the server started, also by scripts.
    fn calls(&self) -> BTreeMap<String, u64> {
        let text: String = self.ask(&["INFO", "commandstats"]);
        let read = |line: &str| {
            let (name, facts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), facts.split(',').next()?.parse().ok()?))
        };
        text.lines().filter_map(read).collect()
    }
}

impl Usable for Server {
    fn options(&self) -> Options {
        Options::new(self.url(), fresh_namespace(), SystemClock::shared())
    }

    fn try_ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url()).expect("a good URL");
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut client.get_connection()?)
    }

    fn restore(&self, key: &str, dump: &[u8]) {
        let client = redis::Client::open(self.url()).expect("a good URL");
        let mut connection = client.get_connection().expect("the server runs");
        let mut restore = redis::cmd("RESTORE");
        restore.arg(key).arg(0).arg(dump).arg("REPLACE");
        restore.exec(&mut connection).expect("it is restored");
    }
}

/// The keys of a server, behind their namespace.
pub fn keys(server: &Server) -> Vec<String> {
    // Ids are bytes that are no text.
    let keys: Vec<Vec<u8>> = server.ask(&["KEYS", "*"]);
    let text = |key: Vec<u8>| String::from_utf8_lossy(&key).into_owned();
    let behind = |key: String| key.split_once("}:").map(|(_, key)| key.to_owned());
    keys.into_iter().map(text).filter_map(behind).collect()
}

/// A process with a store of its own.
pub async fn process(name: &str, options: &Options) -> Process {
    let store = Store::open(options.clone()).await.expect("a store opens");
    Process::named(name, store.stores())
}

/// Publishes, as often as it takes.
pub async fn publish_in_the_end(process: &Process) {
    let publication = [publication()];
    let published = async {
        while process.stores.broker.publish(&publication).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(BACK, published).await;
}

/// A server, with a network before it that fails when a test says so.
pub struct Line {
    pub server: Server,
    pub proxy: Proxy,
    /// For who sits beside the server.
    pub near: Options,
    /// For who reaches it over the network.
    pub far: Options,
}

impl Line {
    pub async fn start() -> Self {
        let server = Server::start(&["--save", ""]);
        let proxy = Proxy::to(server.port()).await;
        let near = server.options();
        let mut far = near.clone();
        far.url.0 = format!("redis://127.0.0.1:{}/0", proxy.port());
        // How full the server is is asked once, so that a test knows what is on the line.
        far.clock = ManualClock::shared();
        Self {
            server,
            proxy,
            near,
            far,
        }
    }

    /// Somebody over the network who has used it already, and somebody beside the server.
    pub async fn processes(&self) -> (Process, Process) {
        let far = process("far", &self.far).await;
        let near = process("near", &self.near).await;
        far.add(&publication()).await;
        far.end_next(stem_core::state::EndState::Succeeded).await;
        (far, near)
    }
}
