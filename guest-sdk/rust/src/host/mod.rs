//! The host's side of a [`Context`](crate::Context): the real one in a sandbox, a recording one in native tests.

#[cfg(target_arch = "wasm32")]
mod config;
#[cfg(target_arch = "wasm32")]
mod enqueue;
#[cfg(target_arch = "wasm32")]
mod sandbox;
#[cfg(target_arch = "wasm32")]
mod sandbox_bucket;
#[cfg(target_arch = "wasm32")]
pub(crate) use sandbox::Host;
#[cfg(target_arch = "wasm32")]
pub(crate) use sandbox_bucket::Bucket;

#[cfg(not(target_arch = "wasm32"))]
mod recorded_bucket;
#[cfg(not(target_arch = "wasm32"))]
mod recorder;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use recorded_bucket::Bucket;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use recorder::Host;
#[cfg(not(target_arch = "wasm32"))]
pub use recorder::{Enqueued, LogLine, Recorded};
