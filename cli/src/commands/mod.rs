//! The commands: one file a noun.

pub mod bench;
pub mod bucket;
pub mod cancel;
pub mod completions;
pub mod deploy;
pub mod dev;
pub mod dlq;
pub mod enqueue;
mod grants;
pub mod keys;
mod limits;
pub mod module;
pub mod new;
pub mod observe;
pub mod queue;
pub mod result;
pub mod run;
pub mod store;
pub mod task;
pub mod worker;
