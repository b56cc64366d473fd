//! One request and its answer: refused, or sent when its turn comes, and watched until the answer begins (S6).

use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use stem_core::grants::Capability;
use stem_core::record::LogLevel;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::address::Reach;
use super::body::{Download, Upload};
use super::connector::charge;
use super::headers::Added;
use super::network::Client;
use super::resolver::Prohibited;
use super::target::Target;
use super::{fault, headers, most};
use crate::grants::Granted;
use crate::grants::values::Values;
use crate::log::Log;
use crate::usage::BytesOut;
use crate::watch::Watch;

/// What a guest gets for its request, and what works on it meanwhile: nothing here.
pub(super) type Answered = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

/// How long a request waits for what. The attempt's own limit ends everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// For its turn, and then for a connection, which never takes longer than is usual.
    pub(super) connect: Duration,
    /// For the answer to begin, from the last piece of the request's body on.
    first_byte: Duration,
    /// For the next piece of the answer's body.
    between_bytes: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            between_bytes: Duration::from_secs(30),
        }
    }
}

impl Waits {
    /// As the guest wants it, where it says so.
    pub(super) fn new(options: RequestOptions) -> Self {
        let usual = Self::default();
        Self {
            connect: options.connect_timeout.unwrap_or(usual.connect),
            first_byte: options.first_byte_timeout.unwrap_or(usual.first_byte),
            between_bytes: options.between_bytes_timeout.unwrap_or(usual.between_bytes),
        }
    }
}

/// What gives a request its turn.
pub(super) type Turn =
    Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// What an attempt has under way.
pub(super) struct Traffic {
    pub(super) watch: Arc<Watch>,
    log: Arc<Mutex<Log>>,
    out: BytesOut,
    added: Option<Arc<Added>>,
    requests: AtomicU64,
    turns: Arc<Semaphore>,
    /// Bodies that nobody wants any more, until the guest has finished them.
    unwanted: Mutex<JoinSet<()>>,
}

impl Traffic {
    /// Nothing yet.
    pub(super) fn new(
        watch: &Arc<Watch>,
        log: &Arc<Mutex<Log>>,
        out: &BytesOut,
        values: &Values,
    ) -> Self {
        Self {
            watch: Arc::clone(watch),
            log: Arc::clone(log),
            out: out.clone(),
            added: values.added.clone(),
            requests: AtomicU64::new(0),
            turns: Arc::new(Semaphore::new(most::AT_ONCE)),
            unwanted: Mutex::default(),
        }
    }

    /// A place in the queue from now on: whoever asks first is first, whichever thread gets to work on it first. A
    /// guest that reads its answers in the order of its requests waits for none that cannot come.
    pub(super) fn queue(&self) -> Turn {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let mut turn = Box::pin(tokio::task::unconstrained(turn));
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Box::pin(ready(turn)),
            Poll::Pending => turn,
        }
    }

    fn warn(&self, message: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.emit(LogLevel::Warn, message, &[]);
    }

    /// Takes what the guest still writes: closed to it, its body would fail before it learns why the request did.
    fn discard(&self, body: Upload) {
        let mut unwanted = self.unwanted.lock().unwrap_or_else(PoisonError::into_inner);
        while unwanted.try_join_next().is_some() {}
        unwanted.spawn(body.discard());
    }
}

/// One request of an attempt.
pub(super) struct Exchange {
    pub(super) granted: Arc<Granted>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) alive: Weak<()>,
    pub(super) waits: Waits,
    pub(super) turn: Turn,
}

impl Exchange {
    /// Gets the answer; its body is still to come.
    pub(super) async fn send(mut self, request: Request<WasiBody>) -> Answered {
        let upload = |body| Upload::new(body, self.alive.clone(), self.traffic.out.clone());
        let request = request.map(upload);
        let upload = request.body().clone();
        match self.answer(request).await {
            Ok(answer) => Ok((answer, Box::new(ready(Ok(()))))),
            Err(error) => {
                self.traffic.discard(upload);
                Err(error)
            }
        }
    }

    async fn answer(&mut self, mut request: Request<Upload>) -> Result<Response<WasiBody>, Error> {
        let target = Target::of(request.uri())?;
        let may_be_private = self.admit(&target, request.method())?;
        headers::complete(
            request.headers_mut(),
            &target,
            self.traffic.added.as_deref(),
        );
        *request.uri_mut() = target.uri(request.uri().path_and_query())?;
        let turn = timeout(self.waits.connect, self.turn.as_mut()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(self.crowded(&target, "the attempt", most::AT_ONCE));
        };
        let unanswered = Arc::clone(&self.granted.network.unanswered).acquire_owned();
        let Ok(Ok(unanswered)) = timeout(self.waits.connect, unanswered).await else {
            return Err(self.crowded(&target, "all of its task's attempts", most::UNANSWERED));
        };
        let client = self.granted.network.client(may_be_private);
        self.traffic.out.add(headers::size(request.headers()));
        let answer = begin(client, request, self.waits, &self.traffic.watch).await;
        let answer = answer.map_err(|stopped| self.explain(&target, &stopped))?;
        drop(unanswered);
        let (mut head, body) = answer.into_parts();
        head.headers = headers::copied(&head.headers)?;
        let body = Download::new(body, self.waits.between_bytes, turn).boxed_unsync();
        Ok(Response::from_parts(head, body))
    }

    /// Refuses what was not granted; gives whether the name may lead to a private address.
    fn admit(&self, target: &Target, method: &Method) -> Result<bool, Error> {
        if self.traffic.requests.fetch_add(1, Ordering::Relaxed) >= most::REQUESTS {
            let reason = format!("an attempt sends at most {} requests", most::REQUESTS);
            return Err(self.refuse(target, &reason));
        }
        // These make a proxy, or an echo of the operator's headers, of whoever answers them.
        if [Method::CONNECT, Method::TRACE].contains(method) || method.as_str() == "TRACK" {
            self.refuse(target, &format!("no task sends {method}"));
            return Err(Error::HttpRequestMethodInvalid);
        }
        target.granted(&self.granted.grants).ok_or_else(|| {
            let remedy = Capability::Http
                .remedy()
                .replace("https://HOST", &target.to_string());
            let remedy = remedy.replace("HOST", &target.to_string());
            self.refuse(
                target,
                &format!("it is not granted: allow it with {remedy} under [grants] in stem.toml"),
            )
        })
    }

    fn refuse(&self, target: &Target, reason: &str) -> Error {
        self.traffic
            .warn(&format!("a request to {target} was refused: {reason}"));
        Error::HttpRequestDenied
    }

    fn crowded(&self, target: &Target, whose: &str, most: usize) -> Error {
        let reason = format!(
            "{most} requests of {whose} are under way, and none ended in time; one ends when its answer's body was read or dropped"
        );
        self.refuse(target, &reason);
        Error::ConnectionLimitReached
    }

    fn explain(&self, target: &Target, stopped: &Stopped) -> Error {
        let error = match stopped {
            Stopped::Unconnected => return self.unconnected(target),
            Stopped::Silent => return Error::ConnectionReadTimeout,
            Stopped::Failed(error) => error,
        };
        if let Some(Prohibited { address, reach }) = fault::prohibited(error) {
            let remedy = remedy(target, reach);
            self.refuse(target, &format!("its name leads to {address}, {remedy}"));
        }
        let error = fault::of(error);
        match matches!(error, Error::ConnectionTimeout) {
            true => self.unconnected(target),
            false => error,
        }
    }

    fn unconnected(&self, target: &Target) -> Error {
        if !self.granted.network.is_full() {
            return Error::ConnectionTimeout;
        }
        let reason = "its task, or this worker, has as many connections as it may have";
        self.refuse(target, reason);
        Error::ConnectionLimitReached
    }
}

fn remedy(target: &Target, reach: Reach) -> String {
    match reach {
        Reach::Public | Reach::Private => format!(
            "a private address: allow it with `--allow-http-private {target}`, or `http-private = [\"{target}\"]` under [grants] in stem.toml"
        ),
        Reach::Never => {
            "which no name may lead to: only a grant of that address itself would allow it"
                .to_owned()
        }
    }
}

/// Why no answer began.
#[derive(Debug)]
pub(super) enum Stopped {
    /// No connection came about in time.
    Unconnected,
    /// Nothing came over it in time.
    Silent,
    Failed(legacy::Error),
}

/// Sends a request, and waits until its answer begins.
pub(super) async fn begin(
    client: &Client,
    mut request: Request<Upload>,
    waits: Waits,
    watch: &Arc<Watch>,
) -> Result<Response<Incoming>, Stopped> {
    let upload = request.body().clone();
    let mut connection = capture_connection(&mut request);
    let mut answer = client.request(request);
    let mut connected = pin!(connection.wait_for_connection_metadata());
    let connecting = poll_fn(|context| {
        if let Poll::Ready(answer) = Pin::new(&mut answer).poll(context) {
            return Poll::Ready(Some(answer));
        }
        let connected = connected.as_mut().poll(context);
        connected.map(|connected| {
            connected
                .iter()
                .for_each(|connected| charge(connected, watch));
            None
        })
    });
    match timeout(waits.connect, connecting).await {
        Err(_) => return Err(Stopped::Unconnected),
        Ok(Some(answer)) => return answer.map_err(Stopped::Failed),
        Ok(None) => {}
    }
    // Whoever sends much waits long for an answer: silence counts from the last piece that was taken.
    loop {
        let taken = upload.taken();
        if let Ok(answer) = timeout(waits.first_byte, &mut answer).await {
            return answer.map_err(Stopped::Failed);
        }
        if upload.taken() == taken {
            return Err(Stopped::Silent);
        }
    }
}
