//! The bodies of a request and of its answer: piece by piece as the other side takes them, and bounded (S6).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{fault, headers, most};
use crate::usage::BytesOut;

// === request ===

/// Why a request's body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// The attempt has ended: what was sent of it must not look whole.
    #[error("the attempt has ended")]
    Abandoned,
    /// The guest gave it up, or sent another number of bytes than it said.
    #[error("the guest did not finish its body")]
    Unfinished,
    /// Too many bytes.
    #[error("the body has more than {} bytes", most::BODY)]
    TooLarge,
}

/// What a guest sends.
#[derive(Clone)]
pub(super) struct Upload {
    body: Arc<Mutex<WasiBody>>,
    taken: Arc<AtomicU64>,
    out: BytesOut,
    alive: Weak<()>,
}

impl Upload {
    /// Of an attempt that is alive as long as this is.
    pub(super) fn new(body: WasiBody, alive: Weak<()>, out: BytesOut) -> Self {
        Self {
            body: Arc::new(Mutex::new(body)),
            taken: Arc::default(),
            out,
            alive,
        }
    }

    /// Bytes that were taken from the guest so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes what the guest still writes, and sends it nowhere.
    pub(super) async fn discard(self) {
        let rest = || poll_fn(|context| Pin::new(&mut *self.body()).poll_frame(context));
        while let Some(Ok(_)) = rest().await {}
    }

    fn body(&self) -> MutexGuard<'_, WasiBody> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Broken> {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.out.add(bytes);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) > most::BODY {
            true => Err(Broken::TooLarge),
            false => Ok(frame),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut *self.body()).poll_frame(context));
        // The guest's half is dropped with the attempt, which alone would look like the end of the body.
        if self.alive.strong_count() == 0 {
            return Poll::Ready(Some(Err(Broken::Abandoned)));
        }
        let frame = frame.map(|frame| frame.map_err(|_| Broken::Unfinished));
        Poll::Ready(frame.map(|frame| frame.and_then(|frame| self.count(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

// === answer ===

/// What comes back. It is read as the guest takes it.
pub(super) struct Download {
    body: Incoming,
    received: u64,
    between_bytes: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    /// The request is under way until its answer's body is gone.
    _turn: OwnedSemaphorePermit,
}

impl Download {
    /// A body that nothing has come of yet.
    pub(super) fn new(body: Incoming, between_bytes: Duration, turn: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            received: 0,
            between_bytes,
            waiting: None,
            _turn: turn,
        }
    }

    fn check(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Error> {
        let frame = match frame.into_trailers() {
            Ok(trailers) => return Ok(Frame::trailers(headers::copied(&trailers)?)),
            Err(frame) => frame,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(bytes);
        match self.received > most::BODY {
            true => Err(Error::HttpResponseBodySize(Some(self.received))),
            false => Ok(frame),
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let limit = self.between_bytes;
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            ready!(waiting.as_mut().poll(context));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        self.waiting = None;
        let frame = frame.map(|frame| frame.map_err(|error| fault::in_body(&error)));
        Poll::Ready(frame.map(|frame| frame.and_then(|frame| self.check(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
