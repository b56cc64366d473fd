//! What the module store promises: the bytes come back, one version is active, and a task has one owner.

use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, Deployment};
use stem_core::policy::TaskPolicy;

use crate::builders::{activation, deployed_task, deployment_name, task_name};
use crate::fixture::Fixture;
use crate::process::Process;

async fn activate(process: &Process, activation: &Activation) -> Deployment {
    match process.activate(activation).await {
        Activated::Done(deployment) => deployment,
        Activated::TaskTaken { task, owner } => panic!("`{task}` belongs to `{owner}`"),
    }
}

async fn deployments(process: &Process) -> Vec<Deployment> {
    let deployments = process.stores.modules.deployments().await;
    deployments.expect("the store answers")
}

/// Name, version and whether it is active, of every deployment.
async fn lines(process: &Process) -> Vec<(String, u32, bool)> {
    let line = |deployment: Deployment| {
        (
            deployment.name.to_string(),
            deployment.version,
            deployment.is_active,
        )
    };
    deployments(process).await.into_iter().map(line).collect()
}

fn line(name: &str, version: u32, is_active: bool) -> (String, u32, bool) {
    (name.to_owned(), version, is_active)
}

async fn module(process: &Process, bytes: &[u8]) -> Option<bytes::Bytes> {
    let module = process.stores.modules.module(&Digest::of(bytes)).await;
    module.expect("the store answers")
}

async fn remove(process: &Process, name: &str, version: u32) -> bool {
    let removed = process
        .stores
        .modules
        .remove(&deployment_name(name), version)
        .await;
    removed.expect("the store answers")
}

async fn revision(process: &Process) -> u64 {
    process
        .stores
        .modules
        .revision()
        .await
        .expect("the store answers")
}

/// M2
pub async fn a_module_comes_back_by_its_digest_in_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let large: &[u8] = vec![0xa5; 5 << 20].leak();
    let deployment = activate(&here, &activation("text", large, &["word-count"])).await;
    assert_eq!(deployment.digest, Digest::of(large));
    assert_eq!(deployment.size_bytes, 5 << 20);
    assert!(
        module(&there, large)
            .await
            .is_some_and(|bytes| bytes == large)
    );
    assert_eq!(module(&there, b"another").await, None);
}

/// M3
pub async fn a_deployment_is_listed_as_it_was_made(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut policy = TaskPolicy::default();
    policy.set("queue", "reports").expect("a good setting");
    policy.set("fuel-limit", "1000").expect("a good setting");
    let mut task = deployed_task("word-count", policy);
    task.description = "Counts words".to_owned();
    task.payload_schema = Some(r#"{"type":"object"}"#.to_owned());
    let activation = Activation {
        tasks: vec![task, deployed_task("line-count", TaskPolicy::default())],
        ..activation("text", b"one", &[])
    };
    let before = here.stores.clock.now();
    let deployment = activate(&here, &activation).await;
    assert_eq!(deployments(&there).await, std::slice::from_ref(&deployment));
    assert_eq!(
        (deployment.name, deployment.tasks),
        (activation.name, activation.tasks)
    );
    assert!((before..=here.stores.clock.now()).contains(&deployment.deployed_at));
}

/// M3
pub async fn versions_count_from_one_under_a_name_and_one_is_active(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    activate(&here, &activation("text", b"one", &["word-count"])).await;
    activate(&there, &activation("text", b"two", &["word-count"])).await;
    activate(&here, &activation("image", b"three", &["thumbnail"])).await;
    let newest = activate(&here, &activation("text", b"one", &["word-count"])).await;
    assert_eq!((newest.version, newest.is_active), (3, true));
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
    activate(
        &here,
        &activation("text", b"one", &["word-count", "line-count"]),
    )
    .await;
    let (before, counted) = (deployments(&here).await, revision(&here).await);
    let taking = activation("other", b"two", &["markdown", "line-count"]);
    let taken = Activated::TaskTaken {
        task: task_name("line-count"),
        owner: deployment_name("text"),
    };
    assert_eq!(there.activate(&taking).await, taken);
    assert_eq!(
        (deployments(&here).await, revision(&here).await),
        (before, counted)
    );
    assert_eq!(module(&here, b"two").await, None);
}

/// M1
pub async fn a_task_is_moved_on_purpose(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    activate(
        &here,
        &activation("text", b"one", &["word-count", "line-count"]),
    )
    .await;
    let moving = Activation {
        moves_tasks: true,
        ..activation("other", b"two", &["line-count"])
    };
    activate(&here, &moving).await;
    let owners = deployments(&here).await;
    let has = |name: &str, task: &str| {
        let mut active = owners.iter().filter(|deployment| deployment.is_active);
        active.any(|owner| owner.name.as_str() == name && owner.task(&task_name(task)).is_some())
    };
    assert!(has("other", "line-count") && !has("text", "line-count"));
    assert!(has("text", "word-count"));
}

/// M1: only active versions own tasks.
pub async fn a_task_that_was_given_up_can_be_taken(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    activate(
        &here,
        &activation("text", b"one", &["word-count", "line-count"]),
    )
    .await;
    activate(&here, &activation("text", b"two", &["word-count"])).await;
    activate(&here, &activation("other", b"three", &["line-count"])).await;
}

/// M3
pub async fn a_removed_version_goes_with_its_module(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    activate(&here, &activation("text", b"one", &["word-count"])).await;
    activate(&here, &activation("text", b"two", &["word-count"])).await;
    assert!(remove(&there, "text", 1).await);
    assert_eq!(lines(&here).await, [line("text", 2, true)]);
    assert_eq!(module(&here, b"one").await, None);
    assert!(module(&here, b"two").await.is_some());
    assert!(!remove(&there, "text", 1).await);
    assert!(!remove(&there, "other", 2).await);
}

/// M2
pub async fn a_module_stays_while_another_version_needs_it(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    activate(&here, &activation("text", b"one", &["word-count"])).await;
    activate(&here, &activation("copy", b"one", &["line-count"])).await;
    assert!(remove(&here, "text", 1).await);
    assert!(module(&here, b"one").await.is_some());
    assert!(remove(&here, "copy", 1).await);
    assert_eq!(module(&here, b"one").await, None);
    assert_eq!(deployments(&here).await, []);
}

/// M3: going back to an older version is a decision, not an accident.
pub async fn removing_the_active_version_makes_no_other_active(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    activate(&here, &activation("text", b"one", &["word-count"])).await;
    activate(&here, &activation("text", b"two", &["word-count"])).await;
    assert!(remove(&here, "text", 2).await);
    assert_eq!(lines(&here).await, [line("text", 1, false)]);
}

/// M3: `name@version` never means two modules.
pub async fn a_version_number_is_not_given_again(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    activate(&here, &activation("text", b"one", &["word-count"])).await;
    activate(&here, &activation("text", b"two", &["word-count"])).await;
    assert!(remove(&here, "text", 2).await);
    let third = activate(&here, &activation("text", b"three", &["word-count"])).await;
    assert_eq!(third.version, 3);
}

/// M3
pub async fn the_revision_grows_with_every_change_and_with_nothing_else(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let mut last = revision(&here).await;
    for change in 0..3 {
        if change == 2 {
            assert!(remove(&here, "text", 1).await);
        } else {
            activate(&here, &activation("text", b"one", &["word-count"])).await;
        }
        let next = revision(&there).await;
        assert!(next > last, "{next} after {last}");
        assert_eq!(revision(&here).await, next);
        last = next;
    }
    assert!(!remove(&here, "text", 1).await);
    assert_eq!(revision(&there).await, last);
}

/// B14
pub async fn a_namespace_never_sees_the_deployments_of_another(fixture: &dyn Fixture) {
    let (ours, theirs) = Process::strangers(fixture).await;
    activate(&ours, &activation("text", b"one", &["word-count"])).await;
    assert_eq!(deployments(&theirs).await, []);
    assert_eq!(module(&theirs, b"one").await, None);
    activate(&theirs, &activation("other", b"two", &["word-count"])).await;
    assert_eq!(lines(&ours).await, [line("text", 1, true)]);
}
