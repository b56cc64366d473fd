//! How long after its hard time limit a guest is ended that does not end by itself (S3).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use stem_core::clock::Clock;
use stem_core::executor::{Program, Stop};
use stem_core::ids::EnvelopeId;
use stem_core::outcome::{FailureKind, Limit, Outcome};
use tokio::sync::watch;

use super::figure::Figure;
use super::rig::payload;
use super::sandbox::{attempt, in_a_thread};
use crate::errors::Failure;

/// Long enough for a guest to be at work.
const HARD_TIME: Duration = Duration::from_millis(100);
/// What is promised, in milliseconds.
const BOUND: u32 = 50;

/// Measures guests that loop, and that sleep.
pub fn measure(
    programs: &[Arc<dyn Program>],
    runs: u32,
    clock: &dyn Clock,
    config: &Value,
) -> Result<Vec<Figure>> {
    let measured = programs.iter().map(|program| {
        let mut config = config.clone();
        config["task"] = json!(program.task().name);
        config["bound_ms"] = json!(BOUND);
        let mut figure = Figure::new("hard time limit passed to ended", "ms", &config);
        for _ in 0..runs {
            let took = in_a_thread(|| run(program.as_ref(), clock))?;
            figure.add(took.saturating_sub(HARD_TIME).as_secs_f64() * 1_000.0);
        }
        Ok(figure)
    });
    measured.collect()
}

async fn run(program: &dyn Program, clock: &dyn Clock) -> Result<Duration> {
    let (_sender, stop) = watch::channel(Stop::No);
    let mut attempt = attempt(program.task(), EnvelopeId::new(), payload(), stop);
    attempt.limits.hard_time = HARD_TIME;
    let began = clock.monotonic();
    let execution = program.run(attempt).await?;
    let took = clock.monotonic() - began;
    if is_hard_time(&execution.outcome) {
        return Ok(took);
    }
    let outcome = execution.outcome;
    let problem = format!("a guest that does not end by itself has ended: {outcome:?}");
    Err(Failure::refused("measure a hard time limit", problem).into())
}

fn is_hard_time(outcome: &Outcome) -> bool {
    let Outcome::Failed(failure) = outcome else {
        return false;
    };
    let limit = Limit::HardTime;
    matches!(failure.kind, FailureKind::Limit { limit: crossed, .. } if crossed == limit)
}
