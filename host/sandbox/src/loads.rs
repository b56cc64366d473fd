//! Which tasks are being loaded, so that each is loaded once, and what is wrong with those that cannot be.

use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stem_core::executor::ExecutorError;
use tokio::sync::Notify;

use crate::catalog::Loaded;
use crate::index::Source;

/// Loads that are under way, and why others have failed.
#[derive(Default)]
pub(crate) struct Loads {
    board: Mutex<Board>,
    ended: Notify,
}

#[derive(Default)]
struct Board {
    under_way: Vec<Source>,
    /// What was said of those that failed: it is said once.
    failed: Vec<(Source, String)>,
}

/// One of them, until it is dropped.
pub(crate) struct UnderWay {
    pub(crate) source: Source,
    loads: Arc<Loads>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut board = self.loads.board();
        board.under_way.retain(|other| *other != self.source);
        drop(board);
        self.loads.ended.notify_waiters();
    }
}

impl Loads {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of these that are to be loaded now: nobody does so yet.
    pub(crate) fn begin(self: &Arc<Self>, stale: &[Source]) -> Vec<UnderWay> {
        let mut board = self.board();
        board.failed.retain(|(source, _)| stale.contains(source));
        let is_new = |source: &&Source| !board.under_way.contains(source);
        let begun: Vec<Source> = stale.iter().filter(is_new).cloned().collect();
        board.under_way.extend(begun.iter().cloned());
        let under_way = |source| UnderWay {
            source,
            loads: Arc::clone(self),
        };
        begun.into_iter().map(under_way).collect()
    }

    /// Why a load has failed, if it did, is said where that is news.
    pub(crate) fn note(&self, source: &Source, loaded: &Result<Loaded, ExecutorError>) {
        let problem = match loaded {
            Ok(Ok(_)) => return,
            Ok(Err(failure)) => failure.message.clone(),
            Err(fault) => whole(fault),
        };
        let said = (source.clone(), problem);
        let mut board = self.board();
        if board.failed.contains(&said) {
            return;
        }
        let (task, module) = (&source.task.name, source.digest.short());
        tracing::error!(%task, %module, problem = said.1, "a task cannot be loaded");
        board.failed.retain(|(other, _)| other != source);
        board.failed.push(said);
    }

    /// Returns when none of these is being loaded.
    pub(crate) async fn finished(&self, sources: &[Source]) {
        loop {
            let ended = self.ended.notified();
            let mut ended = std::pin::pin!(ended);
            // From here on no end goes unheard.
            ended.as_mut().enable();
            let is_under_way = {
                let board = self.board();
                sources.iter().any(|one| board.under_way.contains(one))
            };
            if !is_under_way {
                return;
            }
            ended.await;
        }
    }
}

fn whole(fault: &ExecutorError) -> String {
    match fault.source() {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}
