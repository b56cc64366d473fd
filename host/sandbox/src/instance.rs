//! One instance: a fresh store with every limit armed, one call, and what is left of it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use stem_core::policy::Limits;
use stem_core::record::LogLine;
use stem_core::usage::Usage;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Store, UpdateDeadline};

use crate::context::Guest;
use crate::limits::held;
use crate::module::Module;
use crate::ticker::note_busy;
use crate::timing::Stopwatch;
use crate::watch::{Ended, Watch};

/// Epochs until a guest is looked at again. Never 0: that takes a slow path at every call.
const NEXT_EPOCH: u64 = 1;

/// A fresh sandbox, used once.
pub(crate) struct Instance {
    store: Store<Guest>,
    watch: Arc<Watch>,
    fuel: Option<u64>,
}

/// What an instance leaves behind.
pub(crate) struct Remains {
    pub(crate) usage: Usage,
    pub(crate) log: Vec<LogLine>,
    pub(crate) log_dropped: u64,
    /// The last line of standard error that is not empty.
    pub(crate) last_error_line: Option<String>,
}

impl Instance {
    /// A store for this guest. Every limit is armed before anything of the guest runs: instantiating runs its start
    /// functions.
    pub(crate) fn new(module: &Module, guest: Guest, limits: &Limits) -> wasmtime::Result<Self> {
        let watch = Arc::clone(&guest.watch);
        let store = armed(module, guest, limits)?;
        Ok(Self {
            store,
            watch,
            fuel: limits.fuel,
        })
    }

    /// Instantiates the module and calls this function of it; every way to end is a typed error.
    pub(crate) async fn call<P, R>(
        &mut self,
        module: &Module,
        function: &ComponentExportIndex,
        parameters: P,
        stopwatch: &impl Stopwatch,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let store = &mut self.store;
        let call = pin!(async move {
            let instance = module.instances.instantiate_async(&mut *store).await?;
            let function = instance.get_typed_func::<P, R>(&mut *store, function)?;
            stopwatch.instantiated();
            function.call_async(&mut *store, parameters).await
        });
        bounded(call, &self.watch).await
    }

    /// Instantiates the module and calls nothing.
    pub(crate) async fn start(&mut self, module: &Module) -> wasmtime::Result<()> {
        let store = &mut self.store;
        let start = pin!(async move {
            let started = module.instances.instantiate_async(&mut *store).await;
            started.map(drop)
        });
        bounded(start, &self.watch).await
    }

    /// Gives the slot back and says what was used.
    pub(crate) fn finish(self) -> Remains {
        let fuel = self.fuel.map(|allowed| {
            let left = self.store.get_fuel().unwrap_or_default();
            allowed.saturating_sub(left)
        });
        let guest = self.store.data();
        let peak_memory_bytes = guest.memory.peak();
        let (host_calls, bytes_out) = (guest.usage.calls(), guest.usage.sent());
        let (log, log_dropped, last_error_line) = {
            let mut log = guest.log.lock().unwrap_or_else(PoisonError::into_inner);
            let (lines, dropped) = log.finish();
            (lines, dropped, log.last_error_line())
        };
        drop(self.store);
        self.watch.cpu().pause();
        let usage = Usage {
            cpu: self.watch.cpu_spent(),
            wall: self.watch.elapsed(),
            peak_memory_bytes,
            fuel,
            host_calls,
            bytes_out,
        };
        Remains {
            usage,
            log,
            log_dropped,
            last_error_line,
        }
    }
}

fn armed(module: &Module, guest: Guest, limits: &Limits) -> wasmtime::Result<Store<Guest>> {
    let mut store = Store::try_new(module.instances.engine(), guest)?;
    store.limiter(|guest| &mut guest.memory);
    store.set_epoch_deadline(NEXT_EPOCH);
    store.epoch_deadline_callback(|store| {
        note_busy();
        match store.data().watch.verdict() {
            Some(ended) => Err(wasmtime::Error::new(ended)),
            None => Ok(UpdateDeadline::YieldCustom(
                NEXT_EPOCH,
                Box::pin(store.data().give_way()),
            )),
        }
    });
    store.set_hostcall_fuel(held::CALL_BYTES.saturating_add(limits.output.as_usize()));
    store.set_max_component_handles(held::HANDLES);
    if let Some(fuel) = limits.fuel {
        store.set_fuel(fuel)?;
    }
    Ok(store)
}

/// Drives a call to its end or to its time limit. Guests that spin are ended by their epoch; this ends those that wait
/// inside the host. Most calls return when they are first polled, and need no timer.
pub(crate) async fn bounded<T>(
    mut call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    watch: &Watch,
) -> wasmtime::Result<T> {
    let mut over: Option<Pin<Box<dyn Future<Output = Ended> + Send + '_>>> = None;
    poll_fn(|context| {
        watch.cpu().resume();
        // What has ended while it waited for a core is not run again.
        if let Some(ended) = over.as_ref().and_then(|_| watch.verdict()) {
            return Poll::Ready(Err(wasmtime::Error::new(ended)));
        }
        if let Poll::Ready(returned) = call.as_mut().poll(context) {
            return Poll::Ready(returned);
        }
        watch.cpu().pause();
        let over = over.get_or_insert_with(|| Box::pin(watch.over()));
        let ended = over.as_mut().poll(context);
        ended.map(|ended| Err(wasmtime::Error::new(ended)))
    })
    .await
}
