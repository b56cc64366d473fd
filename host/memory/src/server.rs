//! Where the namespaces of one process lie, and the handles on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stem_core::clock::{Clock, Timestamp};
use stem_core::names::Namespace;
use stem_core::stores::Stores;
use tokio::sync::watch;

use crate::state::State;

/// A server in this process: any number of namespaces on one clock, gone with its last handle.
#[derive(Debug)]
pub struct Server {
    clock: Arc<dyn Clock>,
    rooms: Mutex<BTreeMap<Namespace, Arc<Room>>>,
}

/// A handle on one namespace: broker, result store, module store and control in one.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) namespace: Namespace,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) room: Arc<Room>,
}

/// What one namespace holds, and the bells that ring when it changes.
#[derive(Debug, Default)]
pub(crate) struct Room {
    state: Mutex<State>,
    pub(crate) work: Bell,
    pub(crate) records: Bell,
    pub(crate) commands: Bell,
}

/// Rings for everybody who listens, also for those who were not waiting just then.
#[derive(Debug)]
pub(crate) struct Bell(watch::Sender<()>);

impl Server {
    /// An empty server on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            rooms: Mutex::default(),
        }
    }

    /// A handle on a namespace of this server: all handles on one namespace see the same.
    pub fn store(&self, namespace: Namespace) -> Arc<Store> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Arc::clone(rooms.entry(namespace.clone()).or_default());
        Arc::new(Store {
            namespace,
            clock: Arc::clone(&self.clock),
            room,
        })
    }
}

impl Store {
    /// A namespace on a server of its own.
    pub fn new(namespace: Namespace, clock: Arc<dyn Clock>) -> Arc<Self> {
        Server::new(clock).store(namespace)
    }

    /// All seams on this store.
    pub fn stores(self: &Arc<Self>) -> Stores {
        Stores::on_one(Arc::clone(self), Arc::clone(&self.clock))
    }

    /// The namespace's content, locked, and the time of this step: read under the lock, so that no step is earlier
    /// than one that it follows.
    pub(crate) fn locked(&self) -> (MutexGuard<'_, State>, Timestamp) {
        // No step leaves the content half-changed when it panics: each asks before it moves.
        let state = self
            .room
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        (state, now)
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    pub(crate) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
