//! Runs a module in a fresh WebAssembly sandbox for every attempt.
//!
//! The one crate that knows wasmtime. To others it is an `Executor` ([`Catalog`]) and a check of modules that are to be
//! deployed ([`Sandbox::inspect`]). Loading compiled code is the one unsafe call (`native`).
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod catalog;
mod ceilings;
mod command;
mod compile;
mod context;
mod deploy;
mod deploy_error;
mod describe;
mod engine;
mod fate;
mod grants;
mod imports;
mod index;
mod instance;
mod limits;
mod loads;
mod log;
mod module;
mod modules;
mod native;
mod output;
mod overrides;
mod poll;
mod program;
mod sandbox;
mod tasks;
mod ticker;
mod timing;
mod usage;
mod watch;

pub use cache::CacheOptions;
pub use catalog::Catalog;
pub use compile::Compiler;
pub use deploy::{Inspected, LARGEST_MODULE};
pub use deploy_error::DeployError;
pub use engine::{Allocation, Settings};
pub use grants::http::{Resolver, SystemResolver};
pub use native::child::{CompileLimits, compile_module};
pub use overrides::{Overrides, OverridesError};
pub use sandbox::{Options, Sandbox, StartError};
pub use timing::{Parts, TimedTask};
