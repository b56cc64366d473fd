//! Clocks, a scripted executor and the contract suites that every store passes.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod builders;
pub mod clock;
pub mod executor;
