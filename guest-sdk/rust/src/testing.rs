//! Native tests of tasks by their names, through the same way that a payload takes in a sandbox.
//!
//! ```
//! use serde_json::json;
//! use stem_guest::{Context, Interruption, testing};
//!
//! #[stem_guest::task]
//! fn double_it(_ctx: &Context, number: u32) -> Result<u32, Interruption> {
//!     Ok(number * 2)
//! }
//!
//! # fn main() -> Result<(), Interruption> {
//! let result = testing::run("double-it", json!(21))?;
//! assert_eq!(result.decode::<u32>()?, 42);
//! # Ok(())
//! # }
//! ```

pub use crate::host::{Enqueued, LogLine, Recorded};
pub use crate::registry::{Schemas, Task};

use crate::context::Context;
use crate::interruption::Interruption;
use crate::payload::Payload;

/// Every task of this module, by name.
///
/// Panics when two share a name.
pub fn tasks() -> Vec<&'static Task> {
    crate::registry::tasks()
}

/// The task of this name.
pub fn task(name: &str) -> Option<&'static Task> {
    tasks().into_iter().find(|task| task.name == name)
}

/// Runs the first attempt of a task, as a host would.
pub fn run(task: &str, payload: impl Into<Payload>) -> Result<Payload, Interruption> {
    run_in(Context::for_test(), task, payload).0
}

/// Runs a task in this context, and gives the context back with what the task did.
pub fn run_in(
    ctx: Context,
    task: &str,
    payload: impl Into<Payload>,
) -> (Result<Payload, Interruption>, Context) {
    let ctx = ctx.with_attempt(|attempt| attempt.task = task.to_owned());
    (crate::registry::dispatch(&ctx, payload.into()), ctx)
}
