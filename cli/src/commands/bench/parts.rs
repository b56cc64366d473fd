//! The parts of an attempt, apart, for guests in several languages: an instance, its call, and its end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::Outcome;
use stem_core::payload::{JSON, Payload};
use tokio::sync::watch;

use super::figure::{Figure, permille};
use super::rig::GUEST;
use super::sandbox::{attempt, in_a_thread};
use crate::errors::Failure;
use crate::progress;
use crate::sandbox::{Engine, Overrides, Parts, TimedTask};

/// Attempts of each run that count.
const ATTEMPTS: usize = 2_000;
/// Attempts before them, on the same thread.
const WARM_UP: usize = 100;
const TEXT: &str = r#"{"text":"a b a"}"#;

/// A guest that is measured.
struct Subject {
    language: &'static str,
    /// Where it is built; the first is carried by this program.
    file: Option<&'static str>,
    payload: &'static str,
}

const SUBJECTS: [Subject; 4] = [
    Subject {
        language: "Rust",
        file: None,
        payload: "{}",
    },
    Subject {
        language: "C",
        file: Some("word_count_c.wasm"),
        payload: TEXT,
    },
    Subject {
        language: "JavaScript",
        file: Some("word_count_js.wasm"),
        payload: TEXT,
    },
    Subject {
        language: "Python",
        file: Some("word_count_python.wasm"),
        payload: TEXT,
    },
];

/// One part, and what its figures are called.
struct Part {
    names: [&'static str; 3],
    of: fn(&Parts) -> Duration,
}

/// The shares, in thousandths, that the three figures of a part stand for.
const SHARES: [usize; 3] = [500, 990, 999];

const PARTS: [Part; 4] = [
    Part {
        names: ["instantiate, p50", "instantiate, p99", "instantiate, p99.9"],
        of: |parts| parts.instantiate,
    },
    Part {
        names: ["call, p50", "call, p99", "call, p99.9"],
        of: |parts| parts.call,
    },
    Part {
        names: ["teardown, p50", "teardown, p99", "teardown, p99.9"],
        of: |parts| parts.teardown,
    },
    Part {
        names: ["all of it, p50", "all of it, p99", "all of it, p99.9"],
        of: |parts| parts.instantiate + parts.call + parts.teardown,
    },
];

/// Where guests are looked for, how often they are measured, and on what.
pub struct Bench<'a> {
    pub guests: &'a Path,
    pub runs: u32,
    pub engine: &'a Engine,
    /// What every figure is measured with.
    pub config: &'a Value,
}

impl Bench<'_> {
    /// Measures every guest that is built, and names the others.
    pub async fn measure(&self) -> Result<(Vec<Figure>, Vec<String>)> {
        let (mut figures, mut missing) = (Vec::new(), Vec::new());
        for subject in &SUBJECTS {
            match subject.module(self.guests)? {
                Some(module) => figures.extend(self.measure_one(subject, &module).await?),
                None => missing.push(subject.missing(self.guests)),
            }
        }
        Ok((figures, missing))
    }

    async fn measure_one(&self, subject: &Subject, module: &Bytes) -> Result<Vec<Figure>> {
        let task = self.prepare(subject, module).await?;
        let mut config = self.config.clone();
        config["guest"] = json!(subject.language);
        config["task"] = json!(task.task().name);
        config["attempts"] = json!(ATTEMPTS);
        config["payload_bytes"] = json!(subject.payload.len());
        let figure = |name| Figure::new(name, "µs", &config);
        let mut figures: Vec<[Figure; 3]> =
            PARTS.iter().map(|part| part.names.map(figure)).collect();
        let bar = progress::bar(u64::from(self.runs), subject.language);
        for _ in 0..self.runs {
            let attempts = in_a_thread(|| run(&task, subject))?;
            for (part, figures) in PARTS.iter().zip(&mut figures) {
                add(part, &attempts, figures);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(figures.into_iter().flatten().collect())
    }

    async fn prepare(&self, subject: &Subject, module: &Bytes) -> Result<TimedTask> {
        let attempted = format!("measure the guest in {}", subject.language);
        let overrides = Overrides::default();
        let inspected = self.engine.inspect(module, &overrides, &attempted).await?;
        let mut tasks = inspected.tasks.into_iter();
        let task = tasks.find(|task| !matches!(task.name.as_str(), "sleep" | "spin"));
        let task = task.context("the guest has no task to measure")?;
        self.engine.timed(module, task, &attempted).await
    }
}

impl Subject {
    fn module(&self, guests: &Path) -> Result<Option<Bytes>> {
        let Some(file) = self.file else {
            return Ok(Some(Bytes::from_static(GUEST)));
        };
        match std::fs::read(guests.join(file)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("read the guest in {}", self.language))
            }
        }
    }

    fn missing(&self, guests: &Path) -> String {
        let file = guests.join(self.file.unwrap_or_default());
        format!(
            "{} was not measured: there is no `{}`; `cargo xtask guests --all` builds it, and --guests says where it is",
            self.language,
            file.display()
        )
    }
}

async fn run(task: &TimedTask, subject: &Subject) -> Result<Vec<Parts>> {
    for _ in 0..WARM_UP {
        run_once(task, subject).await?;
    }
    let mut all = Vec::with_capacity(ATTEMPTS);
    for _ in 0..ATTEMPTS {
        all.push(run_once(task, subject).await?);
    }
    Ok(all)
}

async fn run_once(task: &TimedTask, subject: &Subject) -> Result<Parts> {
    let (_sender, stop) = watch::channel(stem_core::executor::Stop::No);
    let payload = Payload::new(JSON, subject.payload);
    let attempt = attempt(task.task(), EnvelopeId::new(), payload, stop);
    let (execution, parts) = task.run(attempt).await?;
    if matches!(execution.outcome, Outcome::Succeeded(_)) {
        return Ok(parts);
    }
    let attempted = format!("measure the guest in {}", subject.language);
    let problem = format!("an attempt did not succeed: {:?}", execution.outcome);
    Err(Failure::refused(attempted, problem).into())
}

fn add(part: &Part, attempts: &[Parts], figures: &mut [Figure; 3]) {
    let micros = |parts: &Parts| (part.of)(parts).as_secs_f64() * 1e6;
    let mut sorted: Vec<f64> = attempts.iter().map(micros).collect();
    sorted.sort_by(f64::total_cmp);
    for (figure, share) in figures.iter_mut().zip(SHARES) {
        figure.add(permille(&sorted, share));
    }
}
