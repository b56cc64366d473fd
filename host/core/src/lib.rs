//! The words and seams of Stem: what an envelope, an outcome and a record are, and what a store or an executor must do.
//!
//! Nothing here does I/O, starts a runtime, or knows WebAssembly or a database: stores, sandbox and worker depend on
//! this crate and never on each other.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod broker;
pub mod canary;
pub mod children;
pub mod client;
pub mod clock;
pub mod control;
pub mod dead_letters;
pub mod envelope;
pub mod executor;
pub mod grants;
pub mod ids;
pub mod key_value;
pub mod lookup;
pub mod manifest;
pub mod module_store;
pub mod names;
pub mod origin;
pub mod outcome;
pub mod payload;
pub mod policy;
pub mod queues;
pub mod record;
pub mod result_store;
pub mod retry;
pub mod schema;
pub mod secrets;
pub mod sent_header;
pub mod signing;
pub mod state;
pub mod store_error;
pub mod stores;
pub mod task_glob;
pub mod two_stores;
pub mod units;
pub mod upkeep;
pub mod usage;
pub mod usage_store;
