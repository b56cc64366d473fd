//! What is deployed, as a worker sees it: which version runs a task, whether it may be run at all, and what is ready.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use stem_core::canary::Share;
use stem_core::executor::Program;
use stem_core::grants::Grants;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::manifest::{SignaturePolicy, bad_signature};
use stem_core::module_store::{DeployedTask, Deployment};
use stem_core::names::{TaskName, nearest};
use stem_core::outcome::{Failure, FailureKind};

use crate::engine::Class;
use crate::modules::unavailable;

/// The deployments of a store at one revision, and the tasks of theirs that can be run at once.
#[derive(Default)]
pub(crate) struct Index {
    pub(crate) revision: Option<u64>,
    deployments: Vec<Vetted>,
    /// For a new version the old one stays here until the new one is compiled.
    ready: HashMap<TaskName, Ready>,
    /// The same of canaries; most of the time there is none.
    canaries: HashMap<TaskName, (Share, Ready)>,
}

/// A deployment, and whether it may be run: asked once for each.
struct Vetted {
    deployment: Deployment,
    verdict: OnceLock<Result<(), Failure>>,
}

/// A task that can be run at once.
pub(crate) struct Ready {
    pub(crate) source: Source,
    pub(crate) program: Arc<dyn Program>,
}

/// Where a task comes from: when this changes, it is to be loaded anew.
#[derive(Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) digest: Digest,
    pub(crate) task: DeployedTask,
    pub(crate) grants: Grants,
    size: u64,
    /// Its share, where it is a canary's.
    canary: Option<Share>,
}

impl Source {
    fn new(deployment: &Deployment, task: &DeployedTask) -> Self {
        Self {
            digest: deployment.digest,
            task: task.clone(),
            grants: deployment.grants.clone(),
            size: deployment.size_bytes,
            canary: deployment.canary,
        }
    }

    pub(crate) fn module(&self) -> (Digest, Class) {
        (self.digest, Class::of(&self.task.policy.limits))
    }
}

impl Vetted {
    fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            verdict: OnceLock::new(),
        }
    }

    /// Refuses what is not what its operator has deployed.
    fn check(&self, policy: &SignaturePolicy) -> Result<(), Failure> {
        let vet = || {
            vet(&self.deployment, policy).inspect_err(|failure| {
                let Deployment { name, version, .. } = &self.deployment;
                let problem = &failure.message;
                tracing::error!(%name, version, problem, "a deployment is refused");
            })
        };
        self.verdict.get_or_init(vet).clone()
    }

    fn source(&self, task: &TaskName) -> Option<Source> {
        let found = self.deployment.task(task)?;
        Some(Source::new(&self.deployment, found))
    }

    fn is_used(&self) -> bool {
        self.deployment.is_active || self.deployment.canary.is_some()
    }
}

/// The signature first: what is altered is said to be so, however it then looks.
fn vet(deployment: &Deployment, policy: &SignaturePolicy) -> Result<(), Failure> {
    let Deployment { name, version, .. } = deployment;
    let named = |problem: &str| format!("the deployment {name}@{version} is refused: {problem}");
    let checked = policy.check(&deployment.sealed);
    checked.map_err(|failure| bad_signature(named(&failure.message)))?;
    match &deployment.damage {
        None => Ok(()),
        Some(damage) if policy.is_in_force() => Err(bad_signature(named(damage))),
        Some(damage) => Err(unavailable(named(damage))),
    }
}

impl Index {
    /// Takes over what the store says now; what was vetted and is as it was stays vetted.
    pub(crate) fn replace(
        &mut self,
        revision: u64,
        deployments: Vec<Deployment>,
        policy: &SignaturePolicy,
    ) {
        let mut known = std::mem::take(&mut self.deployments);
        let vetted = |new: Deployment| {
            let at = known.iter().position(|old| is_same(&old.deployment, &new));
            let verdict = at.map(|at| known.swap_remove(at).verdict);
            Vetted {
                verdict: verdict.unwrap_or_default(),
                ..Vetted::new(new)
            }
        };
        self.deployments = deployments.into_iter().map(vetted).collect();
        self.revision = Some(revision);
        let Self {
            deployments,
            ready,
            canaries,
            ..
        } = self;
        ready.retain(|task, _| active(deployments, task, policy).is_ok());
        // One that another replaces has no share any more, however long the other takes to be ready.
        canaries.retain(|task, (_, old)| {
            let new = canary(deployments, task, policy);
            new.is_some_and(|new| new.digest == old.source.digest)
        });
    }

    /// Whether new attempts run on a version that they did not run on before.
    pub(crate) fn is_news(&self, new: &Deployment) -> bool {
        let is_used = new.is_active || new.canary.is_some();
        let is_it = |old: &Deployment| (&old.name, old.version) == (&new.name, new.version);
        is_used && !self.used().any(|old| is_it(&old.deployment))
    }

    /// What runs this task for this envelope, if it can be run at once.
    pub(crate) fn ready(&self, task: &TaskName, id: EnvelopeId) -> Option<&Arc<dyn Program>> {
        if !self.canaries.is_empty()
            && let Some((share, canary)) = self.canaries.get(task)
            && share.takes(id)
        {
            return Some(&canary.program);
        }
        self.ready.get(task).map(|ready| &ready.program)
    }

    /// Where a task comes from.
    pub(crate) fn find(
        &self,
        task: &TaskName,
        pinned: Option<Digest>,
        policy: &SignaturePolicy,
    ) -> Result<Source, Failure> {
        match pinned {
            None => active(&self.deployments, task, policy),
            Some(digest) => find_pinned(&self.deployments, task, (digest, policy)),
        }
    }

    /// Makes a task ready, or says that it is not any more; where its deployment has changed meanwhile, whoever saw the
    /// change loads the new one.
    pub(crate) fn put(
        &mut self,
        source: &Source,
        program: Option<&Arc<dyn Program>>,
        policy: &SignaturePolicy,
    ) {
        let name = &source.task.name;
        let current = match source.canary {
            None => active(&self.deployments, name, policy).ok(),
            Some(_) => canary(&self.deployments, name, policy),
        };
        if current.as_ref() != Some(source) {
            return;
        }
        let ready = program.map(|program| Ready {
            source: source.clone(),
            program: Arc::clone(program),
        });
        match (ready, source.canary) {
            (Some(ready), None) => drop(self.ready.insert(name.clone(), ready)),
            (Some(ready), Some(share)) => {
                drop(self.canaries.insert(name.clone(), (share, ready)));
            }
            (None, None) => drop(self.ready.remove(name)),
            (None, Some(_)) => drop(self.canaries.remove(name)),
        }
    }

    /// Tasks that may be run and are not ready in their newest version, those with small modules first.
    pub(crate) fn stale(&self, policy: &SignaturePolicy) -> Vec<Source> {
        let mut stale: Vec<Source> = self
            .used()
            .filter(|one| one.check(policy).is_ok())
            .flat_map(|one| {
                one.deployment
                    .tasks
                    .iter()
                    .filter_map(|task| one.source(&task.name))
            })
            .filter(|source| {
                let name = &source.task.name;
                let ready = match source.canary {
                    None => self.ready.get(name),
                    Some(_) => self.canaries.get(name).map(|(_, ready)| ready),
                };
                ready.is_none_or(|ready| ready.source != *source)
            })
            .filter(|source| source.canary.is_none() || self.is_current_canary(source, policy))
            .collect();
        stale.sort_by_key(|source| source.size);
        stale
    }

    /// A task that only the canary has, or that another deployment has now, has no share.
    fn is_current_canary(&self, source: &Source, policy: &SignaturePolicy) -> bool {
        canary(&self.deployments, &source.task.name, policy).as_ref() == Some(source)
    }

    /// The modules that new attempts run on.
    pub(crate) fn modules(&self) -> HashSet<(Digest, Class)> {
        let sources = self.used().flat_map(|one| {
            let tasks = one.deployment.tasks.iter();
            tasks.map(|task| Source::new(&one.deployment, task).module())
        });
        sources.collect()
    }

    fn used(&self) -> impl Iterator<Item = &Vetted> {
        self.deployments.iter().filter(|one| one.is_used())
    }
}

/// Whether what was said of one holds for the other.
fn is_same(old: &Deployment, new: &Deployment) -> bool {
    let facts = |one: &Deployment| (one.version, one.digest);
    facts(old) == facts(new)
        && old.name == new.name
        && old.sealed == new.sealed
        && old.damage == new.damage
}

fn owner<'a>(deployments: &'a [Vetted], task: &TaskName) -> Option<&'a Vetted> {
    let mut active = deployments.iter().filter(|one| one.deployment.is_active);
    active.find(|one| one.deployment.task(task).is_some())
}

fn active(
    deployments: &[Vetted],
    name: &TaskName,
    policy: &SignaturePolicy,
) -> Result<Source, Failure> {
    let found = owner(deployments, name).and_then(|owner| Some((owner, owner.source(name)?)));
    let Some((owner, source)) = found else {
        let active = deployments.iter().filter(|one| one.deployment.is_active);
        let names = active.flat_map(|one| &one.deployment.tasks);
        let hint = nearest(name.as_str(), names.map(|task| task.name.as_str()));
        let hint = hint.map(|near| format!("; did you mean `{near}`?"));
        let hint = hint.unwrap_or_default();
        let message = format!("no task named `{name}` is deployed{hint}");
        return Err(unknown_task(message));
    };
    owner.check(policy).map(|()| source)
}

/// The canary beside a task's active version. One that may not be run has no share: its envelopes stay where they are.
fn canary(deployments: &[Vetted], task: &TaskName, policy: &SignaturePolicy) -> Option<Source> {
    let name = &owner(deployments, task)?.deployment.name;
    let is_beside = |one: &&Vetted| one.deployment.canary.is_some() && one.deployment.name == *name;
    let canary = deployments.iter().find(is_beside)?;
    canary.check(policy).ok()?;
    canary.source(task)
}

fn find_pinned(
    deployments: &[Vetted],
    name: &TaskName,
    (digest, policy): (Digest, &SignaturePolicy),
) -> Result<Source, Failure> {
    let is_it = |one: &&Vetted| one.deployment.digest == digest;
    let mut kept = deployments.iter().filter(is_it).peekable();
    if kept.peek().is_none() {
        let message = format!("no deployment has the module {}", digest.short());
        return Err(unavailable(message));
    }
    // The store lists the newest version of a deployment first: its policy counts.
    let found = kept.find_map(|one| Some((one, one.source(name)?)));
    let (one, source) = found.ok_or_else(|| {
        let digest = digest.short();
        unknown_task(format!("the module {digest} has no task named `{name}`"))
    })?;
    one.check(policy).map(|()| source)
}

fn unknown_task(message: String) -> Failure {
    Failure::permanent(FailureKind::UnknownTask, message)
}
