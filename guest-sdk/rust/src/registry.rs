//! The tasks of a module: each `#[task]` adds itself before anything runs.

use crate::codec::{Input, Output, Schema};
use crate::context::Context;
use crate::interruption::Interruption;
use crate::payload::{Format, Payload};

/// One task, as its attribute describes it.
#[derive(Debug)]
pub struct Task {
    /// The name that it is enqueued under.
    pub name: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// Settings of its section in `stem.toml`, which a deployment may override.
    pub defaults: &'static [(&'static str, &'static str)],
    /// The JSON Schemas of its payload and its result.
    pub schemas: fn() -> Schemas,
    /// Runs one attempt.
    pub run: fn(&Context, Payload) -> Result<Payload, Interruption>,
}

/// The JSON Schemas (draft 2020-12) of a task's payload and result, where they have one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Schemas {
    /// Of the payload.
    pub payload: Option<String>,
    /// Of the result.
    pub result: Option<String>,
}

inventory::collect!(Task);

/// The shape of a task's function.
pub type Function<I, O> = fn(&Context, I) -> Result<O, Interruption>;

/// Reads the payload, runs the function, writes the result in the payload's format.
pub fn run<I, O, InKind, OutKind>(
    task: Function<I, O>,
    ctx: &Context,
    payload: Payload,
) -> Result<Payload, Interruption>
where
    I: Input<InKind>,
    O: Output<OutKind>,
{
    let format = if O::IS_ENCODED {
        payload.format()
    } else {
        None
    };
    let format = format.unwrap_or(Format::Json);
    task(ctx, I::read(payload)?)?.write(format)
}

/// The schemas of what the function takes and gives.
pub fn schemas<I, O, InKind, OutKind>(_task: Function<I, O>) -> Schemas
where
    I: Schema<InKind>,
    O: Schema<OutKind>,
{
    Schemas {
        payload: I::of_input(),
        result: O::of_output(),
    }
}

/// Every task of this module, by name.
///
/// Panics when two share a name: one of them could never run.
pub(crate) fn tasks() -> Vec<&'static Task> {
    let mut tasks: Vec<&Task> = Vec::new();
    // Not `sort`: it would be a fifth of a small module's code.
    for task in inventory::iter::<Task> {
        let place = tasks
            .iter()
            .position(|other| task.name <= other.name)
            .unwrap_or(tasks.len());
        let is_taken = tasks
            .get(place)
            .is_some_and(|other| task.name == other.name);
        assert!(
            !is_taken,
            "two tasks of this module are named `{}`",
            task.name
        );
        tasks.insert(place, task);
    }
    tasks
}

/// Runs the task that the attempt names.
pub(crate) fn dispatch(ctx: &Context, payload: Payload) -> Result<Payload, Interruption> {
    let name = ctx.attempt.task.as_str();
    match inventory::iter::<Task>
        .into_iter()
        .find(|task| task.name == name)
    {
        Some(task) => (task.run)(ctx, payload),
        None => Err(Interruption::reject(
            "unknown-task",
            format!("this module has no task named `{name}`"),
        )),
    }
}
