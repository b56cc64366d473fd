//! Connections as they are made: name, connection and handshake within one time, and each with a place that it has until
//! it is closed (S3, S6).
//!
//! A client makes connections that no request waits for any more, and keeps others that nobody uses: only who counts
//! them here knows how many there are.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower_service::Service;

use super::resolver::Checked;
use crate::watch::Watch;

type Cause = Box<dyn Error + Send + Sync>;

// === places ===

/// How many connections there may be: from the beginning of their making until they are closed.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Of this worker, whatever they are for.
    worker: Arc<Semaphore>,
    /// Of these, the ones that are kept when their request has ended.
    kept: Arc<Semaphore>,
    /// Of one deployment's task: what it has, others on the worker can still do without.
    task: Arc<Semaphore>,
}

/// What a connection has until it is closed.
struct Place {
    _task: OwnedSemaphorePermit,
    _worker: OwnedSemaphorePermit,
    kept: Option<OwnedSemaphorePermit>,
}

/// Connections of this process: half as many as it may open files, so that it always has files for the rest.
fn most_of_worker() -> usize {
    const MOST: u64 = 4_096;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((files / 2).clamp(4, MOST)).unwrap_or(4)
}

impl Places {
    /// For a task of this worker.
    pub(super) fn of_task() -> Self {
        static WORKER: LazyLock<Places> = LazyLock::new(|| Places::new(most_of_worker()));
        let task = most_of_worker() / 2;
        Self {
            task: Arc::new(Semaphore::new(task)),
            ..WORKER.clone()
        }
    }

    /// So many, of which one task may have half, and a quarter is kept: there are always some for new connections.
    fn new(most: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            worker: semaphore(most),
            kept: semaphore(most / 4),
            task: semaphore(most / 2),
        }
    }

    /// Whether a new connection has to wait.
    pub(super) fn are_taken(&self) -> bool {
        self.task.available_permits() == 0 || self.worker.available_permits() == 0
    }

    async fn take(self) -> Result<Place, AcquireError> {
        Ok(Place {
            _task: self.task.acquire_owned().await?,
            _worker: self.worker.acquire_owned().await?,
            kept: self.kept.try_acquire_owned().ok(),
        })
    }
}

// === connections ===

/// Makes connections: whichever request asked for one, and whether it still waits.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    connector: HttpsConnector<HttpConnector<Checked>>,
    places: Places,
    patience: Duration,
}

impl Connector {
    /// To names that this resolver knows; each within this time, its wait for a place included.
    pub(super) fn new(
        names: Checked,
        tls: ClientConfig,
        places: Places,
        patience: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Of several addresses none takes the time of all.
        tcp.set_connect_timeout(Some(patience));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        Self {
            connector: https.enable_http1().wrap_connector(tcp),
            places,
            patience,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Line;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Line, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (place, stream) = (self.places.clone().take(), self.connector.call(uri));
        let connect = async {
            let place = place.await?;
            let stream = stream.await?;
            let payer = Payer::default();
            Ok(Line {
                stream,
                place,
                payer,
            })
        };
        let connected = timeout(self.patience, connect);
        Box::pin(async {
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            connected.await.unwrap_or_else(late)
        })
    }
}

/// The attempt that a connection works for now.
#[derive(Debug, Clone, Default)]
struct Payer(Arc<Mutex<Weak<Watch>>>);

/// From now on, what this connection costs of a processor counts for this attempt: it serves one request at a time.
pub(super) fn charge(connected: &Connected, watch: &Arc<Watch>) {
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    if let Some(Payer(payer)) = extras.get() {
        *payer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(watch);
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection in its place.
pub(super) struct Line {
    stream: Stream,
    place: Place,
    payer: Payer,
}

impl Line {
    /// Reads or writes, at the cost of whoever pays.
    fn work<T>(&mut self, work: impl FnOnce(Pin<&mut Stream>) -> T) -> T {
        let payer = self.payer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let payer = Weak::upgrade(&payer);
        let stream = Pin::new(&mut self.stream);
        match payer {
            Some(watch) => watch.aside(|| work(stream)),
            None => work(stream),
        }
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let connected = self.stream.connected();
        // The client keeps no poisoned connection: it is closed when its request has ended.
        if self.place.kept.is_none() {
            connected.poison();
        }
        connected.extra(self.payer.clone())
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.work(|stream| stream.poll_read(context, buffer))
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.work(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.work(|stream| stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.work(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.work(|stream| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
#[path = "connector_tests.rs"]
mod tests;
