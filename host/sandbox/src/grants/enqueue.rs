//! `stem:task/enqueue`: what a guest asks to be enqueued is read, held against its grant and its limits, and handed on.

use stem_core::children::{Child, Draft, Refusal, apart, together};
use stem_core::ids::EnvelopeId;
use stem_core::payload::Payload;
use stem_core::policy::Limits;
use stem_core::units::ByteSize;

use crate::bindings::stem::task::enqueue::{Host, Refused, Request};
use crate::context::Guest;
use crate::fate::text;
use crate::limits::OverRequests;
use crate::log::cut;

/// Bytes of a refusal that a guest is told.
const LONGEST_ANSWER: usize = 1 << 10;

/// Requests that are read in one go: others have their turn in between, and whoever is over a limit ends there.
const AT_ONCE: usize = 64;

/// What an attempt may still ask for. Every request counts, whatever it is answered: each is work for the host.
#[derive(Debug)]
pub(crate) struct Budget {
    most: u32,
    most_bytes: ByteSize,
    asked: u32,
    bytes: u64,
}

impl Budget {
    /// Nothing asked for yet.
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            most: limits.enqueue,
            most_bytes: limits.enqueue_size,
            asked: 0,
            bytes: 0,
        }
    }

    fn charge(&mut self, size: usize) -> Result<(), Refusal> {
        if self.asked == self.most {
            let most = self.most;
            let problem = format!("over the limit of {most} requests of an attempt");
            return Err(Refusal::Limited(problem));
        }
        self.asked += 1;
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let bytes = self.bytes.saturating_add(size);
        if bytes > self.most_bytes.0 {
            let most = self.most_bytes;
            let problem = format!("over the limit of {most} in all requests of an attempt");
            return Err(Refusal::Limited(problem));
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Host for Guest {
    async fn submit(&mut self, request: Request) -> wasmtime::Result<Result<String, Refused>> {
        let answers = self.enqueue_all(vec![request]).await;
        let mut answers = answers.into_iter();
        Ok(answers.next().expect("one answer for one request"))
    }

    async fn submit_all(
        &mut self,
        requests: Vec<Request>,
    ) -> wasmtime::Result<Vec<Result<String, Refused>>> {
        OverRequests::check(requests.len())?;
        Ok(self.enqueue_all(requests).await)
    }
}

impl Guest {
    async fn enqueue_all(&mut self, requests: Vec<Request>) -> Vec<Result<String, Refused>> {
        let mut checked = Vec::with_capacity(requests.len());
        for request in requests {
            checked.push(self.check(request));
            if checked.len().is_multiple_of(AT_ONCE) {
                self.give_way().await;
            }
        }
        let (children, places) = apart(checked);
        let answers = match children.is_empty() {
            true => Vec::new(),
            false => self.context.enqueue(children).await,
        };
        let answers = together(places, answers).into_iter();
        answers.map(answer).collect()
    }

    fn check(&mut self, request: Request) -> Result<Child, Refusal> {
        let draft = Draft::from(request);
        let size = draft.size();
        self.enqueueing.charge(size)?;
        if !self.granted.grants.allow_enqueueing(&draft.task()?) {
            return Err(Refusal::NotGranted);
        }
        let child = draft.check()?;
        self.usage.bytes_out(size);
        Ok(child)
    }
}

fn answer(enqueued: Result<EnvelopeId, Refusal>) -> Result<String, Refused> {
    enqueued.map(|id| id.to_string()).map_err(Into::into)
}

impl From<Request> for Draft {
    fn from(request: Request) -> Self {
        Self {
            task: request.task,
            payload: Payload::from(request.payload),
            key: request.key,
            headers: request.headers,
            options: request.options,
        }
    }
}

/// A message may quote what the guest wrote: it is cut, and harmless wherever the guest passes it on to.
fn said(why: &str) -> String {
    let mut said = text(why);
    cut(&mut said, LONGEST_ANSWER);
    said
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotGranted => Self::NotGranted,
            Refusal::Invalid(why) => Self::Invalid(said(&why)),
            Refusal::Limited(why) => Self::Limited(said(&why)),
            Refusal::Unavailable(why) => Self::Unavailable(said(&why)),
            Refusal::Other(why) => Self::Other(said(&why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charged(limits: &Limits, sizes: &[usize]) -> Vec<bool> {
        let mut budget = Budget::of(limits);
        let charge = |size: &usize| budget.charge(*size).is_ok();
        sizes.iter().map(charge).collect()
    }

    /// S3
    #[test]
    fn requests_and_their_bytes_are_counted_and_what_is_refused_for_its_size_holds_none() {
        let limits = Limits {
            enqueue: 4,
            enqueue_size: ByteSize(10),
            ..Limits::default()
        };
        assert_eq!(
            charged(&limits, &[6, usize::MAX, 4, 0, 0]),
            [true, false, true, true, false]
        );
        let none = Limits {
            enqueue: 0,
            ..limits
        };
        assert_eq!(charged(&none, &[0]), [false]);
    }
}
