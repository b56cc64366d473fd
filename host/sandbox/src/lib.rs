//! Runs a module in a fresh WebAssembly sandbox for every attempt.
//!
//! The one crate that knows wasmtime: to others it is an `Executor`, and a check of modules that are to be deployed.

mod bindings;
mod catalog;
mod context;
mod engine;
mod fate;
mod instance;
mod limits;
mod log;
mod module;
mod modules;
mod output;
mod overrides;
mod program;
mod sandbox;
mod ticker;
mod usage;
mod watch;
pub use catalog::Catalog;
pub use engine::Allocation;
pub use overrides::{Overrides, OverridesError};
pub use sandbox::{Options, Sandbox, SandboxError};
mod deploy;
mod deploy_error;
mod describe;
mod imports;
mod tasks;
pub use deploy::{Inspected, LARGEST_MODULE};
pub use deploy_error::DeployError;
