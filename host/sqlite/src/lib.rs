//! The embedded stores in one SQLite file: every seam behind one handle, for many processes at once.
//!
//! One thread writes and commits whatever has queued up in one transaction; one beside it moves the log into the
//! database, and two read. Processes take
//! turns through a file lock and wake each other through a watched folder beside the database.
#![forbid(unsafe_code)]

mod broker;
mod checkpoint;
mod claim;
mod control;
mod dead_letters;
mod deployments;
mod key_value;
mod location;
mod module_store;
mod open;
mod problem;
mod publish;
mod queues;
mod reader;
mod records;
mod result_store;
mod rows;
mod settle;
mod store;
mod turn;
mod upkeep;
mod usage_store;
mod wake;
mod writer;

pub use store::{Options, Store, Synchronous};
