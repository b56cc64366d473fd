//! What these tests do with a server.

use stem_core::clock::SystemClock;
use stem_redis::Options;
use stem_testkit::builders::fresh_namespace;
pub use stem_testkit::redis_server::{Server, shared_url};

/// A server, as these tests use it.
pub trait Usable {
    /// Options for a store there.
    fn options(&self) -> Options;

    /// Asks the server something, as a person at its command line would.
    fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T;

    /// Puts back what `DUMP` gave of a key.
    fn restore(&self, key: &str, dump: &[u8]);
}

impl Usable for Server {
    fn options(&self) -> Options {
        Options::new(self.url(), fresh_namespace(), SystemClock::shared())
    }

    fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("a good URL");
        let mut connection = client.get_connection().expect("the server runs");
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query(&mut connection).expect("the server answers")
    }

    fn restore(&self, key: &str, dump: &[u8]) {
        let client = redis::Client::open(self.url()).expect("a good URL");
        let mut connection = client.get_connection().expect("the server runs");
        let mut restore = redis::cmd("RESTORE");
        restore.arg(key).arg(0).arg(dump).arg("REPLACE");
        restore.exec(&mut connection).expect("it is restored");
    }
}
