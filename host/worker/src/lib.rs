//! Claims deliveries, runs their attempts and settles them. Start reading in `attempt.rs`.
//!
//! The worker knows neither WebAssembly nor a database: an [`Executor`](stem_core::executor::Executor) runs the tasks,
//! and [`Stores`](stem_core::stores::Stores) keep everything else.
#![forbid(unsafe_code)]

mod attempt;
mod backoff;
mod congestion;
mod contact;
mod context;
mod duties;
mod guests;
mod heartbeat;
mod lease;
mod progress;
mod report;
mod settler;
mod worker;

pub use worker::{Options, SLOTS_PER_CORE, Shutdown, Summary, Worker};
