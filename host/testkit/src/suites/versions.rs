//! What the module store promises of versions: going back, canaries, and that old ones go.

use stem_core::canary::Share;
use stem_core::envelope::Envelope;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, Deployment, KEPT_VERSIONS};

use super::modules::{owned, signed};
use crate::builders::{activation, deployment_name, envelope, publication_of, task_name};
use crate::fixture::Fixture;
use crate::process::Process;

/// A canary with this share.
fn canary(name: &str, module: &'static [u8], tasks: &[&str]) -> Activation {
    Activation {
        canary: Share::from_parts(500),
        ..activation(name, module, tasks)
    }
}

/// A version of `text`, for all of the envelopes of `word-count`.
fn text(module: &'static [u8]) -> Activation {
    activation("text", module, &["word-count"])
}

/// The same for some of them.
fn text_canary(module: &'static [u8]) -> Activation {
    canary("text", module, &["word-count"])
}

/// Deploys one version of `text` after the other.
async fn deploy_all(process: &Process, modules: &[&'static [u8]]) {
    for module in modules {
        process.deploy(&text(module)).await;
    }
}

/// An envelope that is to run on this module alone.
fn pinned_to(module: &[u8]) -> Envelope {
    Envelope {
        module: Some(Digest::of(module)),
        ..envelope()
    }
}

/// The versions of all deployments, newest first: the active one and the canary by name.
async fn roles(process: &Process) -> Vec<(u32, &'static str)> {
    let role = |deployment: Deployment| match (deployment.is_active, deployment.canary) {
        (true, None) => (deployment.version, "active"),
        (false, Some(_)) => (deployment.version, "canary"),
        (false, None) => (deployment.version, "kept"),
        (true, Some(_)) => (deployment.version, "both"),
    };
    process.deployments().await.into_iter().map(role).collect()
}

/// M3
pub async fn an_older_version_is_made_active_again_as_it_was_deployed(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = here.deploy(&signed()).await;
    here.deploy(&activation("text", b"two", &["word-count"]))
        .await;
    let again = here.reactivate("text", 1, false).await;
    let Activated::Done(again) = again else {
        panic!("it is refused: {again:?}");
    };
    assert_eq!(roles(&there).await, [(2, "kept"), (1, "active")]);
    assert_eq!((again.tasks, again.sealed), (first.tasks, first.sealed));
    assert!(again.activated_at >= first.activated_at);
    assert_eq!(again.deployed_at, first.deployed_at);
    assert_eq!(here.reactivate("text", 3, false).await, Activated::NotKept);
}

/// M1, M3: what has gone to another deployment meanwhile comes back only on purpose.
pub async fn an_older_version_takes_no_task_from_another_by_surprise(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count", "line-count"]))
        .await;
    here.deploy(&text(b"two")).await;
    here.deploy(&activation("other", b"three", &["line-count"]))
        .await;
    let taken = Activated::TaskTaken {
        task: task_name("line-count"),
        owner: deployment_name("other"),
    };
    let before = (here.deployments().await, here.revision().await);
    assert_eq!(here.reactivate("text", 1, false).await, taken);
    assert_eq!((here.deployments().await, here.revision().await), before);
    here.reactivate("text", 1, true).await;
    assert_eq!(owned(&here).await, ["text word-count", "text line-count"]);
}

/// M3
pub async fn a_canary_runs_beside_the_active_version_until_one_of_them_wins(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let refused = here.activate(&text_canary(b"two")).await;
    assert_eq!(refused, Activated::NothingActive);
    here.deploy(&text(b"one")).await;
    let canary = here.deploy(&text_canary(b"two")).await;
    assert_eq!(canary.activated_at, None);
    assert_eq!(there.deployments().await[0], canary);
    assert_eq!(roles(&there).await, [(2, "canary"), (1, "active")]);
    assert_eq!(here.end_canary("text").await, Some(2));
    assert_eq!(roles(&there).await, [(2, "kept"), (1, "active")]);
    assert_eq!(here.end_canary("text").await, None);
    here.reactivate("text", 2, false).await;
    assert_eq!(roles(&there).await, [(2, "active"), (1, "kept")]);
}

/// M3: there is one canary at most, and what is deployed for all ends it.
pub async fn a_new_version_takes_the_place_of_a_canary(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&text(b"one")).await;
    here.deploy(&text_canary(b"two")).await;
    here.deploy(&text_canary(b"three")).await;
    assert_eq!(
        roles(&here).await,
        [(3, "canary"), (2, "kept"), (1, "active")]
    );
    here.deploy(&text(b"four")).await;
    let roles = roles(&here).await;
    assert_eq!(
        roles,
        [(4, "active"), (3, "kept"), (2, "kept"), (1, "kept")]
    );
}

/// M1: a canary moves nothing, not even on purpose.
pub async fn a_canary_takes_no_task_from_another_deployment(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    here.deploy(&activation("other", b"two", &["line-count"]))
        .await;
    let greedy = Activation {
        moves_tasks: true,
        ..canary("text", b"three", &["word-count", "line-count"])
    };
    let refused = here.activate(&greedy).await;
    assert!(
        matches!(refused, Activated::TaskTaken { .. }),
        "{refused:?}"
    );
    assert_eq!(owned(&here).await, ["other line-count", "text word-count"]);
}

/// R4: the active version, the canary and what envelopes are pinned to stay; the others go with their modules.
pub async fn old_versions_go_when_new_ones_come(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    deploy_all(&here, &[b"active", b"pinned", b"idle"]).await;
    here.add(&publication_of(&pinned_to(b"pinned"))).await;
    here.reactivate("text", 1, false).await;
    for _ in 0..=KEPT_VERSIONS {
        here.deploy(&text_canary(b"new")).await;
    }
    let kept = roles(&here).await.into_iter();
    let kept: Vec<u32> = kept.map(|(version, _)| version).collect();
    assert_eq!(kept.len(), KEPT_VERSIONS + 2);
    assert_eq!(kept[KEPT_VERSIONS - 1..], [5, 2, 1]);
    assert_eq!(here.module(b"idle").await, None);
    assert!(here.module(b"pinned").await.is_some());
}
