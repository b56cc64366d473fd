//! The deadline clock: one thread that moves the epoch of every engine on.
//!
//! It is a thread and no task, because guests that spin can keep a runtime from ever looking at its timers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// How often guests are looked at while none runs for long.
const CALM: Duration = Duration::from_millis(10);
/// How often they are looked at, and how long one runs before others do, while some run for long. As many guests as a
/// core has slots by default take turns in less than the 50 ms within which a limit that has passed ends them (S3).
const BUSY: Duration = Duration::from_millis(1);

/// Whether a guest was running when the epoch last moved on. One for all sandboxes of the process: it only sets a pace.
static IS_BUSY: AtomicBool = AtomicBool::new(false);

/// A guest has run into the next epoch.
pub(crate) fn note_busy() {
    IS_BUSY.store(true, Ordering::Relaxed);
}

/// The engines whose guests have deadlines.
pub(crate) struct Ticker {
    engines: Arc<Mutex<Vec<EngineWeak>>>,
}

impl Ticker {
    /// Starts with one engine; the thread ends when no engine is left.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let engines = Arc::new(Mutex::new(vec![engine.weak()]));
        let watched = Arc::clone(&engines);
        thread::Builder::new()
            .name("stem-epoch".to_owned())
            .spawn(move || while tick(&watched) {})?;
        Ok(Self { engines })
    }

    /// Moves the epoch of this engine too. The first engine must still be there.
    pub(crate) fn watch(&self, engine: &Engine) {
        self.engines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(engine.weak());
    }
}

/// One period; false when no engine is left.
fn tick(engines: &Mutex<Vec<EngineWeak>>) -> bool {
    let period = match IS_BUSY.swap(false, Ordering::Relaxed) {
        true => BUSY,
        false => CALM,
    };
    thread::park_timeout(period);
    let mut engines = engines.lock().unwrap_or_else(PoisonError::into_inner);
    engines.retain(|engine| {
        let engine = engine.upgrade();
        engine.inspect(Engine::increment_epoch).is_some()
    });
    !engines.is_empty()
}
