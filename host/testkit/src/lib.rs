//! Clocks, a scripted executor and the contract suites that every store passes.
//!
//! The suites are the specification of a store: [`suites`] lists the promises, [`fixture`] is what a store brings to be
//! held to them, and [`process`] and [`builders`] are the words that they are written in.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod builders;
pub mod clock;
pub mod executor;
pub mod faults;
pub mod fixture;
pub mod process;
pub mod proxy;
pub mod redis_server;
pub mod secure_server;
pub mod server_clock;
pub mod suites;
