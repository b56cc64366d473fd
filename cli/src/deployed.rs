//! What is deployed: finding versions by what people write, and counting what waits for their tasks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use stem_core::control::Command;
use stem_core::manifest::SignaturePolicy;
use stem_core::module_store::{DeployedTask, Deployment};
use stem_core::names::{DeploymentName, TaskName, nearest};
use stem_core::stores::Stores;

use crate::errors::Failure;

/// A digest's beginning that is long enough to be meant as one.
const SHORTEST_PREFIX: usize = 4;

/// The versions that NAME (all of it), NAME@VERSION or a digest's beginning means; newest first.
pub fn select<'a>(
    deployments: &'a [Deployment],
    text: &str,
    verb: &str,
) -> Result<Vec<&'a Deployment>> {
    let attempted = || format!("{verb} `{text}`");
    let (name, version) = match text.rsplit_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let named: Vec<&Deployment> = deployments
        .iter()
        .filter(|deployment| deployment.name.as_str() == name)
        .collect();
    if let (Some(version), false) = (version, named.is_empty()) {
        let wanted = version.parse::<u32>().ok();
        let found = named.iter().find(|one| Some(one.version) == wanted);
        return match found {
            Some(found) => Ok(vec![found]),
            None => Err(Failure::not_found(attempted(), no_version(&named)).into()),
        };
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let by_digest = by_digest(deployments, text);
    let digests: BTreeSet<_> = by_digest.iter().map(|one| one.digest).collect();
    match digests.len() {
        0 => Err(Failure::not_found(attempted(), nothing(deployments, name)).into()),
        1 => Ok(by_digest),
        count => {
            let problem = format!("{count} modules begin so: write more of the digest");
            Err(Failure::usage(attempted(), problem).into())
        }
    }
}

/// The one version that is meant: of a name, or of a module that was deployed more than once, the active one or else the
/// newest.
pub fn one<'a>(deployments: &'a [Deployment], text: &str, verb: &str) -> Result<&'a Deployment> {
    let found = select(deployments, text, verb)?;
    let active = found.iter().find(|one| one.is_active);
    Ok(active.unwrap_or(&found[0]))
}

fn no_version(named: &[&Deployment]) -> String {
    let versions: Vec<String> = named.iter().map(|one| one.version.to_string()).collect();
    format!("there is no such version: kept are {}", versions.join(", "))
}

fn nothing(deployments: &[Deployment], name: &str) -> String {
    let names = deployments
        .iter()
        .map(|deployment| deployment.name.as_str());
    let hint = nearest(name, names).map(|near| format!("; did you mean `{near}`?"));
    format!(
        "nothing is deployed under this name or digest{}",
        hint.unwrap_or_default()
    )
}

fn by_digest<'a>(deployments: &'a [Deployment], prefix: &str) -> Vec<&'a Deployment> {
    let is_hex = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if prefix.len() < SHORTEST_PREFIX || !is_hex {
        return Vec::new();
    }
    let prefix = prefix.to_lowercase();
    deployments
        .iter()
        .filter(|deployment| deployment.digest.to_string().starts_with(&prefix))
        .collect()
}

/// An active task with the deployment that it belongs to.
pub fn find_task(
    deployments: Vec<Deployment>,
    task: &TaskName,
    verb: &str,
) -> Result<(Deployment, DeployedTask)> {
    let active: Vec<Deployment> = deployments
        .into_iter()
        .filter(|deployment| deployment.is_active)
        .collect();
    for deployment in &active {
        if let Some(found) = deployment.task(task) {
            return Ok((deployment.clone(), found.clone()));
        }
    }
    let names = active.iter().flat_map(|deployment| &deployment.tasks);
    let hint = nearest(task.as_str(), names.map(|task| task.name.as_str()));
    let hint = hint.map_or_else(
        || ": deploy its module first".to_owned(),
        |near| format!("; did you mean `{near}`?"),
    );
    let problem = format!("no task named `{task}`{hint}");
    Err(Failure::not_found(format!("{verb} `{task}`"), problem).into())
}

/// How many envelopes wait for each of these tasks; tasks that none waits for are left out.
pub async fn waiting_for(
    stores: &Stores,
    tasks: &BTreeSet<TaskName>,
) -> Result<BTreeMap<TaskName, u64>> {
    match tasks.is_empty() {
        true => Ok(BTreeMap::new()),
        // What is published meanwhile may be missed: the check is for people, and nothing is lost without it.
        false => Ok(stores.queues.count_waiting(tasks).await?),
    }
}

/// `text@2`.
pub fn title(deployment: &Deployment) -> String {
    format!("{}@{}", deployment.name, deployment.version)
}

/// Refuses what workers with these settings would refuse (M2).
pub fn check_runnable(one: &Deployment, policy: &SignaturePolicy, attempted: &str) -> Result<()> {
    let checked = policy.check(&one.sealed);
    let problem = checked.err().map(|failure| failure.message);
    match problem.or_else(|| one.damage.clone()) {
        None => Ok(()),
        Some(problem) => {
            let problem = format!("{} cannot be run: {problem}", title(one));
            Err(Failure::refused(attempted, problem).into())
        }
    }
}

/// The version that is active under this name.
pub fn active<'a>(deployments: &'a [Deployment], name: &DeploymentName) -> Option<&'a Deployment> {
    let mut own = deployments.iter().filter(|one| one.name == *name);
    own.find(|one| one.is_active)
}

/// Tasks that the active version has and a new one has not.
pub fn dropped(active: Option<&Deployment>, kept: &[TaskName]) -> BTreeSet<TaskName> {
    let tasks = active.into_iter().flat_map(|active| &active.tasks);
    let names = tasks.map(|task| task.name.clone());
    names.filter(|task| !kept.contains(task)).collect()
}

/// The first of these tasks that another deployment has now, and that deployment (M3).
pub fn taken<'a>(
    deployments: &'a [Deployment],
    name: &DeploymentName,
    tasks: &'a [TaskName],
) -> Option<(&'a TaskName, &'a DeploymentName)> {
    let is_other = |one: &&Deployment| one.is_active && one.name != *name;
    deployments.iter().filter(is_other).find_map(|other| {
        let task = tasks.iter().find(|task| other.task(task).is_some())?;
        Some((task, &other.name))
    })
}

/// Refuses to drop tasks for which envelopes wait: these would become dead letters (M3).
pub async fn check_dropped(
    dropped: &BTreeSet<TaskName>,
    stores: &Stores,
    attempted: &str,
) -> Result<()> {
    let waiting = waiting_for(stores, dropped).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "it drops tasks that envelopes wait for: {}",
        listed(&waiting)
    );
    Err(Failure::refused(attempted, problem)
        .hint("let them run or cancel them first; --force drops the tasks, and their envelopes become dead letters")
        .into())
}

/// Tells the workers to look at once.
pub async fn tell_workers(stores: &Stores) -> Result<()> {
    stores
        .control
        .broadcast(&Command::DeploymentsChanged)
        .await?;
    Ok(())
}

/// Counts as people read them: "`a` (3), `b` (1)".
pub fn listed(counts: &BTreeMap<TaskName, u64>) -> String {
    let listed: Vec<String> = counts
        .iter()
        .map(|(task, count)| format!("`{task}` ({count})"))
        .collect();
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use stem_core::clock::Timestamp;
    use stem_core::grants::Grants;
    use stem_core::ids::Digest;
    use stem_core::manifest::Manifest;
    use stem_core::module_store::Activation;

    fn deployment(name: &str, version: u32, first_byte: u8) -> Deployment {
        let name = DeploymentName::new(name).expect("a name");
        let digest = Digest::from_bytes([first_byte; 32]);
        let manifest = Manifest::new(name, digest, Vec::new(), Grants::default());
        let activation = Activation::new(Bytes::new(), manifest, None);
        Deployment::of(&activation, version, Timestamp::default())
    }

    fn versions(text: &str) -> Result<Vec<u32>, String> {
        let all = [
            deployment("text", 2, 0xab),
            deployment("text", 1, 0xac),
            deployment("images", 2, 0xab),
        ];
        select(&all, text, "show")
            .map(|found| found.iter().map(|one| one.version).collect())
            .map_err(|error| error.to_string())
    }

    /// M3
    #[test]
    fn a_version_is_found_by_name_by_number_or_by_digest() {
        assert_eq!(versions("text"), Ok(vec![2, 1]));
        assert_eq!(versions("text@1"), Ok(vec![1]));
        assert_eq!(versions("acac"), Ok(vec![1]));
        assert_eq!(versions("ABAB"), Ok(vec![2, 2]));
    }

    /// M3
    #[test]
    fn what_is_not_deployed_is_said_with_the_nearest_name() {
        let error = versions("image").expect_err("unknown");
        assert!(error.contains("did you mean `images`?"), "{error}");
        let error = versions("text@7").expect_err("unknown");
        assert!(error.contains("kept are 2, 1"), "{error}");
        assert!(versions("ab").is_err());
    }
}
