//! Shows the whole system at work on an embedded store: real input, a module that wants more than it is given, a task
//! that misbehaves, its dead letter and its replay. Everything goes through the built command, as any user would do it.

mod host;
mod samples;
mod show;

use std::fs;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::command::{self, cargo, root};
use crate::guests;
use host::Host;
use samples::Sample;

/// No step of the demonstration takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the task that loops for ever may run.
const HARD_LIMIT: &str = "2s";
const NEIGHBOURS: usize = 20;
/// Those whose work is to be seen; the others are for tests.
const EXAMPLES: [&str; 6] = [
    "csv-report",
    "markdown",
    "misbehave",
    "thumbnail",
    "word-count",
    UNGRANTED,
];
/// The one that needs more than computing.
const UNGRANTED: &str = "fan-out";

/// Runs the demonstration.
pub fn run() -> Result<()> {
    show::title("Build (some minutes the first time, seconds afterwards)");
    guests::install_target()?;
    command::run(cargo(&["build", "--workspace", "--bins"]))?;
    command::run(guests::build_command()?)?;
    let host = Host::on_a_new_store()?;
    deploy(&host)?;
    refuse(&host)?;
    let samples = enqueue(&host)?;
    let lines = enqueue_lines(&host)?;
    show::title("Run a worker");
    let worker = host.worker()?;
    follow(&host, samples.len() + lines)?;
    tell_results(&host, &samples)?;
    misbehave(&host)?;
    worker.stop()?;
    show::next();
    Ok(())
}

fn deploy(host: &Host) -> Result<()> {
    show::title("Deploy the examples");
    for example in EXAMPLES {
        let module = guests::built(example).display().to_string();
        let policy = root()
            .join("tasks-examples")
            .join(example)
            .join("stem.toml");
        let policy = policy.exists().then(|| policy.display().to_string());
        let mut arguments = vec!["deploy", &module];
        if let Some(policy) = &policy {
            arguments.extend(["--policy", policy]);
        }
        if example == "misbehave" {
            arguments.extend(["--hard", HARD_LIMIT]);
        }
        let deployed = host.json(&arguments)?;
        let size = deployed["size_bytes"].as_u64().unwrap_or_default() / 1024;
        show::line(format!(
            "{example:<12} {size:>5} KiB   {}",
            short(&deployed["digest"])
        ));
    }
    Ok(())
}

/// What becomes of a module whose operator has granted nothing.
fn refuse(host: &Host) -> Result<()> {
    show::title("Deploy one without its grant");
    let module = guests::built(UNGRANTED).display().to_string();
    let refusal = host.refusal(&["deploy", &module])?;
    refusal.lines().for_each(show::line);
    Ok(())
}

/// The first digits of a digest.
fn short(digest: &Value) -> &str {
    let digest = digest.as_str().unwrap_or_default();
    digest.get(..12).unwrap_or(digest)
}

fn enqueue(host: &Host) -> Result<Vec<Sample>> {
    show::title("Enqueue real input");
    let mut samples = samples::all(host)?;
    for sample in &mut samples {
        let payload = format!("@{}", sample.file.display());
        let mut arguments = vec!["enqueue", sample.task, "--payload", &payload];
        arguments.extend(&sample.flags);
        let enqueued = host.json(&arguments)?;
        sample.id = enqueued["id"]
            .as_str()
            .context("`enqueue --json` gives an id")?
            .to_owned();
    }
    let tasks = ["markdown", "word-count", "csv-report", "thumbnail"];
    for task in tasks {
        let count = samples.iter().filter(|sample| sample.task == task).count();
        show::line(format!("{task:<12} {count:>3}"));
    }
    Ok(samples)
}

/// Every line of the documents is an envelope of its own: enough of them to see a queue empty.
fn enqueue_lines(host: &Host) -> Result<usize> {
    let file = format!("@{}", samples::lines(host)?.display());
    let ids = host.lines(&["enqueue", "word-count", "--each", &file])?;
    show::line(format!(
        "{:<12} {:>3}, one for each line of the documents",
        "word-count",
        ids.len()
    ));
    Ok(ids.len())
}

/// Shows how the queue empties.
fn follow(host: &Host, all: usize) -> Result<()> {
    let bar = match std::io::stdout().is_terminal() {
        true => ProgressBar::new(all as u64),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} ended");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let began = now();
    loop {
        let alive = alive(host)?;
        bar.set_position((all as u64).saturating_sub(alive));
        if alive == 0 {
            break;
        }
        if began.elapsed() > PATIENCE {
            bail!("running the samples: {alive} of {all} have not ended after a minute");
        }
    }
    bar.finish_and_clear();
    let took = began.elapsed().as_millis();
    show::line(format!(
        "{all} envelopes ended within {took} ms, each in a sandbox of its own"
    ));
    Ok(())
}

fn alive(host: &Host) -> Result<u64> {
    let queues = host.json(&["queue", "list"])?;
    let of_queue = |queue: &Value| -> u64 {
        ["queued", "scheduled", "running"]
            .iter()
            .filter_map(|word| queue[*word].as_u64())
            .sum()
    };
    Ok(queues.as_array().into_iter().flatten().map(of_queue).sum())
}

fn tell_results(host: &Host, samples: &[Sample]) -> Result<()> {
    show::title("The results");
    let mut rows = Vec::new();
    for sample in samples {
        let outcome = host.outcome(&sample.id)?;
        if outcome["state"] != "succeeded" {
            bail!(
                "running {} on {}: {}",
                sample.task,
                sample.input,
                outcome["error"]
            );
        }
        let cpu = outcome["attempts"][0]["cpu_ms"]
            .as_f64()
            .unwrap_or_default();
        rows.push([
            sample.task.to_owned(),
            sample.input.clone(),
            sample.summary(&outcome["result"]),
            format!("{cpu:.1} ms"),
        ]);
    }
    show::table(["task", "input", "result", "cpu"], &rows);
    let picture = samples.iter().find(|sample| sample.task == "thumbnail");
    if let Some(sample) = picture {
        let file = root().join("target/demo/hills-small.png");
        host.json(&[
            "result",
            &sample.id,
            "--output",
            &file.display().to_string(),
        ])
        .ok();
        if fs::metadata(&file).is_ok() {
            show::line("the small picture is in target/demo/hills-small.png");
        }
    }
    Ok(())
}

/// A loop without end, the neighbours that do not notice, the dead letter, and its replay.
fn misbehave(host: &Host) -> Result<()> {
    show::title("A task that never ends");
    let began = now();
    let fate = json!({"fate": "spin"}).to_string();
    let arguments = [
        "enqueue",
        "misbehave",
        "--payload",
        &fate,
        "--max-attempts",
        "1",
    ];
    let enqueued = host.json(&arguments)?;
    let id = enqueued["id"]
        .as_str()
        .context("`enqueue --json` gives an id")?;
    host.until(id, "running")?;
    show::line(format!(
        "misbehave loops for ever; its hard limit is {HARD_LIMIT}"
    ));
    count_meanwhile(host)?;
    let outcome = host.outcome(id)?;
    let error = &outcome["error"];
    show::line(format!(
        "it was ended after {:.1} s: {} ({})",
        began.elapsed().as_secs_f64(),
        error["kind"].as_str().unwrap_or_default(),
        error["message"].as_str().unwrap_or_default()
    ));
    let letter = host.json(&["dlq", "list"])?;
    show::line(format!(
        "its dead letter: {} because {}",
        id,
        letter[0]["reason"].as_str().unwrap_or_default()
    ));
    replay(host, id)
}

fn count_meanwhile(host: &Host) -> Result<()> {
    let began = now();
    let mut ids = Vec::new();
    for number in 0..NEIGHBOURS {
        let payload = json!({"text": format!("neighbour number {number}")}).to_string();
        let enqueued = host.json(&["enqueue", "word-count", "--payload", &payload])?;
        ids.push(
            enqueued["id"]
                .as_str()
                .context("`enqueue --json` gives an id")?
                .to_owned(),
        );
    }
    for id in &ids {
        let outcome = host.outcome(id)?;
        if outcome["state"] != "succeeded" {
            bail!(
                "counting words beside a task that loops: {}",
                outcome["error"]
            );
        }
    }
    show::line(format!(
        "meanwhile {NEIGHBOURS} texts were enqueued, counted and read back in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn replay(host: &Host, id: &str) -> Result<()> {
    host.json(&["dlq", "replay", id])?;
    host.until(id, "running")?;
    show::line("replayed: it loops again, as a new generation with its attempts before it");
    let began = now();
    host.json(&["cancel", id, "--now"])?;
    host.until(id, "cancelled")?;
    show::line(format!(
        "cancelled with --now: it was gone {} ms later",
        began.elapsed().as_millis()
    ));
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what people are shown is real time"
)]
fn now() -> Instant {
    Instant::now()
}
