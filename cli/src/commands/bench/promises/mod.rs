//! `bench promises`: what the promises that name a time come to on this machine.

mod measures;

use anyhow::Result;
use serde_json::json;

use super::Setup;
use super::figure::Figure;
use super::rig::Rig;
use super::worker::{BenchWorker, Guest};
use crate::invocation::Invocation;
use crate::progress;
use crate::stores::StoreUrl;

/// Nothing but how often, so far
#[derive(Debug, Default, clap::Args)]
pub struct Args {}

/// A promise that names a time.
struct Promise {
    /// What is measured.
    name: &'static str,
    /// Its number, as ARCHITECTURE lists it.
    number: &'static str,
    /// What is promised, in milliseconds.
    bound: u32,
}

const WAKE_UP: Promise = Promise {
    name: "enqueued to started in an idle worker",
    number: "B6",
    bound: 250,
};
const SEEN: Promise = Promise {
    name: "ended to seen by who waits",
    number: "R3",
    bound: 50,
};
const DUE: Promise = Promise {
    name: "due to started",
    number: "B6",
    bound: 250,
};
const RESUMED: Promise = Promise {
    name: "resumed to started",
    number: "B11",
    bound: 2_000,
};
const CANCELLED: Promise = Promise {
    name: "cancel --now to ended",
    number: "W7",
    bound: 100,
};
const NEW_VERSION: Promise = Promise {
    name: "deployed to started on the new version",
    number: "M3",
    bound: 2_000,
};
const START: Promise = Promise {
    name: "worker started to its first attempt, its module in the cache",
    number: "S5",
    bound: 100,
};
const RESCUED: Promise = Promise {
    name: "worker killed to started elsewhere",
    number: "B3, W6",
    bound: 20_000,
};

/// Measures every promise; those that need a process to be killed only where workers are processes.
pub async fn run(_args: &Args, setup: &Setup, invocation: &Invocation) -> Result<Vec<Figure>> {
    let rig = Rig::new(setup.store()?.as_ref(), &invocation.config).await?;
    let measured = measure(&rig, setup).await;
    rig.close().await?;
    measured
}

async fn measure(rig: &Rig, setup: &Setup) -> Result<Vec<Figure>> {
    let mut figures = with_one_worker(rig, setup).await?;
    if rig.config.broker != StoreUrl::Memory {
        figures.extend(with_many_workers(rig, setup).await?);
    }
    Ok(figures)
}

async fn with_one_worker(rig: &Rig, setup: &Setup) -> Result<Vec<Figure>> {
    let promises = [WAKE_UP, SEEN, DUE, RESUMED, CANCELLED, NEW_VERSION];
    let mut figures = promises.map(|promise| promise.figure(rig));
    let worker = BenchWorker::start(rig, Guest::Sandbox).await?;
    let bar = progress::bar(u64::from(setup.runs), "promises");
    for run in 0..setup.runs {
        let [wake_up, seen, due, resumed, cancelled, new_version] = &mut figures;
        let (started, read) = measures::round_trip(rig).await?;
        wake_up.add(started);
        seen.add(read);
        due.add(measures::due(rig).await?);
        resumed.add(measures::resumed(rig).await?);
        cancelled.add(measures::cancelled(rig).await?);
        new_version.add(measures::new_version(rig, run).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    worker.stop().await?;
    Ok(figures.into())
}

async fn with_many_workers(rig: &Rig, setup: &Setup) -> Result<Vec<Figure>> {
    let mut start = START.figure(rig);
    let mut rescued = RESCUED.figure(rig);
    let bar = progress::bar(
        u64::from(setup.runs),
        "promises of workers that come and go",
    );
    for _ in 0..setup.runs {
        start.add(measures::start(rig).await?);
        rescued.add(measures::rescued(rig).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(vec![start, rescued])
}

impl Promise {
    fn figure(&self, rig: &Rig) -> Figure {
        let mut config = rig.describe();
        config["promise"] = json!(self.number);
        config["bound_ms"] = json!(self.bound);
        Figure::new(self.name, "ms", &config)
    }
}
