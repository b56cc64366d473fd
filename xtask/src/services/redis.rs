//! A private Redis server: its port is free, its folder lies below `target`, and both are given back when it ends.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{answer, program, target};
use crate::packages::{self, Consent, Package, has};

/// Names the server that tests share.
pub const VARIABLE: &str = "STEM_TEST_REDIS_URL";

const PACKAGE: Package = Package {
    name: "redis-server",
    debian: "redis-server",
    homebrew: "redis",
    elsewhere: "install Redis 7 or later, so that `redis-server` is found, as https://redis.io says",
};
const OLDEST: u32 = 7;
/// None of those that the system gives to connections, and none of those that the tests give to servers of their own.
const PORTS: std::ops::Range<u16> = 32_000..32_768;
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell starts the server, and ends it when the shell's input closes: so also when whoever holds that is killed.
const GUARDED: &str = r#"
folder=$1
shift
redis-server "$@" --dir "$folder" >"$folder/log" 2>&1 </dev/null &
cat
kill -9 $!
wait
rm -rf "$folder"
"#;

/// A server that ends with whoever started it.
pub struct Server {
    guard: Child,
    port: u16,
    folder: PathBuf,
}

/// Sees to it that there is a server to start, and that it is recent enough.
pub fn install(consent: Consent) -> Result<()> {
    if !has(PACKAGE.name) {
        packages::install(&PACKAGE, consent)?;
    }
    let version = answer(program(PACKAGE.name, &["--version"]))?;
    ensure!(
        major(&version) >= Some(OLDEST),
        "the tests want Redis {OLDEST} or later, and this machine has `{}`: {}, or set {VARIABLE}",
        version.trim(),
        PACKAGE.elsewhere
    );
    Ok(())
}

/// The first number of `Redis server v=7.0.15 sha=00000000:0 …`.
fn major(version: &str) -> Option<u32> {
    let numbers = version.split_once("v=")?.1;
    numbers.split('.').next()?.parse().ok()
}

/// A URL for people: a password would stand before the host.
pub fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

impl Server {
    /// Starts one, and returns when it answers.
    pub fn start() -> Result<Self> {
        let (port, folder) = claim_port()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARDED, "sh"])
            .arg(&folder)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "yes"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us: the shell has to outlive us.
            .process_group(0);
        let guard = command.spawn().context("starting a Redis server")?;
        let server = Self {
            guard,
            port,
            folder,
        };
        server.wait()?;
        Ok(server)
    }

    /// Its first database.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn wait(&self) -> Result<()> {
        let began = now();
        while !is_up(self.port) {
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("starting a Redis server: it does not answer:\n{log}");
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The shell ends with its input, whether the server runs or not.
        let _ = self.guard.wait();
    }
}

/// A port that nobody listens on, and a folder for it: who made that has the port.
fn claim_port() -> Result<(u16, PathBuf)> {
    let folders = target().join("services");
    fs::create_dir_all(&folders).context("making a folder for servers")?;
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let claimed = PORTS.filter(is_free).find_map(|port| {
        let folder = folders.join(format!("redis-{port}"));
        fs::create_dir(&folder).is_ok().then_some((port, folder))
    });
    claimed.context(
        "starting a Redis server: no port is free: remove target/services if nothing runs there",
    )
}

fn is_up(port: u16) -> bool {
    let mut answer = [0; 5];
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut stream| {
        stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"+PONG"
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server's start is awaited in real time"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_from_7_on_is_recent() {
        for (version, expected) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc",
                Some(7),
            ),
            ("Redis server v=6.2.14 sha=0", Some(6)),
            ("Valkey server v=8.1.0 sha=0", Some(8)),
            ("something else", None),
            ("", None),
        ] {
            assert_eq!(major(version), expected, "{version}");
        }
    }

    /// X4
    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
            ("redis://me:s@cret@host:1", "redis://host:1"),
            ("rediss://:secret@host", "rediss://host"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn a_server_and_its_folder_are_gone_with_who_started_it() {
        let server = Server::start().expect("it starts");
        let (port, folder) = (server.port, server.folder.clone());
        assert!(is_up(port) && folder.exists());
        drop(server);
        assert!(!is_up(port) && !folder.exists());
    }

    #[test]
    fn two_servers_have_ports_of_their_own() {
        let (one, other) = (Server::start(), Server::start());
        let urls = [one, other].map(|server| server.expect("it starts").url());
        assert_ne!(urls[0], urls[1]);
    }
}
