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

/// Bytes that a guest may write at once: what it writes is looked at while nothing else can end it.
const PERMIT: usize = 64 << 10;

/// The guest wrote more than it was told that it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest wrote {0} bytes at once, and `check-write` permits {PERMIT}")]
struct OverPermit(usize);

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
        if bytes.len() > PERMIT {
            let over = OverPermit(bytes.len());
            return Err(StreamError::Trap(wasmtime::Error::new(over)));
        }
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
        let permitted = &bytes[..bytes.len().min(PERMIT)];
        let taken = self.0.take(permitted).map(|()| permitted.len());
        Poll::Ready(taken.map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::ids::EnvelopeId;
    use stem_core::names::TaskName;
    use stem_core::units::ByteSize;

    /// S3: one call takes no longer than it may.
    #[test]
    fn more_than_is_permitted_at_once_ends_the_guest() {
        let task = TaskName::new("t").expect("a good name");
        let log = Log::new(EnvelopeId::new(), task, ByteSize::mib(1));
        let log = Arc::new(Mutex::new(log));
        let stream = Stream::Stdout;
        let mut output = Output(LogSink { stream, log });
        let lines = |bytes| Bytes::from(vec![b'\n'; bytes]);
        assert!(output.write(lines(PERMIT)).is_ok());
        let over = output.write(lines(PERMIT + 1)).expect_err("refused");
        assert!(over.to_string().contains("65537 bytes at once"), "{over}");
    }
}
