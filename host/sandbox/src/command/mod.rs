//! A program as a task (S9): its payload on standard input, its attempt in the environment, its result on standard
//! output; how it ends is turned into what a handler would have returned.

mod ending;
mod environment;
mod settings;
mod stdout;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use stem_core::executor::Run;
use stem_core::module_store::{CommandLine, DeployedTask};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use crate::bindings::stem::task::types::Payload;
use crate::fate::Returned;
use crate::output::Output;

pub(crate) use settings::CommandSettings;
pub(crate) use stdout::OverOutput;

/// What `run` of `wasi:cli/run` returns.
pub(crate) type Ended = wasmtime::Result<(Result<(), ()>,)>;

/// What one attempt's program reads and writes.
pub(crate) struct Console {
    input: Bytes,
    environment: Vec<(String, String)>,
    /// Its name, and then its arguments.
    arguments: Vec<String>,
    /// What it has written to standard output, and how much it may write.
    written: Arc<Mutex<Vec<u8>>>,
    room: usize,
    content_type: Option<String>,
}

impl Console {
    /// For an attempt of this task.
    pub(crate) fn new(task: &DeployedTask, run: &Run) -> Self {
        let CommandLine {
            arguments,
            result_content_type,
        } = task.command.clone().unwrap_or_default();
        let name = std::iter::once(task.name.to_string());
        Self {
            input: run.payload.body.clone(),
            environment: environment::of(run),
            arguments: name.chain(arguments).collect(),
            written: Arc::default(),
            room: run.limits.output.as_usize(),
            content_type: result_content_type,
        }
    }

    /// Connects it: without this a program reads nothing and writes to the log.
    pub(crate) fn connect(&self, wasi: &mut WasiCtxBuilder) {
        wasi.stdin(MemoryInputPipe::new(self.input.clone()))
            .stdout(Output(stdout::Stdout {
                written: Arc::clone(&self.written),
                room: self.room,
            }))
            .envs(&self.environment)
            .args(&self.arguments);
    }

    /// What a handler would have returned, had it done what the program did; the last line of standard error may say
    /// more than the exit code.
    pub(crate) fn returned(&self, ended: Ended, last_line: Option<&str>) -> Returned {
        match ending::status(ended)? {
            ending::SUCCESS => Ok((Ok(self.result()),)),
            status => Ok((Err(ending::interruption(status, last_line)),)),
        }
    }

    fn result(&self) -> Payload {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let body = Bytes::from(std::mem::take(&mut *written));
        let named = self.content_type.clone();
        Payload {
            content_type: named.unwrap_or_else(|| ending::media_type(&body).to_owned()),
            body: body.into(),
        }
    }
}
