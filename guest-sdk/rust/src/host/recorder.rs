//! A host for native tests: it answers as it is told and keeps what the task does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::attempt::Attempt;
use crate::child::{EnqueueError, Request};
use crate::context::{CheckpointError, ConfigError, Context, Level, StopReason};
use crate::payload::{Format, Payload};

/// The host of native tests.
#[derive(Debug, Default)]
pub(crate) struct Host {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stop: Option<(u32, StopReason)>,
    checkpoint_error: Option<CheckpointError>,
    config: BTreeMap<String, String>,
    config_error: Option<ConfigError>,
    enqueue_error: Option<EnqueueError>,
    recorded: Recorded,
}

/// What a task did to its host.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Recorded {
    /// Each fraction and its note, in order.
    pub progress: Vec<(f64, String)>,
    /// Each line that went through [`Context::log`], in order.
    pub log: Vec<LogLine>,
    /// The checkpoint as it stands.
    pub checkpoint: Option<Payload>,
    /// What lies in each bucket that the test grants, by key.
    pub buckets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Each child, in order; one whose key came before is not enqueued again.
    pub enqueued: Vec<Enqueued>,
}

/// An envelope that a task has enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// What the task was told.
    pub id: String,
    /// Which task it is for.
    pub task: String,
    /// With what.
    pub payload: Payload,
    /// What a repeated attempt knows it by.
    pub key: Option<String>,
    /// Headers of its own.
    pub headers: Vec<(String, String)>,
    /// As the flags of `stem-host enqueue`: `("queue", "mail")`.
    pub options: Vec<(String, String)>,
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The line.
    pub message: String,
    /// Its named values.
    pub fields: Vec<(String, String)>,
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is recorded, or changes it.
    pub(super) fn recorded<T>(&self, look: impl FnOnce(&mut Recorded) -> T) -> T {
        look(&mut self.state().recorded)
    }

    pub(crate) fn progress(&self, fraction: f64, note: &str) {
        self.state()
            .recorded
            .progress
            .push((fraction, note.to_owned()));
    }

    pub(crate) fn stop_requested(&self) -> Option<StopReason> {
        let mut state = self.state();
        let (polls_left, reason) = state.stop.as_mut()?;
        if *polls_left == 0 {
            return Some(*reason);
        }
        *polls_left -= 1;
        None
    }

    pub(crate) fn load_checkpoint(&self) -> Result<Option<Payload>, CheckpointError> {
        let state = self.state();
        state
            .checkpoint_error
            .clone()
            .map_or_else(|| Ok(state.recorded.checkpoint.clone()), Err)
    }

    pub(crate) fn save_checkpoint(&self, saved: Payload) -> Result<(), CheckpointError> {
        let mut state = self.state();
        if let Some(error) = state.checkpoint_error.clone() {
            return Err(error);
        }
        state.recorded.checkpoint = Some(saved);
        Ok(())
    }

    pub(crate) fn config(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let state = self.state();
        let value = || Ok(state.config.get(key).cloned());
        state.config_error.clone().map_or_else(value, Err)
    }

    pub(crate) fn enqueue(&self, request: Request) -> Result<String, EnqueueError> {
        let mut state = self.state();
        if let Some(error) = state.enqueue_error.clone() {
            return Err(error);
        }
        let enqueued = &mut state.recorded.enqueued;
        let has_its_key = |one: &&Enqueued| request.key.is_some() && one.key == request.key;
        if let Some(known) = enqueued.iter().find(has_its_key) {
            return Ok(known.id.clone());
        }
        let id = format!("00000000-0000-8000-8000-{:012x}", enqueued.len() + 1);
        enqueued.push(Enqueued {
            id: id.clone(),
            task: request.task,
            payload: request.payload,
            key: request.key,
            headers: request.headers,
            options: request.options,
        });
        Ok(id)
    }

    pub(crate) fn enqueue_all(&self, requests: Vec<Request>) -> Vec<Result<String, EnqueueError>> {
        let requests = requests.into_iter();
        requests.map(|request| self.enqueue(request)).collect()
    }

    pub(crate) fn emit(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let line = LogLine {
            level,
            message: message.to_owned(),
            fields: fields.to_vec(),
        };
        self.state().recorded.log.push(line);
    }
}

/// For native tests: a context without a host. Not there in a sandbox.
impl Context {
    /// The first of five attempts, with no headers, no checkpoint and nobody who asks to stop.
    pub fn for_test() -> Self {
        let attempt = Attempt {
            id: "00000000-0000-7000-8000-000000000000".to_owned(),
            task: String::new(),
            queue: "default".to_owned(),
            number: 1,
            max_attempts: 5,
            delivery: 1,
            enqueued_at: SystemTime::UNIX_EPOCH,
            soft_time_limit: None,
            hard_time_limit: Duration::from_secs(60),
            headers: Vec::new(),
            attributes: Vec::new(),
        };
        Self {
            attempt,
            host: Host::default(),
        }
    }

    /// The same with other facts about the attempt: `ctx.with_attempt(|attempt| attempt.number = 2)`.
    #[must_use]
    pub fn with_attempt(mut self, change: impl FnOnce(&mut Attempt)) -> Self {
        change(&mut self.attempt);
        self
    }

    /// The same with a header of the producer's.
    #[must_use]
    pub fn with_header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let header = (name.into(), value.into());
        self.with_attempt(|attempt| attempt.headers.push(header))
    }

    /// The same, asked to stop from the beginning.
    #[must_use]
    pub fn with_stop(self, reason: StopReason) -> Self {
        self.with_stop_after(0, reason)
    }

    /// The same, asked to stop once the task has asked `polls` times whether it is.
    #[must_use]
    pub fn with_stop_after(self, polls: u32, reason: StopReason) -> Self {
        self.host.state().stop = Some((polls, reason));
        self
    }

    /// The same with a checkpoint that an earlier attempt has saved.
    ///
    /// Panics when the value has no JSON form.
    #[must_use]
    pub fn with_checkpoint<T: Serialize + ?Sized>(self, state: &T) -> Self {
        match Payload::encode(state, Format::Json) {
            Ok(saved) => self.host.state().recorded.checkpoint = Some(saved),
            Err(misfit) => panic!("{misfit}"),
        }
        self
    }

    /// The same, whose checkpoints can neither be read nor kept.
    #[must_use]
    pub fn with_checkpoint_error(self, error: CheckpointError) -> Self {
        self.host.state().checkpoint_error = Some(error);
        self
    }

    /// The same with a value, or a secret, of this name.
    #[must_use]
    pub fn with_config(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.host.state().config.insert(key.into(), value.into());
        self
    }

    /// The same, whose values and secrets cannot be read.
    #[must_use]
    pub fn with_config_error(self, why: impl Into<String>) -> Self {
        self.host.state().config_error = Some(ConfigError::new(why.into()));
        self
    }

    /// The same, which refuses whatever the task enqueues.
    #[must_use]
    pub fn with_enqueue_error(self, error: EnqueueError) -> Self {
        self.host.state().enqueue_error = Some(error);
        self
    }

    /// What the task did so far.
    pub fn recorded(&self) -> Recorded {
        self.host.state().recorded.clone()
    }
}
