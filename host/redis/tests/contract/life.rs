//! One of everything that a namespace is used for, so that a test can look at what that costs and what it leaves.

use std::time::Duration;

use stem_core::control::Command;
use stem_core::dead_letters::DeadFilter;
use stem_core::outcome::Settlement;
use stem_core::queues::CancelMode;
use stem_core::state::EndState;
use stem_testkit::builders::{
    DEFAULT_BUCKET, activation, delayed, derived, fence, half_way, heartbeat, publication,
    publications, put, removal, urgent,
};
use stem_testkit::process::Process;

const SHORT: Duration = Duration::from_millis(100);

/// Lives once: `pass` lets time go by for the server.
pub async fn live(here: &Process, there: &Process, pass: impl AsyncFn(Duration)) {
    end_in_every_way(here, &pass).await;
    lose_a_worker(here, there, &pass).await;
    look_after_queues(here).await;
    bury_and_replay(here).await;
    use_the_other_stores(here).await;
}

async fn end_in_every_way(here: &Process, pass: &impl AsyncFn(Duration)) {
    here.add_all(&publications(5)).await;
    here.add_all(&[urgent(9), delayed(SHORT), derived()]).await;
    let first = here.claim_one().await;
    here.save_progress(&fence(&first), &half_way(&*here.stores.clock))
        .await;
    here.save_checkpoint(&fence(&first), "1").await;
    here.settle(&first, Settlement::Retry(SHORT)).await;
    here.settle_next(Settlement::Snooze(SHORT)).await;
    here.settle_next(Settlement::ReleaseAfterFault(SHORT)).await;
    here.settle_next(Settlement::Release).await;
    pass(SHORT).await;
    for delivery in here.claim(100).await {
        here.end(&delivery, EndState::Succeeded).await;
    }
}

async fn lose_a_worker(here: &Process, there: &Process, pass: &impl AsyncFn(Duration)) {
    here.add_all(&publications(2)).await;
    there.beat(&heartbeat("there")).await;
    there.claim_for(SHORT).await;
    pass(SHORT).await;
    for delivery in here.claim(2).await {
        here.end(&delivery, EndState::Expired).await;
    }
    here.beat(&heartbeat("here")).await;
    here.leave("here").await;
}

async fn look_after_queues(here: &Process) {
    let waiting = here.add(&publication()).await;
    here.set_paused(true).await;
    here.queues().await;
    here.waiting(10).await;
    here.count_waiting(&["word-count"]).await;
    here.look_up(waiting).await;
    here.set_paused(false).await;
    here.cancel(waiting, CancelMode::Ask).await;
}

async fn bury_and_replay(here: &Process) {
    let ids = [here.bury(&derived()).await, here.bury(&publication()).await];
    here.dead(&DeadFilter::default()).await;
    here.replay(&ids[..1]).await;
    let replayed = here.claim_one().await;
    here.end(&replayed, EndState::Succeeded).await;
    here.remove(&ids[1..]).await;
    here.bury(&publication()).await;
}

async fn use_the_other_stores(here: &Process) {
    let mut listener = here.listen().await;
    here.broadcast(&Command::DeploymentsChanged).await;
    listener.hear(1).await;
    here.workers().await;
    here.fill(&[put("a", "1"), put("b", "2"), removal("a")])
        .await;
    here.buckets().await;
    here.key_names(10).await;
    here.get(DEFAULT_BUCKET, &["a", "b"])
        .await
        .expect("it is small");
    here.clear(10).await;
    let deployed = here
        .deploy(&activation("text", b"module", &["word-count"]))
        .await;
    here.deployments().await;
    here.undeploy("text", deployed.version).await;
    here.sweep().await;
    for upkeep in &here.stores.upkeep {
        upkeep.describe().await.expect("the store answers");
    }
}
