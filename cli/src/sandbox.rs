//! The sandbox as this program uses it: the only file that names its crate.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use stem_core::clock::Clock;
use stem_core::executor::{Executor, Program};
use stem_core::grants::Grants;
use stem_core::manifest::SignaturePolicy;
use stem_core::module_store::DeployedTask;
use stem_core::stores::Stores;
use stem_sandbox::{Allocation, Catalog, Compiler, Options, Sandbox};

pub use stem_sandbox::{
    CacheOptions, DeployError, Inspected, LARGEST_MODULE, Overrides, Parts, Settings, TimedTask,
    compile_module,
};

use crate::config::Config;
use crate::errors::{Exit, Failure};
use crate::secrets;

/// Compiles modules and runs them.
#[derive(Clone)]
pub struct Engine(Arc<Sandbox>);

impl Engine {
    /// An engine for a worker with so many slots.
    pub fn for_worker(slots: usize, clock: &Arc<dyn Clock>, config: &Config) -> Result<Self> {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let mut options = options(slots, clock, config)?;
        options.secrets = secrets::open(&config.secrets)?;
        Ok(Self(Sandbox::new(options)?))
    }

    /// An engine that runs attempts at home, one at a time, with this machine's secrets.
    pub fn for_attempts(clock: &Arc<dyn Clock>, config: &Config) -> Result<Self> {
        let mut options = options(1, clock, config)?;
        options.allocation = Allocation::OnDemand;
        options.secrets = secrets::open(&config.secrets)?;
        Ok(Self(Sandbox::new(options)?))
    }

    /// An engine that looks at modules, one at a time, and needs no secret.
    pub fn for_inspection(clock: &Arc<dyn Clock>, config: &Config) -> Result<Self> {
        let mut options = options(1, clock, config)?;
        options.allocation = Allocation::OnDemand;
        Ok(Self(Sandbox::new(options)?))
    }

    /// Runs what is deployed in the stores; everything that is there now is compiled when this returns.
    pub async fn executor(
        &self,
        stores: &Stores,
        signatures: SignaturePolicy,
    ) -> Result<Arc<dyn Executor>> {
        let modules = Arc::clone(&stores.modules);
        let catalog = Catalog::new(Arc::clone(&self.0), modules, signatures);
        catalog
            .refresh()
            .await
            .context("compile what is deployed")?;
        Ok(catalog)
    }

    /// The checks of deploying, in their order (M1).
    pub async fn inspect(
        &self,
        module: &Bytes,
        overrides: &Overrides,
        attempted: &str,
    ) -> Result<Inspected> {
        let inspected = self.0.inspect(module, overrides).await;
        inspected.map_err(|error| failure(attempted, &error).into())
    }

    /// One task of a module, ready to be run without a store.
    pub async fn program(
        &self,
        module: &Bytes,
        (task, grants): (DeployedTask, &Grants),
        attempted: &str,
    ) -> Result<Arc<dyn Program>> {
        let program = self.0.program(module, task, grants).await;
        program.map_err(|error| failure(attempted, &error).into())
    }

    /// What a module imports, in the order of its names.
    pub async fn imports(&self, module: &Bytes, attempted: &str) -> Result<Vec<String>> {
        let imports = self.0.imports(module).await;
        imports.map_err(|error| failure(attempted, &error).into())
    }

    /// One task of a module with nothing granted, whose attempts are timed part by part.
    pub async fn timed(
        &self,
        module: &Bytes,
        task: DeployedTask,
        attempted: &str,
    ) -> Result<TimedTask> {
        let timed = self.0.timed(module, task).await;
        timed.map_err(|error| failure(attempted, &error).into())
    }

    /// How it is set up.
    pub fn settings(&self) -> Settings {
        self.0.settings()
    }
}

fn options(slots: u32, clock: &Arc<dyn Clock>, config: &Config) -> Result<Options> {
    let mut options = Options::new(slots, Arc::clone(clock));
    options.cache.clone_from(&config.cache);
    // A program made of tests is no compiler.
    if !cfg!(test) {
        options.compiler = Compiler::child(program()?);
    }
    Ok(options)
}

/// This very program, also where its file has been replaced since it was started.
fn program() -> Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe().context("find this program"),
    }
}

/// What a check says of a module; where this host itself failed the module is not at fault.
fn failure(attempted: &str, error: &DeployError) -> Failure {
    let exit = match matches!(error, DeployError::Host(_)) {
        true => Exit::Unreachable,
        false => Exit::Refused,
    };
    Failure::new(exit, attempted, chain(error))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_this_host_is_no_refusal_of_the_module() {
        let exit = |error: DeployError| failure("deploy `m.wasm`", &error).exit();
        assert_eq!(exit(DeployError::NotWasm), Exit::Refused);
        assert_eq!(
            exit(DeployError::Host("no memory".into())),
            Exit::Unreachable
        );
    }
}
