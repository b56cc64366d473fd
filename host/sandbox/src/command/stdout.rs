//! Standard output of a program: kept as the result, up to its limit; more ends the program.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that a program may write at once.
const PERMIT: usize = 64 << 10;

/// The program wrote more than its result may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program wrote {used} bytes to standard output")]
pub(crate) struct OverOutput {
    /// How much it had written then.
    pub(crate) used: u64,
}

/// The stream, writing to what the console keeps.
#[derive(Debug, Clone)]
pub(super) struct Stdout {
    pub(super) written: Arc<Mutex<Vec<u8>>>,
    pub(super) room: usize,
}

impl Stdout {
    fn take(&self, bytes: &[u8]) -> Result<(), OverOutput> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let used = written.len().saturating_add(bytes.len());
        if used > self.room {
            let used = u64::try_from(used).unwrap_or(u64::MAX);
            return Err(OverOutput { used });
        }
        written.extend_from_slice(bytes);
        Ok(())
    }
}

impl IsTerminal for Stdout {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Stdout {
    async fn ready(&mut self) {}
}

impl OutputStream for Stdout {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let taken = self.take(&bytes);
        taken.map_err(|over| StreamError::Trap(wasmtime::Error::new(over)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Stdout {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = self.take(bytes).map(|()| bytes.len());
        Poll::Ready(taken.map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
