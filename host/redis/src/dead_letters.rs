//! Dead letters: list, show, replay, remove (B10).

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use stem_core::dead_letters::{DeadFilter, DeadLetter, DeadLetters, Page};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::DeadReason;
use stem_core::store_error::{StoreError, StoreErrorKind};

use crate::entry::Entry;
use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::scripts::{self, Script};
use crate::store::{Store, part_of};

const LIST: &str = "list dead letters";
const COUNT: &str = "count dead letters";
const SHOW: &str = "show dead letters";

#[async_trait]
impl DeadLetters for Store {
    async fn list(&self, filter: &DeadFilter, page: &Page) -> Result<Vec<DeadLetter>, StoreError> {
        self.list_as(Form::Whole, filter, page).await
    }

    async fn list_heads(
        &self,
        filter: &DeadFilter,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.list_as(Form::Heads, filter, page).await
    }

    async fn count(&self, filter: &DeadFilter) -> Result<u64, StoreError> {
        let (mut seat, mut number) = (Some("-1".to_owned()), 0);
        while let Some(from) = seat.take() {
            let mut call = self.call(&scripts::LETTERS);
            call.arg(from).arg(1).arg(0).arg(Form::Count as u8);
            add_filter(&mut call, filter);
            let answer = self.run_bulk(COUNT, &call).await?;
            let part = self.named(COUNT, Part::read(answer))?;
            number += part.number;
            seat = part.next;
        }
        Ok(number)
    }

    async fn show(&self, ids: &[EnvelopeId]) -> Result<Vec<Option<DeadLetter>>, StoreError> {
        let mut letters = Vec::with_capacity(ids.len());
        while letters.len() < ids.len() {
            let part = part_of(ids, letters.len());
            let call = self.about(&scripts::SHOW, part);
            let answer = self.run_bulk(SHOW, &call).await?;
            let values = self.named(SHOW, reply::part(answer, part.len()))?;
            let shown = part.iter().zip(values);
            let shown: Stepped<Vec<_>> =
                shown.map(|(id, value)| shown_letter(*id, value)).collect();
            letters.extend(self.named(SHOW, shown)?);
        }
        Ok(letters)
    }

    async fn replay(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        const REPLAY: &str = "replay dead letters";
        self.mark_each(REPLAY, &scripts::REPLAY, ids).await
    }

    async fn remove(&self, ids: &[EnvelopeId]) -> Result<Vec<bool>, StoreError> {
        const REMOVE: &str = "remove dead letters";
        self.mark_each(REMOVE, &scripts::REMOVE, ids).await
    }
}

/// What is wanted of letters.
#[derive(Clone, Copy)]
enum Form {
    Count,
    Heads,
    Whole,
}

impl Store {
    /// Does something with dead letters, a part of them at a time; whether each was there.
    async fn mark_each(
        &self,
        operation: &'static str,
        script: &'static Script,
        ids: &[EnvelopeId],
    ) -> Result<Vec<bool>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        while found.len() < ids.len() {
            let part = part_of(ids, found.len());
            let call = self.about(script, part);
            let answer = self.run_through(operation, &call).await?;
            let marks = self.named(operation, reply::marks(answer, part.len()))?;
            found.extend(marks.into_iter().map(|mark| mark == b'1'));
        }
        Ok(found)
    }

    async fn list_as(
        &self,
        form: Form,
        filter: &DeadFilter,
        page: &Page,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut seat = Some(self.first_seat(page).await?);
        let mut letters = Vec::new();
        while let Some(from) = seat.take().filter(|_| letters.len() < page.limit) {
            let mut call = self.call(&scripts::LETTERS);
            call.arg(from)
                .arg(u8::from(page.is_oldest_first))
                .arg(page.limit - letters.len())
                .arg(form as u8);
            add_filter(&mut call, filter);
            let answer = self.run_bulk(LIST, &call).await?;
            let part = self.named(LIST, Part::read(answer))?;
            letters.extend(part.letters);
            seat = part.next;
        }
        Ok(letters)
    }

    /// Before which seat, or after which, a page begins.
    async fn first_seat(&self, page: &Page) -> Result<String, StoreError> {
        let Some(after) = page.after else {
            let first = if page.is_oldest_first { "-1" } else { "+inf" };
            return Ok(first.to_owned());
        };
        let mut command = redis::cmd("ZSCORE");
        let dead = format!("{}dead", self.shared.prefix);
        command.arg(dead).arg(after.as_bytes());
        let answer = self.ask_bulk(LIST, &command).await?;
        let seat = self.named(LIST, reply::some_bytes(answer))?;
        let gone = || {
            let message = format!("{after} is no dead letter any more: list from the beginning");
            Problem::new(StoreErrorKind::Refused, message)
        };
        let seat = seat.ok_or_else(gone);
        let text = seat.map(|seat| String::from_utf8_lossy(&seat).into_owned());
        self.named(LIST, text)
    }
}

fn add_filter(call: &mut Call, filter: &DeadFilter) {
    call.arg(filter.queue.as_ref().map_or("", |queue| queue.as_str()))
        .arg(filter.task.as_ref().map_or("", |task| task.as_str()))
        .arg(filter.reason.map_or("", DeadReason::as_str))
        .arg(filter.since.map_or(0, |since| since.as_millis()));
}

/// A part of the list, as far as one script went.
struct Part {
    next: Option<String>,
    number: u64,
    letters: Vec<DeadLetter>,
}

impl Part {
    fn read(answer: Value) -> Stepped<Self> {
        let mut values = reply::list(answer)?.into_iter();
        let next = reply::text(reply::next(&mut values)?)?;
        let number = reply::number(reply::next(&mut values)?)?;
        let mut letters = Vec::new();
        while let Some(id) = values.next() {
            let id = reply::id(&reply::bytes(id)?)?;
            let entry = Entry::new(id, reply::bytes(reply::next(&mut values)?)?)?;
            letters.push(letter(&entry, &reply::bytes(reply::next(&mut values)?)?)?);
        }
        Ok(Self {
            next: Some(next).filter(|next| !next.is_empty()),
            number,
            letters,
        })
    }
}

fn shown_letter(id: EnvelopeId, value: Value) -> Stepped<Option<DeadLetter>> {
    let mut parts = reply::list(value)?.into_iter();
    let Some(blob) = parts.next() else {
        return Ok(None);
    };
    let entry = Entry::new(id, reply::bytes(blob)?)?;
    letter(&entry, &reply::bytes(reply::next(&mut parts)?)?).map(Some)
}

fn letter(entry: &Entry, grave: &Bytes) -> Stepped<DeadLetter> {
    let unreadable = || Problem::unreadable("the reason of a dead letter", "unknown");
    let end = grave
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(unreadable)?;
    let reason = std::str::from_utf8(&grave[..end])
        .ok()
        .and_then(DeadReason::parse);
    let error = Some(&grave[end + 1..]).filter(|error| !error.is_empty());
    let error = error.map(|error| reply::decode("the error of a dead letter", error));
    Ok(DeadLetter {
        id: entry.id,
        task: entry.task()?,
        queue: entry.queue()?,
        reason: reason.ok_or_else(unreadable)?,
        error: error.transpose()?,
        dead_at: entry.died_at(),
        generation: entry.generation(),
        attempts: entry.attempts(),
        bytes: entry.bytes(),
    })
}
