//! A private Redis server on a free loopback port, with its files in a folder of its own, gone with whoever started it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use stem_core::clock::SystemClock;
use tempfile::TempDir;

use crate::server_clock::ServerClock;

/// The configuration of a sentinel, in its folder.
const SENTINEL: &str = "sentinel.conf";

/// The server of this test process.
static SHARED: LazyLock<Mutex<Option<Server>>> = LazyLock::new(|| Mutex::new(None));

/// Where the tests of this process find a server: the one that `STEM_TEST_REDIS_URL` names, or one of their own.
#[expect(
    clippy::disallowed_methods,
    reason = "this is what configures the tests"
)]
pub fn shared_url() -> String {
    if let Ok(url) = std::env::var("STEM_TEST_REDIS_URL") {
        return url;
    }
    let mut shared = SHARED.lock().expect("no test panics here");
    let server =
        shared.get_or_insert_with(|| Server::start(&["--save", "", "--appendonly", "yes"]));
    server.url()
}

/// A server that ends with whoever started it.
pub struct Server {
    running: Running,
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
    environment: Vec<OsString>,
}

/// The server's process, and the shell that ends it.
struct Running {
    guard: Child,
    process: String,
}

impl Server {
    /// Starts one with these settings.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(empty_folder(), settings, Vec::new())
    }

    /// Starts one whose time is this clock's, and not the machine's.
    pub fn start_on(clock: &ServerClock, settings: &[&str]) -> Self {
        Self::start_in(empty_folder(), settings, clock.environment().into())
    }

    fn start_in(folder: TempDir, settings: &[&str], environment: Vec<OsString>) -> Self {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let port = free_port();
        let server = Self {
            running: Running::spawn(port, &folder, &settings, &environment),
            port,
            folder,
            settings,
            environment,
        };
        server.wait();
        server
    }

    /// Starts a sentinel with this configuration.
    pub fn sentinel(configuration: &str) -> Self {
        let folder = empty_folder();
        std::fs::write(folder.path().join(SENTINEL), configuration).expect("it is written");
        Self::start_in(folder, &[], Vec::new())
    }

    /// Kills the server as a crash would, and starts it again with what it has on disk.
    pub fn restart(&mut self) {
        self.running.kill();
        let (folder, settings) = (&self.folder, &self.settings);
        self.running = Running::spawn(self.port, folder, settings, &self.environment);
        self.wait();
    }

    /// Kills it, and leaves it so.
    pub fn stop(&mut self) {
        self.running.kill();
    }

    /// Kills it, and starts it again with nothing on disk.
    pub fn restart_empty(&mut self) {
        self.folder = empty_folder();
        self.restart();
    }

    /// Stops it in its tracks: it answers nobody, and nobody is told that it is gone.
    pub fn pause(&self) {
        self.running.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.running.signal("-CONT");
    }

    /// Its first database.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Where it listens, on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait(&self) {
        let clock = SystemClock::shared();
        let begun = clock.monotonic();
        let is_secure = port_setting(&self.settings) == "--tls-port";
        while !is_up(self.port, is_secure) {
            assert!(
                clock.monotonic() - begun < Duration::from_secs(20),
                "`redis-server` does not start: install it (`cargo xtask services`), or set STEM_TEST_REDIS_URL"
            );
            std::thread::yield_now();
        }
        let own = &self.running.process;
        assert!(
            is_secure || said_process(self.port).is_none_or(|process| process == *own),
            "somebody else's server has taken port {} from `redis-server`: start the test again",
            self.port
        );
    }
}

/// The process id of the server that listens there, where it tells everybody.
fn said_process(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"INFO server\r\nQUIT\r\n").ok()?;
    let mut answer = Vec::new();
    // Who does not hang up has said all the same what it has to say.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let mut lines = answer.lines();
    let process = lines.find_map(|line| line.strip_prefix("process_id:"))?;
    Some(process.to_owned())
}

fn empty_folder() -> TempDir {
    TempDir::new().expect("a folder for the server")
}

/// Whether a server listens there and, without TLS, has read what it keeps.
fn is_up(port: u16, is_secure: bool) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut answer = [0; 5];
    is_secure
        || stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && [b"+PONG", b"-NOAU"].contains(&&answer)
}

impl Running {
    /// A shell starts the server, says its process id, and ends it when this process closes the shell's input: so also
    /// when it is killed.
    fn spawn(port: u16, folder: &TempDir, settings: &[String], environment: &[OsString]) -> Self {
        const GUARDED: &str =
            "env \"$@\" >/dev/null 2>&1 </dev/null & echo $!; cat; kill -9 $!; wait";
        let mut command = Command::new("sh");
        command.args(["-c", GUARDED, "sh"]).args(environment);
        command.arg("redis-server");
        // A sentinel writes what it learns into its configuration.
        let configuration = folder.path().join(SENTINEL);
        if configuration.exists() {
            command.arg(configuration).arg("--sentinel");
        }
        command
            .args([port_setting(settings), &port.to_string()])
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut guard = command.spawn().expect("a shell starts");
        let mut process = String::new();
        let output = guard.stdout.as_mut().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut process)
            .expect("the shell says the process id");
        Self {
            guard,
            process: process.trim().to_owned(),
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process]).status();
        assert!(sent.expect("`kill` runs").success());
    }

    fn kill(&mut self) {
        self.signal("-9");
        drop(self.guard.stdin.take());
        self.guard.wait().expect("the shell ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // The shell ends with its input, whether the server runs or not.
        let _ = self.guard.wait();
    }
}

/// Where TLS is set up, nothing else is listened for.
fn port_setting(settings: &[String]) -> &'static str {
    match settings.iter().any(|setting| setting == "--tls-cert-file") {
        true => "--tls-port",
        false => "--port",
    }
}

/// A port that no test of this process has had, and that is not among those which the system gives to connections: so
/// nobody takes it while its server is restarted.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no test panics here");
    let first = 20_000 + u16::try_from(std::process::id() % 11_000).expect("a small number");
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = (first..32_000).filter(|port| !given.contains(port));
    let port = ports.find(is_free).expect("a free port");
    given.insert(port);
    port
}
