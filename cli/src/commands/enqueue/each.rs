//! `enqueue --each`: one envelope for each line, in batches, in bounded memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use stem_core::client::{Client, EnqueueError, Enqueued, Request};
use stem_core::ids::EnvelopeId;
use stem_core::payload::{JSON, Payload};
use stem_core::units::ByteSize;

use super::{Args, payload};
use crate::errors::{self, Failure};
use crate::invocation::Invocation;
use crate::output::{Output, Unheard};
use crate::progress;
use crate::views::EnqueuedView;

/// Envelopes that are published in one step, at most.
const BATCH: usize = 1_000;
/// Bytes of payload that are held at once, at most, beyond one line.
const BATCH_BYTES: usize = 8 << 20;
/// A line's end, as it may be: it is no part of the payload.
const LINE_END: u64 = 2;

/// Lines that wait to be published.
#[derive(Default)]
struct Batch {
    requests: Vec<Request>,
    /// The number of each line, 1 for the first.
    lines: Vec<u64>,
    bytes: usize,
}

/// The whole run: what it writes to, and what it has done.
struct Feed<'a> {
    args: &'a Args,
    client: &'a Client,
    output: &'a Output,
    /// The largest payload that is taken.
    limit: ByteSize,
    /// Every line's id is so many behind this one as its number says.
    id: EnvelopeId,
    bar: ProgressBar,
    enqueued: u64,
    /// Whether nobody reads the ids any more.
    is_unheard: bool,
}

/// Enqueues every line of the source; stops at the first that is refused, and says how far it came.
pub async fn run(
    source: &str,
    args: &Args,
    client: &Client,
    invocation: &Invocation,
) -> Result<()> {
    let output = &invocation.output;
    let (mut reader, size) = open(source)?;
    let mut feed = Feed {
        args,
        client,
        output,
        limit: invocation.config.payload_limit,
        id: args.id.unwrap_or_else(EnvelopeId::new),
        bar: progress::bytes(size, "enqueueing"),
        enqueued: 0,
        is_unheard: false,
    };
    let fed = feed.feed(reader.as_mut()).await;
    feed.bar.finish_and_clear();
    let enqueued = feed.enqueued;
    fed.map_err(|error| {
        let hint = match error.downcast_ref() {
            Some(error) => args.hint(error, feed.id, invocation),
            None => String::new(),
        };
        let attempted = format!("{} after {enqueued} were enqueued", args.attempted());
        errors::advised(error, attempted, hint)
    })?;
    if output.is_terminal() {
        output.note(format!("enqueued {enqueued}"));
    }
    Ok(())
}

fn open(source: &str) -> Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    if source == "-" {
        return Ok((Box::new(BufReader::new(std::io::stdin())), None));
    }
    let path = source.strip_prefix('@').unwrap_or(source);
    let file = File::open(path)
        .map_err(|error| Failure::usage(format!("read the payloads from `{path}`"), error))?;
    let size = file.metadata().ok().map(|metadata| metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 20, file)), size))
}

impl Feed<'_> {
    async fn feed(&mut self, reader: &mut (dyn BufRead + Send)) -> Result<()> {
        let mut batch = Batch::default();
        let mut number = 0;
        loop {
            number += 1;
            let line = match self.next(reader, number) {
                Ok(None) => return self.publish(batch).await,
                Ok(Some(line)) => line,
                Err(problem) => {
                    // What came before the bad line is as good as if the file had ended there.
                    self.publish(batch).await?;
                    return Err(problem);
                }
            };
            if line.is_empty() {
                continue;
            }
            batch.push(self.request(line, number), number);
            if batch.is_full() {
                self.publish(std::mem::take(&mut batch)).await?;
            }
        }
    }

    /// The next line without what is around it; nothing at the end. A bad one is refused by its number.
    fn next(&self, reader: &mut (dyn BufRead + Send), number: u64) -> Result<Option<Vec<u8>>> {
        let attempted = || format!("line {number}");
        let unread = |error| Failure::usage(attempted(), error);
        let mut line = Vec::new();
        let longest = self.limit.0.saturating_add(LINE_END);
        let mut begin = reader.take(longest);
        let length = begin.read_until(b'\n', &mut line).map_err(unread)? as u64;
        self.bar.inc(length);
        if length == longest && !line.ends_with(b"\n") {
            let rest = reader.skip_until(b'\n').map_err(unread)? as u64;
            if rest > 0 {
                return Err(payload::too_large(length + rest, self.limit).context(attempted()));
            }
        }
        let trimmed = line.trim_ascii();
        if !trimmed.is_empty() && !self.args.unchecked {
            payload::check(&self.payload(trimmed), &attempted())?;
        }
        Ok((length > 0).then(|| trimmed.to_vec()))
    }

    fn payload(&self, line: &[u8]) -> Payload {
        let content_type = self.args.given.content_type.as_deref().unwrap_or(JSON);
        Payload::new(content_type, line.to_vec())
    }

    fn request(&self, line: Vec<u8>, number: u64) -> Request {
        let now = self.client.stores().clock.now();
        let id = self.id.plus(number);
        self.args.request(id, self.payload(&line), now)
    }

    async fn publish(&mut self, batch: Batch) -> Result<()> {
        if batch.requests.is_empty() {
            return Ok(());
        }
        match self.client.enqueue_all(batch.requests.clone()).await {
            Ok(enqueued) => self.announce(&enqueued),
            Err(error @ EnqueueError::Store(_)) => {
                let ends = [batch.lines.first(), batch.lines.last()];
                let [first, last] = ends.map(|line| line.copied().unwrap_or_default());
                Err(error).context(format!("lines {first} to {last}"))
            }
            Err(_) => self.publish_up_to_the_refused(batch).await,
        }
    }

    /// A batch is published whole or not at all: one by one, the lines before the refused one still go.
    async fn publish_up_to_the_refused(&mut self, batch: Batch) -> Result<()> {
        for (request, line) in batch.requests.into_iter().zip(batch.lines) {
            let enqueued = self
                .client
                .enqueue(request)
                .await
                .with_context(|| format!("line {line}"))?;
            self.announce(&[enqueued])?;
        }
        Ok(())
    }

    fn announce(&mut self, enqueued: &[Enqueued]) -> Result<()> {
        self.enqueued += enqueued.len() as u64;
        if self.is_unheard || (self.output.is_terminal() && !self.output.is_json) {
            return Ok(());
        }
        let lines: Result<Vec<String>> = enqueued.iter().map(|one| self.line(one)).collect();
        match self.output.line(lines?.join("\n")) {
            // Whoever reads has seen enough; what is to be enqueued is enqueued all the same.
            Err(error) if error.is::<Unheard>() => self.is_unheard = true,
            printed => printed?,
        }
        Ok(())
    }

    fn line(&self, enqueued: &Enqueued) -> Result<String> {
        match self.output.is_json {
            true => {
                let view = EnqueuedView::new(enqueued, &self.args.task);
                Ok(serde_json::to_string(&view)?)
            }
            false => Ok(enqueued.id.to_string()),
        }
    }
}

impl Batch {
    fn push(&mut self, request: Request, line: u64) {
        self.bytes += request.payload.body.len();
        self.requests.push(request);
        self.lines.push(line);
    }

    fn is_full(&self) -> bool {
        self.requests.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}
