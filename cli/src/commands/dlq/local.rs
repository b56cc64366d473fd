//! `dlq replay --local`: a dead letter's last attempt once more, here and on its own module version; the stores are
//! only read.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use stem_core::dead_letters::DeadLetter;
use stem_core::envelope::Envelope;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::module_store::Deployment;
use stem_core::names::TaskName;
use stem_core::record::AttemptRecord;
use stem_core::stores::Stores;
use stem_core::units::ByteSize;

use super::selection::not_dead;
use crate::config::Config;
use crate::deployed;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::local::{Attempt, Checkpoint, Place, Plans};
use crate::sandbox::Engine;

/// Runs the last attempt of a dead letter once more.
pub async fn run(
    id: EnvelopeId,
    file: Option<&Path>,
    stores: &Stores,
    invocation: &Invocation,
) -> Result<()> {
    let attempted = format!("replay {id} here");
    let letter = stores.dead_letters.show(&[id]).await?.pop().flatten();
    let letter = letter.ok_or_else(|| not_dead(id, "replay"))?;
    let record = stores.results.records(&[id]).await?.pop().flatten();
    let last = record.and_then(|mut record| record.attempts.pop());
    let mut attempt = open(&letter, last.as_ref(), (stores, &invocation.config))
        .map_err(|error| Failure::refused(&attempted, format!("{error:#}")))?;
    attempt.checkpoint = checkpoint(id, stores, attempt.limit).await?;
    let ran_on = last.and_then(|last| last.module);
    let digest = ran_on.or(attempt.envelope.module);
    let found = find(stores, &letter.task, digest, &attempted).await?;
    deployed::check_runnable(&found, &invocation.config.signing.policy()?, &attempted)?;
    let module = module(&found, stores, &attempted).await?;
    let task = found.task(&letter.task);
    let task = task.expect("it was found by its task").clone();
    let engine = Engine::for_attempts(&stores.clock, &invocation.config)?;
    let program = engine
        .program(&module, (task, &found.grants), &attempted)
        .await?;
    let output = &invocation.output;
    let told = attempt.run(&*program, &stores.clock, output).await?;
    told.tell(&attempted, file, output)
}

/// The dead letter's last attempt, as it was; its first where none has run.
fn open(
    letter: &DeadLetter,
    last: Option<&AttemptRecord>,
    (stores, config): (&Stores, &Config),
) -> Result<Attempt> {
    let mut envelope = Envelope::decode(&letter.bytes)?;
    envelope.queue = letter.queue.clone();
    let limit = config.payload_limit;
    Ok(Attempt {
        plans: Plans::new(&envelope, Some(&stores.modules), (config, &stores.clock))?,
        payload: envelope.payload.unpack(limit)?,
        envelope,
        place: Place {
            number: last.map_or(1, |last| last.number),
            delivery: last.map_or(1, |last| last.delivery),
        },
        checkpoint: Checkpoint::default(),
        limit,
    })
}

/// What its attempts have saved.
async fn checkpoint(id: EnvelopeId, stores: &Stores, limit: ByteSize) -> Result<Checkpoint> {
    let stored = stores.results.load_checkpoint(id).await?;
    let saved = stored.map(|stored| stored.unpack(limit)).transpose();
    Ok(Checkpoint::read_only(saved.context("read the checkpoint")?))
}

/// The version that it ran on; where it never ran, the one that it would run on.
async fn find(
    stores: &Stores,
    task: &TaskName,
    ran_on: Option<Digest>,
    attempted: &str,
) -> Result<Deployment> {
    let deployments = stores.modules.deployments().await?;
    let Some(digest) = ran_on else {
        return Ok(deployed::find_task(deployments, task, "replay")?.0);
    };
    let ran = deployments.into_iter().filter(|one| one.digest == digest);
    let kept = ran.filter(|one| one.task(task).is_some());
    // The one that has the task now, or else the newest of a deployment, which the store lists first: its policy counts.
    let found = kept.min_by_key(|one| !one.is_active);
    Ok(found.ok_or_else(|| removed(digest, attempted))?)
}

/// Its module, as it was deployed.
async fn module(found: &Deployment, stores: &Stores, attempted: &str) -> Result<Bytes> {
    let digest = found.digest;
    let module = stores.modules.module(&digest).await?;
    let module = module.ok_or_else(|| removed(digest, attempted))?;
    match Digest::of(&module) == digest {
        true => Ok(module),
        false => {
            let problem = "the module that was read is not what was deployed";
            Err(Failure::refused(attempted, problem).into())
        }
    }
}

fn removed(digest: Digest, attempted: &str) -> Failure {
    let problem = format!("the module {} that it ran on was removed", digest.short());
    Failure::not_found(attempted, problem)
        .hint("deploy that module again; without --local it runs on what is deployed now")
}
