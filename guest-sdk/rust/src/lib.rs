//! Write background tasks for Stem in Rust.
//!
//! A task is a function with an attribute. The crate around it is a `cdylib` that compiles to a WebAssembly
//! component (`cargo build --release --target wasm32-wasip2`), is deployed with `stem-host deploy`, and runs in a
//! fresh sandbox for every attempt. Nothing else has to be registered or exported; a module may hold many tasks.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use stem_guest::{Context, Interruption};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Input {
//!     text: String,
//! }
//!
//! /// Counts how often each word occurs.
//! #[stem_guest::task(max_attempts = 3, hard_time_limit = "10s")]
//! fn word_count(ctx: &Context, input: Input) -> Result<BTreeMap<String, usize>, Interruption> {
//!     let mut counts = BTreeMap::new();
//!     for word in input.text.split_whitespace() {
//!         *counts.entry(word.to_lowercase()).or_default() += 1;
//!     }
//!     ctx.progress(1.0, format!("{} words", counts.len()));
//!     Ok(counts)
//! }
//!
//! // A native test needs no host:
//! let ctx = Context::for_test();
//! let counts = word_count(&ctx, Input { text: "a b a".into() }).unwrap();
//! assert_eq!(counts["a"], 2);
//! assert_eq!(ctx.recorded().progress, [(1.0, "2 words".to_owned())]);
//! ```
//!
//! - What it takes and gives: any type of `serde` that has a JSON Schema (`schemars`), as JSON, or as MessagePack when
//!   the payload is `application/msgpack` (a `text/…` payload reads as one string); or [`Payload`], the bytes as they are.
//! - How it fails: [`Interruption`], and `?`.
//! - What it can ask of its host: [`Context`]; further envelopes ([`Context::enqueue`]) and buckets ([`Context::bucket`])
//!   only where its deployment grants them.
//! - How it is tested: natively, see `testing`.
//!
//! Features: `log` (default) and `tracing` send the lines of those crates, from `info` up, to the attempt's log;
//! `msgpack` (default) reads and writes MessagePack. A task that wants more of `log` calls `log::set_max_level`; the
//! level of `tracing` is fixed. In native tests neither is sent anywhere: [`Context::log`] alone is recorded there.

extern crate self as stem_guest;

mod attempt;
#[cfg(target_arch = "wasm32")]
mod bridge;
mod bucket;
mod child;
mod codec;
mod context;
mod host;
mod interruption;
mod payload;
mod registry;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use attempt::Attempt;
pub use bucket::{Bucket, BucketError};
pub use child::{Child, EnqueueError};
pub use context::{CheckpointError, ConfigError, Context, Level, StopReason};
pub use interruption::{Failure, Interruption, OrInterrupt};
pub use payload::{Format, JSON, MSGPACK, Payload};
pub use schemars;
pub use stem_guest_macros::task;

/// What the task attribute writes; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::registry::{Schemas, Task, run, schemas};
    pub use inventory;
}
