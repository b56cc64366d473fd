//! What the whole-system specifications share: the workspace as it is written, and the built system as it runs.
#![forbid(unsafe_code)]

pub mod arena;
pub mod host;
pub mod measure;
pub mod store;
pub mod worker;
pub mod workspace;

/// The code that README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
