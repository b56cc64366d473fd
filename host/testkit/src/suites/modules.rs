//! What the module store promises: the bytes come back, one version is active, and a task has one owner.

use bytes::Bytes;
use stem_core::grants::Grants;
use stem_core::ids::Digest;
use stem_core::manifest::Manifest;
use stem_core::module_store::{Activated, Activation, CommandLine, DeployedTask, Deployment};
use stem_core::names::KeyId;
use stem_core::policy::TaskPolicy;
use stem_core::signing::PrivateKey;

use crate::builders::{activation, deployed_task, deployment_name, task_name};
use crate::fixture::Fixture;
use crate::process::Process;

/// Name, version and whether it is active, of every deployment.
async fn lines(process: &Process) -> Vec<(String, u32, bool)> {
    let line = |deployment: Deployment| {
        (
            deployment.name.to_string(),
            deployment.version,
            deployment.is_active,
        )
    };
    process.deployments().await.into_iter().map(line).collect()
}

fn line(name: &str, version: u32, is_active: bool) -> (String, u32, bool) {
    (name.to_owned(), version, is_active)
}

/// Which task each active deployment has.
pub(super) async fn owned(process: &Process) -> Vec<String> {
    let deployments = process.deployments().await.into_iter();
    let active = deployments.filter(|deployment| deployment.is_active);
    let tasks = |owner: Deployment| {
        let name = owner.name;
        let tasks = owner.tasks.into_iter();
        tasks.map(move |task| format!("{name} {}", task.name))
    };
    active.flat_map(tasks).collect()
}

/// A task with everything that a task can have.
fn described_task() -> DeployedTask {
    let mut policy = TaskPolicy::default();
    for (key, value) in [
        ("queue", "reports"),
        ("fuel-limit", "1000"),
        ("soft-time-limit", "5s"),
    ] {
        policy.set(key, value).expect("a good setting");
    }
    DeployedTask {
        description: "Counts words".to_owned(),
        payload_schema: Some(r#"{"type":"object"}"#.to_owned()),
        result_schema: Some(r#"{"type":"integer"}"#.to_owned()),
        command: Some(CommandLine {
            arguments: vec!["--quiet".to_owned()],
            result_content_type: Some("text/csv".to_owned()),
        }),
        ..deployed_task("word-count", policy)
    }
}

/// A module with everything that can be said of one, and a signature.
pub(super) fn signed() -> Activation {
    let grants = Grants {
        http: vec!["https://example.com".parse().expect("an origin")],
        ..Grants::default()
    };
    let tasks = vec![
        described_task(),
        deployed_task("line-count", <_>::default()),
    ];
    let (module, name) = (Bytes::from_static(b"one"), deployment_name("text"));
    let manifest = Manifest::new(name, Digest::of(&module), tasks, grants);
    let key = KeyId::new("ci").expect("a test's names keep the rule");
    Activation::new(module, manifest, Some(&PrivateKey::from_seed(key, [7; 32])))
}

/// M2
pub async fn a_module_comes_back_by_its_digest_in_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let large: &[u8] = vec![0xa5; 5 << 20].leak();
    let deployment = here
        .deploy(&activation("text", large, &["word-count"]))
        .await;
    assert_eq!(deployment.digest, Digest::of(large));
    assert_eq!(deployment.size_bytes, 5 << 20);
    assert!(
        there
            .module(large)
            .await
            .is_some_and(|bytes| bytes == large)
    );
    assert_eq!(there.module(b"another").await, None);
}

/// M3
pub async fn a_deployment_is_listed_as_it_was_made(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let activation = signed();
    let Manifest { name, tasks, .. } = activation.manifest.clone();
    let before = here.stores.clock.now();
    let deployment = here.deploy(&activation).await;
    assert_eq!((&deployment.name, &deployment.tasks), (&name, &tasks));
    assert_eq!(deployment.grants, activation.manifest.grants);
    assert_eq!(deployment.sealed, activation.sealed);
    assert!((before..=here.stores.clock.now()).contains(&deployment.deployed_at));
    assert_eq!(there.deployments().await, [deployment]);
}

/// M3
pub async fn versions_count_from_one_under_a_name_and_one_is_active(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let newer = activation("text", b"two", &["word-count"]);
    let older = activation("text", b"one", &["word-count"]);
    let image = activation("image", b"three", &["thumbnail"]);
    for activation in [&older, &newer, &image, &older] {
        assert!(here.deploy(activation).await.is_active);
    }
    let expected = [
        line("image", 1, true),
        line("text", 3, true),
        line("text", 2, false),
        line("text", 1, false),
    ];
    assert_eq!(lines(&there).await, expected);
}

/// M1
pub async fn a_task_of_another_deployment_is_refused(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count", "line-count"]))
        .await;
    let before = (here.deployments().await, here.revision().await);
    let taking = activation("other", b"two", &["markdown", "line-count"]);
    let taken = Activated::TaskTaken {
        task: task_name("line-count"),
        owner: deployment_name("text"),
    };
    assert_eq!(there.activate(&taking).await, taken);
    let after = (here.deployments().await, here.revision().await);
    assert_eq!(after, before);
    assert_eq!(here.module(b"two").await, None);
}

/// M1
pub async fn a_task_is_moved_on_purpose(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count", "line-count"]))
        .await;
    let moving = Activation {
        moves_tasks: true,
        ..activation("other", b"two", &["line-count"])
    };
    here.deploy(&moving).await;
    let owned = owned(&here).await;
    assert_eq!(owned, ["other line-count", "text word-count"]);
}

/// M2: what is signed is no less signed because somebody has taken a task over.
pub async fn a_moved_task_leaves_what_was_signed_as_it_was(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let signed = signed();
    here.deploy(&signed).await;
    let moving = Activation {
        moves_tasks: true,
        ..activation("other", b"two", &["line-count"])
    };
    here.deploy(&moving).await;
    let left = there.deployments().await.pop().expect("it is kept");
    assert_eq!(left.sealed, signed.sealed);
    assert_eq!((left.damage, left.tasks.len()), (None, 1));
}

/// M1: only active versions own tasks.
pub async fn a_task_that_was_given_up_can_be_taken(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count", "line-count"]))
        .await;
    here.deploy(&activation("text", b"two", &["word-count"]))
        .await;
    here.deploy(&activation("other", b"three", &["line-count"]))
        .await;
}

/// M3
pub async fn a_removed_version_goes_with_its_module(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    here.deploy(&activation("text", b"two", &["word-count"]))
        .await;
    assert!(there.undeploy("text", 1).await);
    assert_eq!(lines(&here).await, [line("text", 2, true)]);
    assert_eq!(here.module(b"one").await, None);
    assert!(here.module(b"two").await.is_some());
    assert!(!there.undeploy("text", 1).await);
    assert!(!there.undeploy("other", 2).await);
}

/// M2
pub async fn a_module_stays_while_another_version_needs_it(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    here.deploy(&activation("copy", b"one", &["line-count"]))
        .await;
    assert!(here.undeploy("text", 1).await);
    assert!(here.module(b"one").await.is_some());
    assert!(here.undeploy("copy", 1).await);
    assert_eq!(here.module(b"one").await, None);
    assert_eq!(here.deployments().await, []);
}

/// M3: going back to an older version is a decision, not an accident.
pub async fn removing_the_active_version_makes_no_other_active(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    here.deploy(&activation("text", b"two", &["word-count"]))
        .await;
    assert!(here.undeploy("text", 2).await);
    assert_eq!(lines(&here).await, [line("text", 1, false)]);
}

/// M3: `name@version` never means two modules.
pub async fn a_version_number_is_not_given_again(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    here.deploy(&activation("text", b"two", &["word-count"]))
        .await;
    assert!(here.undeploy("text", 2).await);
    let third = here
        .deploy(&activation("text", b"three", &["word-count"]))
        .await;
    assert_eq!(third.version, 3);
}

/// M3
pub async fn the_revision_grows_with_every_change_and_with_nothing_else(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let activation = activation("text", b"one", &["word-count"]);
    let mut revisions = vec![here.revision().await];
    for _ in 0..2 {
        here.deploy(&activation).await;
        revisions.push(there.revision().await);
    }
    here.reactivate("text", 1, false).await;
    revisions.push(there.revision().await);
    assert!(here.undeploy("text", 1).await);
    revisions.push(there.revision().await);
    assert!(revisions.is_sorted_by(|earlier, later| earlier < later));
    assert!(!here.undeploy("text", 1).await);
    assert_eq!(Some(&here.revision().await), revisions.last());
}

/// B14
pub async fn a_namespace_never_sees_the_deployments_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    ours.deploy(&activation("text", b"one", &["word-count"]))
        .await;
    assert_eq!(theirs.deployments().await, []);
    assert_eq!(theirs.module(b"one").await, None);
    theirs
        .deploy(&activation("other", b"two", &["word-count"]))
        .await;
    assert_eq!(lines(&ours).await, [line("text", 1, true)]);
}
