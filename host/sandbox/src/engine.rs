//! How wasmtime is set up: one constructor for every class of engine, and which allocator was to be had.
//!
//! Counting fuel changes the compiled code, so tasks with a fuel limit have an engine of their own.

use std::fmt;
use std::num::NonZeroUsize;

use stem_core::units::ByteSize;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::bindings::Sdk;
use crate::context::Guest;
use crate::grants;
use crate::poll;

/// What the guest's own frames may take of the native stack.
pub(crate) const GUEST_STACK: usize = 512 << 10;
/// Frames of a trap that are kept.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(20).expect("not zero");
/// A fiber's whole stack: what a guest's frames leave is for the host functions that it calls.
const FIBER_STACK: usize = 2 << 20;

/// Whether the code of an engine counts fuel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Time alone is limited.
    Unmetered,
    /// Fuel is counted too.
    Fuel,
}

impl Class {
    /// The class that a task with these limits runs on.
    pub(crate) fn of(limits: &stem_core::policy::Limits) -> Self {
        match limits.fuel {
            Some(_) => Self::Fuel,
            None => Self::Unmetered,
        }
    }

    /// Its name, for files and processes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unmetered => "unmetered",
            Self::Fuel => "fuel",
        }
    }

    /// The class of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Unmetered, Self::Fuel]
            .into_iter()
            .find(|class| class.as_str() == name)
    }
}

/// Where instances get their memories, tables and stacks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// From slots that are reserved once and cleared between attempts.
    Pooling,
    /// From the operating system, anew for every attempt.
    OnDemand,
}

impl Allocation {
    /// The word that benchmarks print.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pooling => "pooling",
            Self::OnDemand => "on-demand",
        }
    }
}

/// What of the engine's set-up people compare figures by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Where instances come from.
    pub allocation: Allocation,
    /// What of a memory a pool clears by writing zeros, and keeps.
    pub memory_kept: ByteSize,
    /// The same for a table.
    pub table_kept: ByteSize,
    /// Whether the kernel is asked which pages were written: never, since it overlooks some (`docs/security.md`).
    pub scans_pages: bool,
}

impl Settings {
    pub(crate) fn of(allocation: Allocation) -> Self {
        let kept = |bytes: usize| match allocation {
            Allocation::Pooling => ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX)),
            Allocation::OnDemand => ByteSize(0),
        };
        Self {
            allocation,
            memory_kept: kept(pool::MEMORY_KEPT),
            table_kept: kept(pool::TABLE_KEPT),
            scans_pages: false,
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allocation {
            Allocation::OnDemand => write!(formatter, "instances allocated on demand"),
            Allocation::Pooling => write!(
                formatter,
                "pooled instances, which keep {} of a memory and {} of a table; page scan off",
                self.memory_kept, self.table_kept
            ),
        }
    }
}

/// How large the pool's slots are: enough for components of many core modules, such as Python's.
mod pool {
    /// Attempts beyond the slots: modules that are described while all slots run.
    pub(super) const SPARE: u32 = 8;
    pub(super) const TABLE_ELEMENTS: usize = 100_000;
    pub(super) const INSTANCE_SIZE: usize = 10 << 20;
    /// A memory of up to this size is cleared without a system call: those interrupt the other cores, and cost more
    /// than writing zeros.
    pub(super) const MEMORY_KEPT: usize = 256 << 10;
    pub(super) const TABLE_KEPT: usize = 64 << 10;
}

/// What no component may have more of, whatever the allocator. The pool has as many for each attempt, so that no module
/// takes what its neighbours need.
pub(crate) mod most {
    pub(crate) const CORE_INSTANCES: u32 = 128;
    /// Each reserves 4 GiB of addresses in both engines, for each slot.
    pub(crate) const MEMORIES: u32 = 4;
    pub(crate) const TABLES: u32 = 32;
    /// Memories or tables that WebAssembly itself allows in one module.
    pub(super) const IN_A_MODULE: u32 = 100;
}

/// One class of compiled code, with everything that a module may import.
pub(crate) struct Machine {
    pub(crate) class: Class,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) allocation: Allocation,
}

impl Machine {
    /// An engine with pooled slots, or without a pool where none can be had or is wanted.
    pub(crate) fn new(class: Class, slots: u32, wished: Allocation) -> wasmtime::Result<Self> {
        let (engine, allocation) = match wished {
            Allocation::Pooling => pooled_or_not(class, slots)?,
            Allocation::OnDemand => (Engine::new(&config(class))?, Allocation::OnDemand),
        };
        let linker = linker(&engine)?;
        Ok(Self {
            class,
            engine,
            linker,
            allocation,
        })
    }
}

/// An engine that compiles for the machines of a class, and runs nothing.
pub(crate) fn compiler(class: Class) -> wasmtime::Result<Engine> {
    Engine::new(&config(class))
}

fn pooled_or_not(class: Class, slots: u32) -> wasmtime::Result<(Engine, Allocation)> {
    let mut pooled = config(class);
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(slab(slots)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok((engine, Allocation::Pooling)),
        Err(error) => {
            tracing::warn!(
                slots,
                error = format!("{error:#}"),
                "no address space for pooled instances: every attempt allocates its own, which is slower"
            );
            Ok((Engine::new(&config(class))?, Allocation::OnDemand))
        }
    }
}

fn config(class: Class) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(class == Class::Fuel)
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .shared_memory(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES));
    if cfg!(unix) {
        // Registering it takes longer with every module that is loaded, and only debuggers read it.
        config.native_unwind_info(false);
    }
    config
}

fn slab(slots: u32) -> PoolingAllocationConfig {
    let attempts = slots.saturating_add(pool::SPARE);
    let mut slab = PoolingAllocationConfig::new();
    slab.total_component_instances(attempts)
        .total_core_instances(attempts.saturating_mul(most::CORE_INSTANCES))
        .total_memories(attempts.saturating_mul(most::MEMORIES))
        .total_tables(attempts.saturating_mul(most::TABLES))
        .total_stacks(attempts)
        .max_core_instances_per_component(most::CORE_INSTANCES)
        // `deploy` counts these and tells better what to do about them; each attempt's meter counts them too.
        .max_memories_per_component(u32::MAX)
        .max_tables_per_component(u32::MAX)
        .max_memories_per_module(most::IN_A_MODULE)
        .max_tables_per_module(most::IN_A_MODULE)
        .max_core_instance_size(pool::INSTANCE_SIZE)
        .max_component_instance_size(pool::INSTANCE_SIZE)
        .table_elements(pool::TABLE_ELEMENTS)
        .max_unused_warm_slots(attempts)
        .linear_memory_keep_resident(pool::MEMORY_KEPT)
        .table_keep_resident(pool::TABLE_KEPT);
    slab
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    poll::add_to_linker(&mut linker)?;
    Sdk::add_to_linker::<_, wasmtime::component::HasSelf<_>>(&mut linker, Guest::called)?;
    grants::add_to_linker(&mut linker)?;
    Ok(linker)
}
