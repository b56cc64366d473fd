//! From a module to code that can be linked: from the cache, or compiled now, once among all processes (S5).

use std::path::PathBuf;
use std::time::Duration;

use stem_core::ids::Digest;
use wasmtime::component::Component;

use crate::cache::{Cache, CacheOptions, Name};
use crate::engine::Machine;
use crate::fate::is_ours;
use crate::native::NativeCode;
use crate::native::child::{CompileLimits, Order, Uncompiled};

/// Beyond the time that compiling may take, for whoever waits for another process to do it.
const MARGIN: Duration = Duration::from_secs(10);

/// Who compiles modules.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process, with no limit: for programs that trust their modules, or have no process to spare.
    Here,
    /// A process of its own for every module.
    Child {
        /// The program to start: it calls [`compile_module`](crate::compile_module) before it does anything else.
        program: PathBuf,
        /// What each may take.
        limits: CompileLimits,
    },
}

impl Compiler {
    /// A program that compiles within the usual limits.
    pub fn child(program: impl Into<PathBuf>) -> Self {
        Self::Child {
            program: program.into(),
            limits: CompileLimits::default(),
        }
    }

    fn compile(&self, machine: &Machine, module: &[u8]) -> Result<NativeCode, Uncompiled> {
        let (class, engine) = (machine.class, &machine.engine);
        match self {
            Self::Here => NativeCode::compile(engine, module).map_err(blame),
            Self::Child { program, limits } => {
                let limits = *limits;
                let order = Order {
                    program,
                    limits,
                    class,
                    engine,
                };
                order.compile(module)
            }
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::Here => CompileLimits::default().wall + MARGIN,
            Self::Child { limits, .. } => limits.wall + MARGIN,
        }
    }
}

/// Compiles, and keeps what it compiled.
pub(crate) struct Workshop {
    compiler: Compiler,
    cache: Option<Cache>,
}

impl Workshop {
    /// With a cache, if there is to be one and its folder can be trusted.
    pub(crate) fn new(compiler: Compiler, cache: Option<&CacheOptions>) -> Self {
        let cache = cache.and_then(|options| match Cache::open(options) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "compiled code is not kept: every start compiles anew");
                None
            }
        });
        Self { compiler, cache }
    }

    /// The module's code from the cache.
    pub(crate) fn find(&self, machine: &Machine, digest: Digest) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let name = Name::new(&machine.engine, machine.class, digest);
        find_in(cache, machine, &name)
    }

    /// The module's code, from the cache or compiled now.
    pub(crate) fn make(&self, machine: &Machine, module: &[u8]) -> Result<Component, Uncompiled> {
        let Some(cache) = &self.cache else {
            return Ok(self.compile(machine, module)?.0);
        };
        let name = Name::new(&machine.engine, machine.class, Digest::of(module));
        let find = || find_in(cache, machine, &name);
        if let Some(found) = find() {
            return Ok(found);
        }
        let _turn = cache.turn(&name, self.compiler.patience());
        // Whoever had the turn before may have compiled just this.
        if let Some(found) = find() {
            return Ok(found);
        }
        let (component, code) = self.compile(machine, module)?;
        let digest = Digest::of(module);
        tracing::info!(module = %digest.short(), class = machine.class.as_str(), "compiled");
        cache.keep(&name, &code);
        Ok(component)
    }

    fn compile(
        &self,
        machine: &Machine,
        module: &[u8],
    ) -> Result<(Component, NativeCode), Uncompiled> {
        let code = self.compiler.compile(machine, module)?;
        let component = code.load(&machine.engine).map_err(blame)?;
        Ok((component, code))
    }
}

fn find_in(cache: &Cache, machine: &Machine, name: &Name) -> Option<Component> {
    match cache.find(name)?.load(&machine.engine) {
        Ok(component) => Some(component),
        Err(error) => {
            cache.discard(name, &format!("{error:#}"));
            None
        }
    }
}

fn blame(error: wasmtime::Error) -> Uncompiled {
    match is_ours(&error) {
        true => Uncompiled::Fault(error),
        false => Uncompiled::Invalid(error),
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
