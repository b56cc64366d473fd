//! `module rollback` and `module promote`: which version is active, and what becomes of a canary (M3).

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;
use stem_core::module_store::{Activated, Deployment};
use stem_core::names::{DeploymentName, TaskName};
use stem_core::stores::Stores;

use super::{DeploymentView, title};
use crate::deployed;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::output::Output;
use crate::terminal::Consent;

/// Which version, and how sure that is
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// NAME, or the version to go back to: NAME@VERSION or the beginning of a digest
    module: String,
    /// The version to go back to [default: the canary is ended; without one, the version that was active before]
    #[arg(long, value_name = "VERSION")]
    to: Option<u32>,
    /// Take tasks back from other deployments, and drop tasks that envelopes wait for
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Which canary
#[derive(Debug, clap::Args)]
pub struct PromoteArgs {
    /// NAME, or the canary itself: NAME@VERSION or the beginning of a digest
    module: String,
    /// Take tasks over from other deployments, and drop tasks that envelopes wait for
    #[arg(long)]
    force: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// What is to be done.
struct Change<'a> {
    attempted: String,
    /// The version that is to be active; none where only the canary is ended.
    target: Option<&'a Deployment>,
    active: Option<&'a Deployment>,
    canary: Option<&'a Deployment>,
    /// Everything that is deployed.
    deployments: &'a [Deployment],
    is_forced: bool,
}

/// Goes back to an older version, or ends a canary.
pub async fn rollback(
    args: &RollbackArgs,
    deployments: &[Deployment],
    stores: &Stores,
    invocation: &Invocation,
) -> Result<()> {
    let attempted = format!("roll back `{}`", args.module);
    let found = of_one_name(deployments, &args.module, "roll back")?;
    let (active, canary) = roles(deployments, found[0]);
    let target = match chosen(args, &found, deployments)? {
        Some(version) if version.is_active && canary.is_none() => {
            let problem = format!("{} is active already", title(version));
            return Err(Failure::refused(attempted, problem).into());
        }
        Some(version) => (!version.is_active).then_some(version),
        None if canary.is_some() => None,
        None => Some(before(&found).ok_or_else(|| nothing_before(&attempted))?),
    };
    let change = Change {
        attempted,
        target,
        active,
        canary,
        deployments,
        is_forced: args.force,
    };
    change.check(stores, invocation).await?;
    if args.consent.dry_run {
        return change.tell(None, true, &invocation.output);
    }
    args.consent.obtain(&change.deed())?;
    let made = change.make(stores).await?;
    change.tell(made.as_ref(), false, &invocation.output)
}

/// Makes a canary active for all envelopes.
pub async fn promote(
    args: &PromoteArgs,
    deployments: &[Deployment],
    stores: &Stores,
    invocation: &Invocation,
) -> Result<()> {
    let attempted = format!("promote `{}`", args.module);
    let found = of_one_name(deployments, &args.module, "promote")?;
    let canary = found.iter().copied().find(|one| one.canary.is_some());
    let target = canary.ok_or_else(|| {
        Failure::refused(&attempted, "no canary runs").hint(
            "`stem-host deploy FILE --canary 5%` starts one; `stem-host module rollback NAME --to VERSION` makes another version active",
        )
    })?;
    let change = Change {
        attempted,
        target: Some(target),
        active: roles(deployments, target).0,
        canary: None,
        deployments,
        is_forced: args.force,
    };
    change.check(stores, invocation).await?;
    if args.dry_run {
        return change.tell(None, true, &invocation.output);
    }
    let made = change.make(stores).await?;
    change.tell(made.as_ref(), false, &invocation.output)
}

/// The active version and the canary of this one's deployment.
fn roles<'a>(
    deployments: &'a [Deployment],
    one: &Deployment,
) -> (Option<&'a Deployment>, Option<&'a Deployment>) {
    let mut own = deployments.iter().filter(|other| other.name == one.name);
    let canary = own.clone().find(|one| one.canary.is_some());
    (own.find(|one| one.is_active), canary)
}

/// The versions that are meant; which deployment is changed is never a guess.
fn of_one_name<'a>(
    deployments: &'a [Deployment],
    module: &str,
    verb: &str,
) -> Result<Vec<&'a Deployment>> {
    let found = deployed::select(deployments, module, verb)?;
    let names: BTreeSet<&str> = found.iter().map(|one| one.name.as_str()).collect();
    if names.len() > 1 {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let problem = format!("this module is deployed under several names: {names}");
        return Err(Failure::usage(format!("{verb} `{module}`"), problem)
            .hint("write NAME or NAME@VERSION")
            .into());
    }
    Ok(found)
}

/// The version that somebody has named, if so.
fn chosen<'a>(
    args: &RollbackArgs,
    found: &[&'a Deployment],
    deployments: &'a [Deployment],
) -> Result<Option<&'a Deployment>> {
    let is_name = found[0].name.as_str() == args.module;
    match args.to {
        Some(version) => {
            let wanted = format!("{}@{version}", found[0].name);
            Ok(Some(deployed::one(deployments, &wanted, "roll back to")?))
        }
        None if is_name => Ok(None),
        None => Ok(Some(found[0])),
    }
}

/// Of the versions that are not active, the one that was made active last: a canary that was given up never was.
fn before<'a>(found: &[&'a Deployment]) -> Option<&'a Deployment> {
    let others = found.iter().copied().filter(|one| !one.is_active);
    let once_active = others.filter(|one| one.activated_at.is_some());
    once_active.max_by_key(|one| (one.activated_at, one.version))
}

fn nothing_before(attempted: &str) -> Failure {
    Failure::refused(attempted, "no version is kept that was active before")
        .hint("--to VERSION names any version that `stem-host module list` shows")
}

impl Change<'_> {
    /// Refuses what workers would refuse, what belongs to another deployment, and what would turn waiting envelopes into dead letters.
    async fn check(&self, stores: &Stores, invocation: &Invocation) -> Result<()> {
        let Some(target) = self.target else {
            return Ok(());
        };
        let policy = invocation.config.signing.policy()?;
        deployed::check_runnable(target, &policy, &self.attempted)?;
        if self.is_forced {
            return Ok(());
        }
        let tasks = target.task_names();
        if let Some((task, owner)) = deployed::taken(self.deployments, &target.name, &tasks) {
            return Err(self.taken(task, owner));
        }
        let dropped = deployed::dropped(self.active, &tasks);
        deployed::check_dropped(&dropped, stores, &self.attempted).await
    }

    /// Does it; gives the version that it has made active, where it has.
    async fn make(&self, stores: &Stores) -> Result<Option<Deployment>> {
        let mut made = None;
        match (self.target, self.canary) {
            (Some(target), _) => {
                let (name, version) = (&target.name, target.version);
                let modules = &stores.modules;
                let activated = modules.reactivate(name, version, self.is_forced).await?;
                made = Some(self.active_now(activated)?);
            }
            (None, Some(canary)) => {
                stores.modules.end_canary(&canary.name).await?;
            }
            (None, None) => {}
        }
        deployed::tell_workers(stores).await?;
        Ok(made)
    }

    fn active_now(&self, activated: Activated) -> Result<Deployment> {
        match activated {
            Activated::Done(deployment) => Ok(*deployment),
            Activated::TaskTaken { task, owner } => Err(self.taken(&task, &owner)),
            Activated::NotKept | Activated::NothingActive => {
                let problem = "the version was removed meanwhile";
                Err(Failure::not_found(&self.attempted, problem).into())
            }
        }
    }

    fn taken(&self, task: &TaskName, owner: &DeploymentName) -> anyhow::Error {
        let problem = format!("the task `{task}` belongs to the deployment `{owner}` now");
        Failure::refused(&self.attempted, problem)
            .hint("--force takes it over")
            .into()
    }

    /// Completes "really …?".
    fn deed(&self) -> String {
        let ended = self.canary.filter(|canary| {
            let is_target = |target: &Deployment| target.version == canary.version;
            !self.target.is_some_and(is_target)
        });
        let ended = ended.map(|canary| format!("end the canary {}", title(canary)));
        let made = self.target.map(|target| match self.active {
            Some(active) => format!(
                "make {} active in place of {}",
                title(target),
                title(active)
            ),
            None => format!("make {} active", title(target)),
        });
        made.into_iter()
            .chain(ended)
            .collect::<Vec<_>>()
            .join(", and ")
    }

    fn tell(&self, made: Option<&Deployment>, is_dry_run: bool, output: &Output) -> Result<()> {
        if output.is_json {
            let now = made.or(self.target).or(self.active);
            let now = now.map(|one| DeploymentView {
                active: true,
                canary_percent: None,
                ..DeploymentView::new(one)
            });
            return output.json(&json!({
                "active": now,
                "before": self.active.map(title),
                "ended_canary": self.canary.map(title),
                "dry_run": is_dry_run,
            }));
        }
        match (is_dry_run, self.target) {
            (true, _) => output.line(format!("would {}", self.deed())),
            (false, Some(target)) => output.line(format!("{} is active", title(target))),
            (false, None) => {
                let canary = self.canary.map(title).unwrap_or_default();
                let active = self.active.map(title).unwrap_or_default();
                output.line(format!(
                    "the canary {canary} is ended: {active} has all envelopes"
                ))
            }
        }
    }
}
