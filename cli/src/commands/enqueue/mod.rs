//! `enqueue`: one envelope, or one for each line of a file.

mod each;
pub mod payload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use stem_core::broker::Due;
use stem_core::client::{Client, EnqueueError, Request};
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::DEFAULT_WAIT;
use stem_core::names::{HeaderName, QueueName, TaskName};
use stem_core::payload::Payload;
use stem_core::store_error::StoreErrorKind;

use crate::arguments;
use crate::errors;
use crate::invocation::Invocation;
use crate::stores::Lifetime;
use crate::views::{EnqueuedView, EnvelopeView};
use crate::waiting;

use payload::Given;

/// What is to be enqueued
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The task that is to be run
    task: TaskName,
    #[command(flatten)]
    given: Given,
    /// One envelope for each line of a file of JSON lines, or of - for standard input
    #[arg(long, value_name = "@FILE|-", conflicts_with_all = ["payload", "wait", "output"])]
    each: Option<String>,
    /// Where it goes [default: the task's own queue]
    #[arg(long)]
    queue: Option<QueueName>,
    /// Not before so long from now: 10s, 5m, 2h
    #[arg(long, value_parser = arguments::duration, conflicts_with = "at")]
    delay: Option<Duration>,
    /// Not before this time: 2026-11-20T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    at: Option<Timestamp>,
    /// 0 to 9; 9 goes first [default: the task's own]
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=9))]
    priority: Option<u8>,
    /// Attempts in all [default: the task's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    max_attempts: Option<u32>,
    /// The id of an earlier try, which said it: nothing is enqueued a second time
    #[arg(long, value_name = "ID")]
    id: Option<EnvelopeId>,
    /// Something that goes with it
    #[arg(long = "header", value_name = "K=V", value_parser = arguments::header)]
    headers: Vec<(HeaderName, String)>,
    /// Enqueue without asking whether the task is deployed and the payload fits it
    #[arg(long)]
    unchecked: bool,
    /// Wait for the end, and print the result
    #[arg(long)]
    wait: bool,
    /// How long to wait [default: 30s]
    #[arg(long, value_parser = arguments::duration, requires = "wait")]
    timeout: Option<Duration>,
    /// Write the result to a file
    #[arg(long, value_name = "FILE", requires = "wait")]
    output: Option<PathBuf>,
}

/// Enqueues what the arguments say.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Shared).await?;
    let client = Client::new(stores, invocation.config.default_queue.clone())
        .with_payload_limit(invocation.config.payload_limit);
    match &args.each {
        Some(source) => each::run(source, &args, &client, invocation).await,
        None => one(&args, &client, invocation).await,
    }
}

async fn one(args: &Args, client: &Client, invocation: &Invocation) -> Result<()> {
    let output = &invocation.output;
    let attempted = args.attempted();
    let payload = args.given.read(invocation.config.payload_limit)?;
    if !args.unchecked {
        payload::check(&payload, &attempted)?;
    }
    let id = args.id.unwrap_or_else(EnvelopeId::new);
    let request = args.request(id, payload, client.stores().clock.now());
    let enqueued = client.enqueue(request).await;
    let enqueued = enqueued.map_err(|error| {
        let hint = args.hint(&error, id, invocation);
        errors::advised(error, attempted, hint)
    })?;
    if !args.wait {
        return match output.is_json {
            true => output.json(&EnqueuedView::new(&enqueued, &args.task)),
            false => output.line(enqueued.id),
        };
    }
    let timeout = args.timeout.unwrap_or(DEFAULT_WAIT);
    // Whatever becomes of this command, it can be asked for.
    if !output.is_json {
        output.note(format!("enqueued {id}"));
    }
    let ended = waiting::wait(client.stores(), id, timeout, invocation).await?;
    if output.is_json {
        output.json(&EnvelopeView::new(id, &ended))?;
    }
    waiting::check(id, &ended, "wait for")?;
    match (&args.output, output.is_json) {
        (Some(file), _) => waiting::save(id, &ended, file, output),
        (None, true) => Ok(()),
        (None, false) => waiting::print(id, &ended, output),
    }
}

impl Args {
    fn attempted(&self) -> String {
        format!("enqueue `{}`", self.task)
    }

    /// What else helps: where it was looked for, or how to try again.
    fn hint(&self, error: &EnqueueError, id: EnvelopeId, invocation: &Invocation) -> String {
        if matches!(error, EnqueueError::UnknownTask { .. }) {
            return format!("it was looked for in {}", invocation.place());
        }
        match (may_be_enqueued(error), &self.each) {
            (false, _) => String::new(),
            (true, None) => format!(
                "it may be enqueued all the same: the same command with `--id {id}` enqueues it once"
            ),
            (true, Some(_)) => format!(
                "some may be enqueued all the same: the same command with `--id {id}` enqueues no line twice"
            ),
        }
    }

    /// A request with this payload; what is not given stays open (E4). What is due already waits for nothing.
    fn request(&self, id: EnvelopeId, payload: Payload, now: Timestamp) -> Request {
        let delay = self.delay.filter(|delay| !delay.is_zero());
        let time = self.at.filter(|time| *time > now);
        Request {
            due: match (delay, time) {
                (Some(delay), _) => Due::After(delay),
                (None, Some(time)) => Due::At(time),
                (None, None) => Due::Now,
            },
            queue: self.queue.clone(),
            priority: self.priority,
            max_attempts: self.max_attempts,
            headers: self.headers.iter().cloned().collect::<BTreeMap<_, _>>(),
            id: Some(id),
            is_unchecked: self.unchecked,
            ..Request::new(self.task.clone(), payload)
        }
    }
}

/// Whether nobody knows what became of it.
fn may_be_enqueued(error: &EnqueueError) -> bool {
    let EnqueueError::Store(error) = error else {
        return false;
    };
    let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Unconfirmed];
    kinds.contains(&error.kind())
}
