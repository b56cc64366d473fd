//! Producers and workers that go on whatever fails, and what they were told: to be compared with what is stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stem_core::broker::{Claim, Settled, Settling};
use stem_core::ids::EnvelopeId;
use stem_core::state::EndState;
use stem_redis::Options;
use stem_testkit::builders::{DEFAULT_QUEUE, ending, publications, queue_name};
use stem_testkit::process::{Process, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::server::process;

/// How long it may take until everything has ended.
const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_millis(500);

/// Two processes that publish and three that work.
pub struct Load {
    told: Arc<Told>,
    is_over: watch::Sender<bool>,
    producers: JoinSet<()>,
    workers: JoinSet<()>,
}

/// What the store has acknowledged.
#[derive(Default)]
struct Told {
    accepted: Mutex<Vec<EnvelopeId>>,
    ended: Mutex<Vec<EnvelopeId>>,
    number: watch::Sender<usize>,
}

impl Load {
    pub async fn begin(options: &Options) -> Self {
        let mut load = Self {
            told: Arc::default(),
            is_over: watch::Sender::default(),
            producers: JoinSet::new(),
            workers: JoinSet::new(),
        };
        for name in ["first", "second"] {
            let producer = process(name, options).await;
            let (told, is_over) = (Arc::clone(&load.told), load.is_over.subscribe());
            load.producers.spawn(produce(producer, told, is_over));
        }
        for name in ["one", "two", "three"] {
            let worker = process(name, options).await;
            load.workers.spawn(work(worker, Arc::clone(&load.told)));
        }
        load
    }

    /// Waits until so many more envelopes have ended.
    pub async fn progress(&self, number: usize) {
        let mut ended = self.told.number.subscribe();
        let goal = *ended.borrow() + number;
        let reached = within(PATIENCE, ended.wait_for(|ended| *ended >= goal)).await;
        reached.expect("the load holds the sender");
    }

    /// Publishes no more, waits until nothing is left, and compares: whatever was accepted has ended, and once.
    #[expect(clippy::print_stdout, reason = "the counts are shown")]
    pub async fn finish(mut self, observer: &Process) {
        self.is_over.send_replace(true);
        while within(PATIENCE, self.producers.join_next()).await.is_some() {}
        within(PATIENCE, drained(observer)).await;
        let accepted = self.told.accepted.lock().expect("no task panics").clone();
        let ended = self.told.ended.lock().expect("no task panics").clone();
        let distinct: HashSet<_> = ended.iter().collect();
        assert_eq!(distinct.len(), ended.len(), "none was acknowledged twice");
        for id in &accepted {
            let record = observer.record(*id).await.expect("nothing is lost");
            assert_eq!(record.attempts.len(), 1, "{record:?}");
            assert_eq!(record.end.map(|end| end.state), Some(EndState::Succeeded));
        }
        let (accepted, ended) = (accepted.len(), ended.len());
        println!("{accepted} accepted, each ended once; {ended} of these were told so");
    }
}

/// Publishes until it is over, each batch as often as it takes.
async fn produce(process: Process, told: Arc<Told>, is_over: watch::Receiver<bool>) {
    while !*is_over.borrow() {
        let batch = publications(5);
        while process.stores.broker.publish(&batch).await.is_err() {
            tokio::task::yield_now().await;
        }
        let ids = batch.iter().map(|publication| publication.id);
        told.accepted.lock().expect("no task panics").extend(ids);
    }
}

/// Claims, and ends what it has.
async fn work(process: Process, told: Arc<Told>) {
    let mut wakeups = process.work().await;
    let claim = Claim {
        worker: process.worker.clone(),
        queues: vec![queue_name(DEFAULT_QUEUE)],
        limit: 4,
        lease: LEASE,
    };
    loop {
        let claimed = process.stores.broker.claim(&claim).await;
        let claimed = claimed.unwrap_or_default();
        if claimed.is_empty() {
            let _ = wakeups.next().await;
        }
        let endings = claimed.iter().map(|one| ending(one, EndState::Succeeded));
        settle(&process, &endings.collect::<Vec<_>>(), &told).await;
    }
}

/// Settles, as often as it takes.
async fn settle(process: &Process, endings: &[Settling], told: &Told) {
    let settled = loop {
        match process.stores.broker.settle(endings).await {
            Ok(settled) => break settled,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let told_of = endings.iter().zip(settled);
    let done = told_of.filter(|(_, settled)| *settled == Settled::Done);
    let ids: Vec<_> = done.map(|(ending, _)| ending.receipt.id).collect();
    told.number.send_modify(|number| *number += ids.len());
    told.ended.lock().expect("no task panics").extend(ids);
}

async fn drained(observer: &Process) {
    let changes = observer.stores.results.changes().await;
    let mut changes = changes.expect("the store answers");
    while observer.counts().await != [0; 4] {
        changes.next().await.expect("the store answers");
    }
}
