//! What a guest writes to: streams that are always ready, into the attempt's log or wherever else its bytes are to go.
//!
//! A stream that said "full" would make most guests trap in the middle of a line.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::log::{Log, Stream};

/// Bytes that a guest may write at once.
const PERMIT: usize = 64 << 10;

/// Where the bytes of a stream go.
pub(crate) trait Sink: Clone + Send + Sync + Unpin + 'static {
    /// Why bytes are not taken; it ends the guest.
    type Refusal: Error + Send + Sync + 'static;

    /// Takes them all, or none.
    fn take(&self, bytes: &[u8]) -> Result<(), Self::Refusal>;
}

/// One of the two streams into the attempt's log, which takes everything.
#[derive(Debug, Clone)]
pub(crate) struct LogSink {
    pub(crate) stream: Stream,
    pub(crate) log: Arc<Mutex<Log>>,
}

impl Sink for LogSink {
    type Refusal = Infallible;

    fn take(&self, bytes: &[u8]) -> Result<(), Infallible> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(self.stream, bytes);
        Ok(())
    }
}

/// A stream of the guest's into this sink.
#[derive(Debug, Clone)]
pub(crate) struct Output<S>(pub(crate) S);

impl<S: Sink> IsTerminal for Output<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for Output<S> {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl<S: Sink> Pollable for Output<S> {
    async fn ready(&mut self) {}
}

impl<S: Sink> OutputStream for Output<S> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let taken = self.0.take(&bytes);
        taken.map_err(|refusal| StreamError::Trap(wasmtime::Error::new(refusal)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl<S: Sink> AsyncWrite for Output<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.0.take(bytes).map(|()| bytes.len());
        Poll::Ready(taken.map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
