//! Waiting for work or for records: a bell, the clock, and a pulse for whatever neither of them tells.

use std::time::Duration;

use async_trait::async_trait;
use stem_core::broker::Wakeups;
use stem_core::clock::Timestamp;
use stem_core::store_error::StoreError;
use tokio::sync::watch;

use crate::server::Store;

/// How long a wait lasts at the most.
pub(crate) const PULSE: Duration = Duration::from_secs(1);

/// Waits for work.
pub(crate) struct Work {
    store: Store,
    bell: watch::Receiver<()>,
    /// What fell due by then is known: it must not ring again and again while nobody can take it.
    seen: Timestamp,
}

/// Waits for records to change.
pub(crate) struct Changes {
    bell: watch::Receiver<()>,
}

impl Work {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            bell: store.room.work.listen(),
            seen: store.clock.now(),
            store,
        }
    }

    async fn alarm(&self) {
        let next = self.store.locked().0.shelves.next_event(self.seen);
        match next {
            Some(at) => self.store.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

impl Changes {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            bell: store.room.records.listen(),
        }
    }
}

#[async_trait]
impl Wakeups for Work {
    async fn next(&mut self) -> Result<(), StoreError> {
        let mut bell = self.bell.clone();
        tokio::select! {
            _ = bell.changed() => {}
            () = self.alarm() => {}
            () = tokio::time::sleep(PULSE) => {}
        }
        self.bell = bell;
        self.seen = self.store.clock.now();
        Ok(())
    }
}

#[async_trait]
impl Wakeups for Changes {
    async fn next(&mut self) -> Result<(), StoreError> {
        // The room holds the sender: only a ring or the pulse ends this.
        let _ = tokio::time::timeout(PULSE, self.bell.changed()).await;
        Ok(())
    }
}
