//! The sandbox of one process: its engines, and the thread that keeps their deadlines.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stem_core::clock::Clock;
use wasmtime::component::Component;

use crate::engine::{Allocation, Class, Machine};
use crate::fate::is_ours;
use crate::module::Module;
use crate::ticker::Ticker;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Attempts that run at once.
    pub slots: u32,
    /// Where instances are to come from; a pool that cannot be had is replaced by none.
    pub allocation: Allocation,
    /// What time limits are read from.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// Pooled instances for so many slots.
    pub fn new(slots: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            slots,
            allocation: Allocation::Pooling,
            clock,
        }
    }
}

/// The sandbox cannot be set up on this machine.
#[derive(Debug, thiserror::Error)]
#[error("set up the sandbox: {0}")]
pub struct StartError(String);

impl From<wasmtime::Error> for StartError {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// Compiles modules and runs them.
pub struct Sandbox {
    options: Options,
    unmetered: Arc<Machine>,
    /// Made when the first deployment sets a fuel limit: most sandboxes never need it.
    fuel: Mutex<Option<Arc<Machine>>>,
    ticker: Ticker,
}

impl Sandbox {
    /// Reserves the slots and starts the deadline clock.
    pub fn new(options: Options) -> Result<Arc<Self>, StartError> {
        let unmetered = Machine::new(Class::Unmetered, options.slots, options.allocation)?;
        let ticker = Ticker::start(&unmetered.engine)
            .map_err(|error| StartError(format!("start its clock: {error}")))?;
        Ok(Arc::new(Self {
            options,
            unmetered: Arc::new(unmetered),
            fuel: Mutex::new(None),
            ticker,
        }))
    }

    /// Where instances come from.
    pub fn allocation(&self) -> Allocation {
        self.unmetered.allocation
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    fn machine(&self, class: Class) -> wasmtime::Result<Arc<Machine>> {
        match class {
            Class::Unmetered => Ok(Arc::clone(&self.unmetered)),
            Class::Fuel => self.fuel_machine(),
        }
    }

    fn fuel_machine(&self) -> wasmtime::Result<Arc<Machine>> {
        let mut fuel = self.fuel.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(machine) = &*fuel {
            return Ok(Arc::clone(machine));
        }
        let machine = Machine::new(Class::Fuel, self.options.slots, self.options.allocation)?;
        self.ticker.watch(&machine.engine);
        Ok(Arc::clone(fuel.insert(Arc::new(machine))))
    }

    /// Compiles a component, away from the threads that run guests or answer the network.
    pub(crate) async fn compile(self: &Arc<Self>, bytes: Bytes) -> wasmtime::Result<Component> {
        let engine = self.unmetered.engine.clone();
        on_a_thread_of_its_own(move || Component::from_binary(&engine, &bytes)).await
    }

    /// Links what `compile` gave.
    pub(crate) fn link(&self, component: &Component) -> wasmtime::Result<Module> {
        Module::link(&self.unmetered, component, Class::Unmetered)
    }

    /// Compiles and links a module that was deployed.
    pub(crate) async fn load(
        self: &Arc<Self>,
        bytes: Bytes,
        class: Class,
    ) -> Result<Module, Unloaded> {
        let sandbox = Arc::clone(self);
        on_a_thread_of_its_own(move || Ok(sandbox.load_here(&bytes, class)))
            .await
            .unwrap_or_else(|error| Err(Unloaded::Fault(error)))
    }

    fn load_here(&self, bytes: &Bytes, class: Class) -> Result<Module, Unloaded> {
        let machine = self.machine(class).map_err(Unloaded::Fault)?;
        let component = Component::from_binary(&machine.engine, bytes).map_err(Unloaded::of)?;
        let image = component.initialize_copy_on_write_image();
        image.map_err(Unloaded::Fault)?;
        Module::link(&machine, &component, class).map_err(Unloaded::of)
    }
}

/// Why a module was not loaded.
#[derive(Debug)]
pub(crate) enum Unloaded {
    /// It can never be, on this version of the host.
    Refused(wasmtime::Error),
    /// The host failed: another time it may be.
    Fault(wasmtime::Error),
}

impl Unloaded {
    fn of(error: wasmtime::Error) -> Self {
        match is_ours(&error) {
            true => Self::Fault(error),
            false => Self::Refused(error),
        }
    }
}

async fn on_a_thread_of_its_own<T: Send + 'static>(
    work: impl FnOnce() -> wasmtime::Result<T> + Send + 'static,
) -> wasmtime::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(wasmtime::format_err!("the compiler stopped: {error}")),
    }
}
