//! How many names are looked up at once where a resolver takes its time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::*;

/// Says when it is asked, and answers when its test lets it.
#[derive(Debug)]
struct Slow {
    asked: SyncSender<()>,
    answer: Mutex<Receiver<()>>,
}

impl Resolver for Slow {
    fn addresses(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let gone = |_| io::Error::other("the test has ended");
        self.asked.send(()).ok();
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.recv().map_err(gone)?;
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

type Lookups = JoinSet<Result<Addresses, Cause>>;

/// Looks so many names up, and counts how many of them are asked about before any is answered.
fn asked_at_once(lookups: &mut Lookups, names: usize) -> usize {
    let ((asked, questions), (answers, answer)) = (sync_channel(names), sync_channel(names));
    let slow = Slow {
        asked,
        answer: Mutex::new(answer),
    };
    let checked = Checked {
        resolver: Arc::new(slow),
        lookups: Arc::new(Semaphore::new(most::LOOKUPS)),
        inmost: Reach::Private,
    };
    for _ in 0..names {
        lookups.spawn(checked.clone().resolve("a.test".to_owned()));
    }
    let first = questions.recv_timeout(Duration::from_secs(20));
    let next = || questions.recv_timeout(Duration::from_millis(500)).ok();
    let asked = first.into_iter().chain(std::iter::from_fn(next)).count();
    (0..names).for_each(|_| answers.send(()).expect("somebody waits"));
    asked
}

/// S3: each takes a thread.
#[test]
fn no_more_names_are_looked_up_at_once_than_may_be() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let mut lookups = Lookups::new();
    assert_eq!(asked_at_once(&mut lookups, 20), 8);
    let found = runtime.block_on(lookups.join_all());
    assert_eq!(found.iter().filter(|found| found.is_ok()).count(), 20);
}
