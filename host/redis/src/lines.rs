//! Lines on which claims are asked for: what an answer gave that never arrived goes back, and its worker was not lost (B5).
//!
//! A line asks for one claim after the other, and numbers them; a claim says which was the last one whose answer has
//! arrived. Another process has other lines, also where its worker has the same name: what that one has leased is its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::link::Call;

/// The lines of a store that nobody is asking on.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<Line>>);

struct Line {
    name: [u8; 8],
    /// The number of the newest claim.
    asked: u64,
    /// The number of the newest one whose answer has arrived.
    arrived: u64,
}

impl Line {
    fn is_answered(&self) -> bool {
        self.arrived == self.asked
    }
}

impl Lines {
    /// A line to ask on: one that lacks an answer where there is one.
    pub(crate) fn take(&self) -> Taken<'_> {
        let unanswered = self.take_unanswered();
        unanswered.unwrap_or_else(|| self.taken(self.lock().pop()))
    }

    /// A line that lacks an answer.
    pub(crate) fn take_unanswered(&self) -> Option<Taken<'_>> {
        let mut lines = self.lock();
        let place = lines.iter().position(|line| !line.is_answered())?;
        let line = lines.swap_remove(place);
        Some(self.taken(Some(line)))
    }

    fn taken(&self, line: Option<Line>) -> Taken<'_> {
        let new = || Line {
            name: rand::random(),
            asked: 0,
            arrived: 0,
        };
        Taken {
            lines: self,
            line: Some(line.unwrap_or_else(new)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that somebody asks on; free again when it is dropped, with or without an answer.
pub(crate) struct Taken<'a> {
    lines: &'a Lines,
    line: Option<Line>,
}

impl Taken<'_> {
    /// Adds the line and the number of its next claim.
    pub(crate) fn ask(&mut self, call: &mut Call) {
        if let Some(line) = &mut self.line {
            line.asked += 1;
            call.arg(&line.name).arg(line.asked).arg(line.arrived);
        }
    }

    /// The answer of the newest claim has arrived.
    pub(crate) fn hear(&mut self) {
        if let Some(line) = &mut self.line {
            line.arrived = line.asked;
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.lines.lock().extend(self.line.take());
    }
}
