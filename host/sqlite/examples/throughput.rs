//! How many envelopes a second the store takes, and how many it hands out and settles with their records.
//!
//! `cargo run --release -p stem-sqlite --example throughput -- [ENVELOPES] [CLAIM] [FOLDER] [TASKS]`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]
#![expect(
    clippy::disallowed_methods,
    reason = "configuration and clock of an example"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stem_core::broker::{Broker, Claim, Delivery, Due, Publication, Settling};
use stem_core::clock::{SystemClock, Timestamp};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::names::{Namespace, QueueName, TaskName, WorkerName};
use stem_core::outcome::Settlement;
use stem_core::payload::{JSON, Payload, StoredPayload};
use stem_core::record::{AttemptRecord, End, OutcomeWord, Report, Usage};
use stem_core::state::EndState;
use stem_sqlite::{Options, Store};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const BATCH: usize = 500;

fn main() -> Fallible<()> {
    let argument = |index| std::env::args().nth(index);
    let number = argument(1).map_or(Ok(200_000), |text| text.parse())?;
    let claim = argument(2).map_or(Ok(64), |text| text.parse())?;
    let folder = argument(3).unwrap_or_else(|| "target/throughput".to_owned());
    let tasks = argument(4).map_or(Ok(1), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run(number, claim, &folder, tasks))
}

async fn run(number: usize, claim: usize, folder: &str, tasks: usize) -> Fallible<()> {
    let path = std::path::Path::new(folder).join(format!("{}.db", EnvelopeId::new()));
    let options = Options::new(&path, Namespace::new("stem")?, SystemClock::shared());
    let store = Store::open(options).await?;
    let bytes = Bytes::from(vec![b'x'; 250]);
    let batches: Vec<Vec<Publication>> = (0..number / BATCH)
        .map(|_| {
            (0..BATCH)
                .map(|_| publication(&bytes))
                .collect::<Fallible<_>>()
        })
        .collect::<Fallible<_>>()?;
    let mut started = Started::now();
    for batch in &batches {
        store.publish(batch).await?;
    }
    started.tell("publish", batches.len() * BATCH);
    started = Started::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..tasks {
        workers.spawn(work(Arc::clone(&store), claim, worker));
    }
    let mut settled = 0;
    while let Some(count) = workers.join_next().await {
        settled += count??;
    }
    started.tell("claim and settle", settled);
    drop(store);
    Ok(std::fs::remove_dir_all(folder)?)
}

async fn work(store: Arc<Store>, limit: usize, worker: usize) -> Fallible<usize> {
    let claim = Claim {
        worker: WorkerName::new(format!("worker-{worker}"))?,
        queues: vec![QueueName::new("default")?],
        limit,
        lease: Duration::from_secs(15),
    };
    let mut settled = 0;
    loop {
        let deliveries = store.claim(&claim).await?;
        if deliveries.is_empty() {
            return Ok(settled);
        }
        let settlings: Vec<Settling> = deliveries
            .iter()
            .map(|delivery| succeeded(delivery, &claim.worker))
            .collect();
        settled += store.settle(&settlings).await?.len();
    }
}

fn publication(bytes: &Bytes) -> Fallible<Publication> {
    Ok(Publication {
        id: EnvelopeId::new(),
        task: TaskName::new("word-count")?,
        queue: QueueName::new("default")?,
        priority: 0,
        due: Due::Now,
        bytes: bytes.clone(),
    })
}

fn succeeded(delivery: &Delivery, worker: &WorkerName) -> Settling {
    let at = delivery.claimed_at;
    Settling {
        receipt: delivery.receipt,
        settlement: Settlement::Ack,
        error: None,
        report: Some(Report {
            id: delivery.receipt.id,
            task: Some(delivery.task.clone()),
            queue: delivery.queue.clone(),
            generation: delivery.generation,
            delivery: delivery.receipt.delivery,
            enqueued_at: Some(at),
            attempt: Some(attempt(delivery, worker, at)),
            end: Some(End {
                state: EndState::Succeeded,
                at,
                result: Some(StoredPayload::pack(Payload::new(JSON, "{\"a\":2,\"b\":1}"))),
                error: None,
                reason: None,
            }),
            retention: Duration::from_secs(24 * 3_600),
        }),
    }
}

fn attempt(delivery: &Delivery, worker: &WorkerName, at: Timestamp) -> AttemptRecord {
    AttemptRecord {
        number: 1,
        delivery: delivery.receipt.delivery,
        generation: delivery.generation,
        worker: worker.clone(),
        module: Some(Digest::from_bytes([7; 32])),
        started_at: at,
        ended_at: at,
        outcome: OutcomeWord::Succeeded,
        error: None,
        usage: Usage::default(),
        log: Vec::new(),
        log_dropped: 0,
    }
}

/// When a measurement began, and what the writing thread had used by then.
struct Started(Instant, Duration);

impl Started {
    fn now() -> Self {
        Self(Instant::now(), writer_time())
    }

    fn tell(&self, what: &str, number: usize) {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / number as f64;
        let (wall, writer) = (micros(self.0.elapsed()), micros(writer_time() - self.1));
        let rate = 1e6 / wall;
        println!(
            "{what}: {number}, {rate:.0} a second, {wall:.2} us each, {writer:.2} us of the writer"
        );
    }
}

/// Time on a processor of the thread that writes; zero where the system does not tell.
fn writer_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let is_writer = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm"))
            .is_ok_and(|name| name.starts_with("stem-sqlite-wri"))
    };
    let mut writers = threads
        .map(|thread| thread.path())
        .filter(|path| is_writer(path));
    let statistics = writers
        .next()
        .map(|path| std::fs::read_to_string(path.join("schedstat")));
    let nanos = statistics
        .and_then(Result::ok)
        .and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
