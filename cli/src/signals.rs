//! What SIGINT and SIGTERM mean: the first asks for an orderly end, the second ends at once (W5).

use anyhow::{Context as _, Result};
use stem_worker::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Both signals, caught from now on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Starts catching them.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
        })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Passes signals on to a worker, for ever.
    pub async fn pass_on(mut self, shutdown: watch::Sender<Shutdown>) {
        self.next().await;
        tracing::info!("stopping: what runs may finish; a second signal ends it at once");
        shutdown.send_replace(Shutdown::Graceful);
        self.next().await;
        tracing::warn!("stopping at once: what runs is given back");
        shutdown.send_replace(Shutdown::Now);
        // The sender must live on: a worker whose sender is gone would hear nothing more.
        shutdown.closed().await;
    }
}
