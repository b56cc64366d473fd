//! A network between a client and a server on this machine that fails when a test says so: slow, cut, silent, or closed.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

const CHUNK: usize = 16 * 1024;

/// Carries connections from a port of its own to a server's, and ends them when it is dropped.
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
    _carrying: JoinSet<()>,
}

/// A direction in which bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
}

impl Proxy {
    /// Begins to listen for a server on this port of the loopback address.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let network = Arc::new(Network::new(server));
        let mut carrying = JoinSet::new();
        let carried = Arc::clone(&network);
        carrying.spawn(async move { carried.accept(&listener).await });
        Self {
            port,
            network,
            _carrying: carrying,
        }
    }

    /// Where it listens, on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections clients have begun.
    pub fn connections(&self) -> u64 {
        self.network.accepted.load(Ordering::SeqCst)
    }

    /// From now on bytes take so long in each direction.
    pub fn set_latency(&self, each_way: Duration) {
        *locked(&self.network.latency) = each_way;
    }

    /// From now on a new connection is ended at once, or carried again.
    pub fn set_refusing(&self, is_refusing: bool) {
        self.network
            .state
            .send_modify(|state| state.is_refusing = is_refusing);
    }

    /// Holds all bytes back until it is resumed.
    pub fn pause(&self) {
        self.network
            .state
            .send_modify(|state| state.is_paused = true);
    }

    /// Lets go what was held back, and what comes.
    pub fn resume(&self) {
        self.network
            .state
            .send_modify(|state| state.is_paused = false);
    }

    /// Ends every connection that there is.
    pub fn cut(&self) {
        for wire in self.network.wires() {
            wire.cut.notify_one();
        }
    }

    /// Ends each connection that there is when it has carried so many more bytes this way: where that is in the middle of
    /// something, half of it arrives.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        for wire in self.network.wires() {
            wire.left(way).store(bytes, Ordering::SeqCst);
        }
    }

    /// From now on nothing arrives through the connections that there are, and nobody is told; new ones are carried.
    pub fn lose(&self) {
        for wire in self.network.wires() {
            wire.is_lost.store(true, Ordering::SeqCst);
        }
    }
}

/// What holds for every connection.
struct Network {
    server: u16,
    accepted: AtomicU64,
    latency: Mutex<Duration>,
    state: watch::Sender<State>,
    wires: Mutex<Vec<Weak<Wire>>>,
}

#[derive(Default)]
struct State {
    is_paused: bool,
    is_refusing: bool,
}

impl Network {
    fn new(server: u16) -> Self {
        Self {
            server,
            accepted: AtomicU64::new(0),
            latency: Mutex::default(),
            state: watch::Sender::default(),
            wires: Mutex::default(),
        }
    }

    fn wires(&self) -> Vec<Arc<Wire>> {
        locked(&self.wires)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn wire(&self) -> Arc<Wire> {
        let wire = Arc::new(Wire::new());
        let mut wires = locked(&self.wires);
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(&wire));
        wire
    }

    async fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut carried = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            self.accepted.fetch_add(1, Ordering::SeqCst);
            if !self.state.borrow().is_refusing {
                let network = Arc::clone(&self);
                carried.spawn(async move { network.connect(client).await });
            }
            while carried.try_join_next().is_some() {}
        }
    }

    /// Carries one connection until one side ends it, or a test does.
    async fn connect(&self, client: TcpStream) {
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server)).await else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("the connection is ours");
        }
        let wire = self.wire();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = self.carry((&wire, Way::ToServer), from_client, to_server) => {}
            () = self.carry((&wire, Way::ToClient), from_server, to_client) => {}
            () = wire.cut.notified() => {}
        }
    }

    /// Returns when the connection has to end.
    async fn carry(
        &self,
        (wire, way): (&Wire, Way),
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
    ) {
        let (sender, mut sent) = mpsc::unbounded_channel();
        let reading = async move {
            let mut chunk = vec![0; CHUNK];
            while let Ok(length @ 1..) = from.read(&mut chunk).await {
                // It counts from when they came: what follows is under way meanwhile.
                let journey = tokio::time::sleep(*locked(&self.latency));
                let _ = sender.send((journey, chunk[..length].to_vec()));
            }
        };
        let writing = async {
            while let Some((journey, bytes)) = sent.recv().await {
                journey.await;
                if !self.pass_on((wire, way), &bytes, &mut to).await {
                    return;
                }
            }
            // A client whose connection is lost does not hear of the server's end.
            if wire.is_lost.load(Ordering::SeqCst) && way == Way::ToClient {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(writing);
        tokio::select! {
            () = reading => writing.await,
            () = &mut writing => {}
        }
    }

    /// Whether the connection goes on.
    async fn pass_on(
        &self,
        (wire, way): (&Wire, Way),
        bytes: &[u8],
        to: &mut OwnedWriteHalf,
    ) -> bool {
        let mut state = self.state.subscribe();
        let resumed = state.wait_for(|state| !state.is_paused).await;
        drop(resumed.expect("the network holds the sender"));
        if wire.is_lost.load(Ordering::SeqCst) {
            return true;
        }
        let passing = wire.take(way, bytes.len());
        to.write_all(&bytes[..passing]).await.is_ok() && passing == bytes.len()
    }
}

/// One connection.
struct Wire {
    /// How many bytes may still pass.
    to_server: AtomicU64,
    to_client: AtomicU64,
    is_lost: AtomicBool,
    cut: Notify,
}

impl Wire {
    fn new() -> Self {
        Self {
            to_server: AtomicU64::new(u64::MAX),
            to_client: AtomicU64::new(u64::MAX),
            is_lost: AtomicBool::new(false),
            cut: Notify::new(),
        }
    }

    fn left(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }

    /// How many of these bytes pass.
    fn take(&self, way: Way, wanted: usize) -> usize {
        let less = |left: u64| Some(left.saturating_sub(wanted as u64));
        let left = self
            .left(way)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        let left = left.unwrap_or_else(|left| left);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
