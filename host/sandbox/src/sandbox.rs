//! The sandbox of one process: its engines, and the thread that keeps their deadlines.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stem_core::clock::Clock;
use stem_core::ids::Digest;
use stem_core::secrets::{NoSecrets, Secrets};
use wasmtime::component::Component;

use crate::cache::CacheOptions;
use crate::compile::{Compiler, Workshop};
use crate::engine::{Allocation, Class, Machine, Settings};
use crate::fate::is_ours;
use crate::grants::http::{Resolver, SystemResolver};
use crate::module::Module;
use crate::native::child::Uncompiled;
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
    /// Who compiles modules.
    pub compiler: Compiler,
    /// Where compiled code is kept, if anywhere.
    pub cache: Option<CacheOptions>,
    /// Where the values of granted secrets come from.
    pub secrets: Arc<dyn Secrets>,
    /// Where the addresses of hosts come from that guests send requests to.
    pub resolver: Arc<dyn Resolver>,
}

impl Options {
    /// Pooled instances for so many slots; modules are compiled in this process, and no code is kept.
    pub fn new(slots: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            slots,
            allocation: Allocation::Pooling,
            clock,
            compiler: Compiler::Here,
            cache: None,
            secrets: Arc::new(NoSecrets),
            resolver: Arc::new(SystemResolver),
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
    workshop: Workshop,
    ticker: Ticker,
}

impl Sandbox {
    /// Reserves the slots and starts the deadline clock.
    pub fn new(options: Options) -> Result<Arc<Self>, StartError> {
        let unmetered = Machine::new(Class::Unmetered, options.slots, options.allocation)?;
        let ticker = Ticker::start(&unmetered.engine)
            .map_err(|error| StartError(format!("start its clock: {error}")))?;
        let workshop = Workshop::new(options.compiler.clone(), options.cache.as_ref());
        Ok(Arc::new(Self {
            options,
            unmetered: Arc::new(unmetered),
            fuel: Mutex::new(None),
            workshop,
            ticker,
        }))
    }

    /// Where instances come from.
    pub fn allocation(&self) -> Allocation {
        self.unmetered.allocation
    }

    /// How its engines are set up.
    pub fn settings(&self) -> Settings {
        Settings::of(self.allocation())
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    pub(crate) fn secrets(&self) -> &Arc<dyn Secrets> {
        &self.options.secrets
    }

    pub(crate) fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.options.resolver
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
    pub(crate) async fn compile(
        self: &Arc<Self>,
        module: Bytes,
        class: Class,
    ) -> Result<Component, Uncompiled> {
        let sandbox = Arc::clone(self);
        let compile = move || {
            let machine = sandbox.machine(class).map_err(Uncompiled::Fault)?;
            sandbox.workshop.make(&machine, &module)
        };
        let compiled = on_a_thread_of_its_own(compile).await;
        compiled.unwrap_or_else(|error| Err(Uncompiled::Fault(error)))
    }

    /// Links what `compile` gave for tasks without a fuel limit.
    pub(crate) fn link(&self, component: &Component) -> wasmtime::Result<Module> {
        Module::link(&self.unmetered, component)
    }

    /// Compiles and links a module that was deployed.
    pub(crate) async fn load(
        self: &Arc<Self>,
        module: Bytes,
        class: Class,
    ) -> Result<Module, Unloaded> {
        let component = self.compile(module, class).await?;
        self.prepare(component, class).await
    }

    /// Links a module whose compiled code is in the cache: its bytes are not asked for.
    pub(crate) async fn load_kept(
        self: &Arc<Self>,
        digest: Digest,
        class: Class,
    ) -> Option<Result<Module, Unloaded>> {
        let sandbox = Arc::clone(self);
        let find = move || {
            let machine = sandbox.machine(class).ok()?;
            sandbox.workshop.find(&machine, digest)
        };
        let component = on_a_thread_of_its_own(find).await.ok()??;
        Some(self.prepare(component, class).await)
    }

    async fn prepare(
        self: &Arc<Self>,
        component: Component,
        class: Class,
    ) -> Result<Module, Unloaded> {
        let sandbox = Arc::clone(self);
        let prepare = move || {
            let machine = sandbox.machine(class).map_err(Unloaded::Fault)?;
            let image = component.initialize_copy_on_write_image();
            image.map_err(Unloaded::Fault)?;
            Module::link(&machine, &component).map_err(Unloaded::of)
        };
        let prepared = on_a_thread_of_its_own(prepare).await;
        prepared.unwrap_or_else(|error| Err(Unloaded::Fault(error)))
    }
}

/// Why a module was not loaded.
#[derive(Debug)]
pub(crate) enum Unloaded {
    /// It can never be, on this version of the host.
    Refused(wasmtime::Error),
    /// It took too much of its compiler: this machine is too small or too busy for it.
    TooMuch(String),
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

impl From<Uncompiled> for Unloaded {
    fn from(uncompiled: Uncompiled) -> Self {
        match uncompiled {
            Uncompiled::Invalid(error) => Self::Refused(error),
            Uncompiled::Fault(error) => Self::Fault(error),
            Uncompiled::Limit(_) | Uncompiled::Crashed(_) => Self::TooMuch(uncompiled.to_string()),
        }
    }
}

async fn on_a_thread_of_its_own<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> wasmtime::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| wasmtime::format_err!("the compiler stopped: {error}"))
}
