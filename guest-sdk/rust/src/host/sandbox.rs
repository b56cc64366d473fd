//! The host that runs this module, reached through the imports and exports of `stem:task`.

use std::time::{Duration, SystemTime};

use crate::attempt::Attempt;
use crate::context::{CheckpointError, ConfigError, Context, Level, StopReason};
use crate::interruption::{Failure, Interruption};
use crate::payload::Payload;
use crate::registry;

use bindings::exports::stem::task::handler::Guest;
use bindings::stem::task::{context, log, types};

#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    reason = "generated: the canonical ABI is made of raw memory"
)]
pub(super) mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "sdk" });
    export!(Module with_types_in self);

    pub(super) struct Module;
}

impl Guest for bindings::Module {
    fn describe() -> Vec<types::Descriptor> {
        registry::tasks().into_iter().map(descriptor).collect()
    }

    fn run(
        attempt: types::Attempt,
        payload: types::Payload,
    ) -> Result<types::Payload, types::Interruption> {
        crate::bridge::install();
        let ctx = Context {
            attempt: attempt.into(),
            host: Host,
        };
        registry::dispatch(&ctx, payload.into())
            .map(Into::into)
            .map_err(Into::into)
    }
}

/// The real host.
#[derive(Debug)]
pub(crate) struct Host;

#[allow(
    clippy::unused_self,
    reason = "the recorder of native tests has the same methods, and state"
)]
impl Host {
    pub(crate) fn progress(&self, fraction: f64, note: &str) {
        context::progress(fraction, note);
    }

    pub(crate) fn stop_requested(&self) -> Option<StopReason> {
        context::stop_requested().map(Into::into)
    }

    pub(crate) fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        Ok(context::load_checkpoint()?.map(Into::into))
    }

    pub(crate) fn save_checkpoint(&self, state: Payload) -> Result<(), CheckpointError> {
        Ok(context::save_checkpoint(&state.into())?)
    }

    pub(crate) fn config(&self, key: &str) -> Result<Option<String>, ConfigError> {
        super::config::get(key)
    }

    pub(crate) fn emit(&self, level: Level, message: &str, fields: &[(String, String)]) {
        log::emit(level.into(), message, fields);
    }
}

fn descriptor(task: &registry::Task) -> types::Descriptor {
    let registry::Schemas { payload, result } = (task.schemas)();
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    types::Descriptor {
        name: task.name.to_owned(),
        description: task.description.to_owned(),
        payload_schema: payload,
        result_schema: result,
        defaults: task.defaults.iter().map(owned).collect(),
    }
}

impl From<types::Attempt> for Attempt {
    fn from(attempt: types::Attempt) -> Self {
        Self {
            id: attempt.id,
            task: attempt.task,
            queue: attempt.queue,
            number: attempt.number,
            max_attempts: attempt.max_attempts,
            delivery: attempt.delivery,
            enqueued_at: SystemTime::UNIX_EPOCH + Duration::from_millis(attempt.enqueued_at),
            soft_time_limit: attempt.soft_time_limit.map(Duration::from_millis),
            hard_time_limit: Duration::from_millis(attempt.hard_time_limit),
            headers: attempt.headers,
            attributes: attempt.attributes,
        }
    }
}

impl From<types::Payload> for Payload {
    fn from(payload: types::Payload) -> Self {
        Self {
            content_type: payload.content_type,
            body: payload.body,
        }
    }
}

impl From<Payload> for types::Payload {
    fn from(payload: Payload) -> Self {
        Self {
            content_type: payload.content_type,
            body: payload.body,
        }
    }
}

impl From<Interruption> for types::Interruption {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Retry(failure) => Self::Retry(failure.into()),
            Interruption::RetryAfter(failure, delay) => {
                Self::RetryAfter((failure.into(), millis(delay)))
            }
            Interruption::Reject(failure) => Self::Reject(failure.into()),
            Interruption::Snooze(delay) => Self::Snooze(millis(delay)),
            Interruption::Stopped => Self::Stopped,
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: failure.kind,
            message: failure.message,
            details: failure.details,
        }
    }
}

impl From<context::StopReason> for StopReason {
    fn from(reason: context::StopReason) -> Self {
        match reason {
            context::StopReason::SoftTimeLimit => Self::SoftTimeLimit,
            context::StopReason::Cancelled => Self::Cancelled,
            context::StopReason::Shutdown => Self::Shutdown,
            context::StopReason::LeaseLost => Self::LeaseLost,
            context::StopReason::Other => Self::Other,
        }
    }
}

impl From<context::StoreError> for CheckpointError {
    fn from(error: context::StoreError) -> Self {
        match error {
            context::StoreError::TooLarge(limit) => Self::TooLarge { limit },
            context::StoreError::LeaseLost => Self::LeaseLost,
            context::StoreError::Unavailable(why) => Self::Unavailable(why),
            context::StoreError::Other(why) => Self::Other(why),
        }
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
