//! The stores kept in one process's memory, for tests and examples.
//!
//! Everything of a namespace lies behind one lock that is never held over an await: each call is one atomic step. The
//! files have the names that they have in every store, so that one can be read beside the other.
#![forbid(unsafe_code)]

mod broker;
mod control;
mod dead_letters;
mod key_value;
mod module_store;
mod queues;
mod result_store;
mod server;
mod state;
mod upkeep;
mod usage_store;
mod wakeups;

pub use server::{Server, Store};
