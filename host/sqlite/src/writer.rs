//! The one thread that writes: whatever has queued up while it worked goes into the next transaction, all of it.
//!
//! A group runs without savepoints, since a job fails only where something is badly wrong. If one does, the whole
//! group is rolled back and every job runs again in a transaction of its own; so a job can be run more than once.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rusqlite::{CachedStatement, Connection, Params};
use stem_core::clock::{Clock, Timestamp};
use tokio::sync::oneshot;

use crate::open;
use crate::problem::{Problem, Stepped};
use crate::turn::Turnstile;
use crate::wake::{Topic, Topics, Wake};

/// A group's size: enough to share the cost of a commit, and few enough that nobody waits long for his answer.
const GROUP: usize = 256;

/// What a step may use: the open transaction, its time, and whom to wake after it.
pub(crate) struct Step<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) namespace: i64,
    pub(crate) now: Timestamp,
    topics: Cell<Topics>,
}

impl<'c> Step<'c> {
    pub(crate) fn prepare(&self, sql: &str) -> Stepped<CachedStatement<'c>> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Runs a statement and gives how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Stepped<usize> {
        Ok(self.prepare(sql)?.execute(params)?)
    }

    /// Numbers that were never given before: the first of so many in a row.
    pub(crate) fn take_numbers(&self, count: usize) -> Stepped<i64> {
        const TAKE: &str = "UPDATE sequence SET next = next + ?1 RETURNING next - ?1";
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Ok(self.prepare(TAKE)?.query_row([count], |row| row.get(0))?)
    }

    /// Wakes those who wait for this, once the step is committed.
    pub(crate) fn wake(&self, topic: Topic) {
        self.topics.set(self.topics.get().with(topic));
    }
}

/// The writing side of an open store. Dropping it ends the thread, which commits what it has been given first.
pub(crate) struct Writer {
    jobs: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

trait Job: Send {
    fn is_awaited(&self) -> bool;
    fn run(&mut self, step: &Step<'_>) -> Stepped<()>;
    fn answer(self: Box<Self>, outcome: Stepped<()>);
}

struct Call<T, F> {
    work: F,
    result: Option<T>,
    answer: oneshot::Sender<Stepped<T>>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&Step<'_>) -> Stepped<T> + Send,
{
    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(&mut self, step: &Step<'_>) -> Stepped<()> {
        self.result = Some((self.work)(step)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Stepped<()>) {
        let result = self.result.ok_or_else(Problem::stopped);
        // The caller may have gone in the meantime; what is committed stays.
        let _ = self.answer.send(outcome.and(result));
    }
}

impl Writer {
    pub(crate) fn start(desk: Desk) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let thread = thread::Builder::new()
            .name("stem-sqlite-write".into())
            .spawn(move || desk.serve(&queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs a step in a transaction, together with whatever else is queued; it may be run again.
    pub(crate) async fn write<T, F>(&self, work: F) -> Stepped<T>
    where
        T: Send + 'static,
        F: FnMut(&Step<'_>) -> Stepped<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Call {
            work,
            result: None,
            answer,
        });
        let jobs = self.jobs.as_ref().ok_or_else(Problem::stopped)?;
        jobs.send(job).map_err(|_| Problem::stopped())?;
        answered.await.map_err(|_| Problem::stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the calls that it left without an answer.
            let _ = thread.join();
        }
    }
}

/// What the writing thread works with.
pub(crate) struct Desk {
    pub(crate) connection: Connection,
    pub(crate) checkpoints: JoinHandle<()>,
    pub(crate) namespace: i64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) turnstile: Turnstile,
    pub(crate) wake: Arc<Wake>,
}

/// Why a group was not committed.
enum Undone {
    /// It could not begin: nor could any part of it.
    NotBegun(Problem),
    /// One of its jobs failed.
    RolledBack(Problem),
}

impl Desk {
    fn serve(self, queue: &Receiver<Box<dyn Job>>) {
        while let Ok(first) = queue.recv() {
            let others = queue.try_iter().take(GROUP - 1);
            let group = std::iter::once(first)
                .chain(others)
                .filter(|job| job.is_awaited())
                .collect();
            self.carry_out(group);
        }
        open::close(self.connection);
        // A panic of that thread has left a longer log, and nothing else.
        let _ = self.checkpoints.join();
    }

    fn carry_out(&self, mut group: Vec<Box<dyn Job>>) {
        let outcome = self.commit(&mut group);
        match outcome {
            Err(Undone::RolledBack(_)) if group.len() > 1 => {
                group.into_iter().for_each(|job| self.carry_out(vec![job]));
            }
            Ok(()) => group.into_iter().for_each(|job| job.answer(Ok(()))),
            Err(Undone::NotBegun(problem) | Undone::RolledBack(problem)) => {
                for job in group {
                    job.answer(Err(problem.clone()));
                }
            }
        }
    }

    fn commit(&self, group: &mut [Box<dyn Job>]) -> Result<(), Undone> {
        let turn = self.turnstile.take().map_err(Undone::NotBegun)?;
        self.control("BEGIN IMMEDIATE").map_err(Undone::NotBegun)?;
        let topics = self.run(group).and_then(|topics| {
            self.control("COMMIT")?;
            Ok(topics)
        });
        if topics.is_err() && !self.connection.is_autocommit() {
            self.control("ROLLBACK").map_err(Undone::NotBegun)?;
        }
        drop(turn);
        self.wake.announce(topics.map_err(Undone::RolledBack)?);
        Ok(())
    }

    fn run(&self, group: &mut [Box<dyn Job>]) -> Stepped<Topics> {
        open::check_version(&self.connection)?;
        let step = Step {
            connection: &self.connection,
            namespace: self.namespace,
            now: self.clock.now(),
            topics: Cell::default(),
        };
        group.iter_mut().try_for_each(|job| job.run(&step))?;
        Ok(step.topics.get())
    }

    fn control(&self, sql: &str) -> Stepped<()> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
