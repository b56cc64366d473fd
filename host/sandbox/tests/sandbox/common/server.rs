//! A server for guests to talk to, which answers as its paths say and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// Between the pieces of an answer that drips.
const DRIP: Duration = Duration::from_millis(20);

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its first line and its headers.
    pub head: String,
    /// How many bytes its body had, or how many there were when it broke off.
    pub body: Result<usize, usize>,
}

#[derive(Debug, Default)]
struct Memory {
    seen: Vec<Seen>,
    connections: usize,
    busy: usize,
    most_busy: usize,
}

/// It listens on this machine alone, until the test's process ends.
pub struct Server {
    pub address: SocketAddr,
    memory: Arc<(Mutex<Memory>, Condvar)>,
}

impl Server {
    /// On a port of its own.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let memory = Arc::<(Mutex<Memory>, Condvar)>::default();
        let kept = Arc::clone(&memory);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let memory = Arc::clone(&kept);
                thread::spawn(move || Connection::serve(stream, &memory));
            }
        });
        Self { address, memory }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// The head of the only request.
    #[track_caller]
    pub fn only_head(&self) -> String {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].head.clone()
    }

    /// Returns when so many requests were seen.
    pub fn wait_for(&self, requests: usize) -> Vec<Seen> {
        let too_few = |memory: &mut Memory| memory.seen.len() < requests;
        let waited = self
            .memory
            .1
            .wait_timeout_while(self.lock(), PATIENCE, too_few);
        let (memory, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "{requests} requests: {memory:?}");
        memory.seen.clone()
    }

    /// How many connections were made in all.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// How many requests were answered at once.
    pub fn most_at_once(&self) -> usize {
        self.lock().most_busy
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Connection<'a> {
    stream: BufReader<TcpStream>,
    memory: &'a (Mutex<Memory>, Condvar),
}

impl<'a> Connection<'a> {
    fn serve(stream: TcpStream, memory: &'a (Mutex<Memory>, Condvar)) {
        let mut connection = Self {
            stream: BufReader::new(stream),
            memory,
        };
        connection.change(|memory| memory.connections += 1);
        while connection.answer_one().is_some() {}
    }

    fn change(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.memory.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.memory.1.notify_all();
    }

    fn answer_one(&mut self) -> Option<()> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).ok()?;
            (read > 0).then_some(())?;
        }
        let head = head.trim_end().to_owned();
        let path = head.split(' ').nth(1)?.to_owned();
        self.change(|memory| {
            memory.busy += 1;
            memory.most_busy = memory.most_busy.max(memory.busy);
        });
        let body = self.body(&head.to_lowercase());
        let is_whole = body.is_ok();
        self.change(|memory| memory.seen.push(Seen { head, body }));
        let kept = is_whole.then(|| self.answer_to(&path)).flatten();
        // Before the last byte of a good answer leaves: whoever has read it may ask again at once.
        if let Some(answer) = &kept {
            self.change(|memory| memory.busy -= 1);
            return self.say(answer);
        }
        self.change(|memory| memory.busy -= 1);
        None
    }

    fn body(&mut self, head: &str) -> Result<usize, usize> {
        let length = |line: &str| line.strip_prefix("content-length: ")?.parse().ok();
        if let Some(length) = head.lines().find_map(length) {
            return self.take(length);
        }
        let mut all = 0;
        while head.contains("transfer-encoding: chunked") {
            let mut size = String::new();
            self.stream.read_line(&mut size).map_err(|_| all)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| all)?;
            all += self.take(size + 2).map_err(|taken| all + taken)? - 2;
            if size == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Reads so many bytes.
    fn take(&mut self, bytes: usize) -> Result<usize, usize> {
        let mut rest = self.stream.by_ref().take(bytes as u64);
        let taken = std::io::copy(&mut rest, &mut std::io::sink()).unwrap_or(0);
        let taken = usize::try_from(taken).unwrap_or(0);
        if taken < bytes { Err(taken) } else { Ok(taken) }
    }

    /// What is to be said to the end; none where the connection ends with what was said here.
    fn answer_to(&mut self, path: &str) -> Option<String> {
        let ok = "HTTP/1.1 200 OK\r\n";
        match path {
            "/silent" => self.wait_for_the_end(),
            "/slow" => {
                self.say(&format!("{ok}content-length: 10\r\n\r\n123"))?;
                self.wait_for_the_end()
            }
            "/drip" => {
                self.say(&format!("{ok}content-length: 1000000\r\n\r\n"))?;
                while self.say("x").is_some() && self.is_open_after(DRIP) {}
                None
            }
            "/endless" => {
                self.say(&format!("{ok}transfer-encoding: chunked\r\n\r\n"))?;
                let piece = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
                while self.say(&piece).is_some() {}
                None
            }
            "/large-head" => Some(format!(
                "{ok}x: {}\r\ncontent-length: 0\r\n\r\n",
                "v".repeat(20_000)
            )),
            "/header-bomb" => {
                self.say(ok)?;
                while self.say(&format!("x: {}\r\n", "v".repeat(1_000))).is_some() {}
                None
            }
            "/broken" => {
                self.say(&format!("{ok}content-length: 10\r\n\r\n123"))?;
                None
            }
            "/nonsense" => {
                self.say("220 smtp.example ESMTP\r\n")?;
                None
            }
            _ => Some(answer(path)),
        }
    }

    fn say(&mut self, text: &str) -> Option<()> {
        self.stream.get_mut().write_all(text.as_bytes()).ok()
    }

    fn wait_for_the_end(&mut self) -> Option<String> {
        while self.is_open_after(PATIENCE) {}
        None
    }

    /// Waits so long, or until the other side has closed.
    fn is_open_after(&mut self, time: Duration) -> bool {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(time)).expect("not zero");
        match stream.read(&mut [0]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// `/status/429/retry-after/7` is that status with that header; everything else is 200.
fn answer(path: &str) -> String {
    let mut parts = path.split('/').skip(1);
    let status = match parts.next() {
        Some("status") => parts.next().unwrap_or_default(),
        _ => "200",
    };
    let header = match (parts.next(), path.split_once("/at/")) {
        (_, Some((_, place))) => format!("location: http://{place}\r\n"),
        (Some(name), None) => format!("{name}: {}\r\n", parts.next().unwrap_or_default()),
        (None, None) => String::new(),
    };
    format!("HTTP/1.1 {status} So\r\n{header}content-length: 5\r\n\r\nhello")
}
