//! `deploy`: checks a module and makes it the active version of its deployment (M1, M3, M4).

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};
use stem_core::canary::Share;
use stem_core::manifest::Manifest;
use stem_core::module_store::{Activated, Activation, Deployment};
use stem_core::names::{DeploymentName, KeyId, TaskName};
use stem_core::signing::PrivateKey;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::stores::Stores;

use super::grants::GrantFlags;
use super::limits::Limits;
use super::module::{DeploymentView, show_grants, show_policies, task_value};
use crate::deployed;
use crate::errors::{self, Failure};
use crate::invocation::Invocation;
use crate::module_file::{self, Policy};
use crate::output::Output;
use crate::progress;
use crate::sandbox::{Engine, Inspected};
use crate::stores::Lifetime;

/// Which module, and how its tasks are run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component that the build made
    file: PathBuf,
    /// The deployment's name [default: stem.toml's, or the file's]
    #[arg(long)]
    name: Option<DeploymentName>,
    /// The tasks' policy [default: stem.toml beside the file, or above its target folder]
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    grants: GrantFlags,
    #[command(flatten)]
    command: CommandFlags,
    /// Give it this share of the envelopes first, such as 5%; the active version keeps the others
    #[arg(long, value_name = "SHARE", conflicts_with = "force")]
    canary: Option<Share>,
    /// Take tasks over from other deployments, and drop tasks that envelopes wait for
    #[arg(long)]
    force: bool,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Show the policy in force of each task
    #[arg(long, short)]
    verbose: bool,
}

/// For a program that knows nothing of tasks
#[derive(Debug, clap::Args)]
pub struct CommandFlags {
    /// It is a command (`wasi:cli/run`): payload on standard input, result on standard output
    #[arg(long = "command", requires = "task")]
    is_command: bool,
    /// The task that a command becomes
    #[arg(long, value_name = "NAME", requires = "is_command")]
    task: Option<TaskName>,
}

/// Deploys what the arguments say.
pub async fn run(args: Args, invocation: &Invocation) -> Result<()> {
    let output = &invocation.output;
    let module = module_file::read(&args.file)?;
    let flags = ("deploy", args.limits.settings());
    let mut policy = module_file::policy(&args.file, args.policy.as_deref(), flags)?;
    policy.overrides.grant(args.grants.grants()?);
    if args.command.is_command {
        policy.overrides.make_command(args.command.task.clone());
    }
    let key = invocation.config.signing.module_signer()?;
    let stores = invocation.open_stores(match args.dry_run {
        true => Lifetime::Untouched,
        false => Lifetime::Shared,
    });
    let stores = stores.await?;
    let engine = Engine::for_inspection(&stores.clock, &invocation.config)?;
    let candidate = Candidate {
        name: args.name.clone(),
        module,
        policy,
        file: args.file.clone(),
        is_forced: args.force,
        canary: args.canary,
        key,
    };
    let checked = candidate.check(&stores, &engine).await?;
    checked.warn(output);
    if args.dry_run {
        return checked.show_plan(&args, output);
    }
    let deployment = checked.activate(&stores).await?;
    show(&deployment, &checked, &args, output)?;
    note_unserved(&deployment, &stores, output).await
}

/// A module on its way to be deployed.
pub struct Candidate {
    /// A name that goes before every other.
    pub name: Option<DeploymentName>,
    /// The component.
    pub module: Bytes,
    /// What the operator says about its tasks.
    pub policy: Policy,
    /// Where it comes from.
    pub file: PathBuf,
    /// Whether it may take tasks over, and drop those that envelopes wait for.
    pub is_forced: bool,
    /// Its share, where it is to be a canary.
    pub canary: Option<Share>,
    /// What it is signed with.
    pub key: Option<PrivateKey>,
}

/// A module that may be deployed.
pub struct Checked {
    candidate: Candidate,
    name: DeploymentName,
    inspected: Inspected,
    /// Whether the version that is active now is signed, and this one is not.
    loses_signature: bool,
}

impl Candidate {
    /// Every check that can be made without changing anything.
    pub async fn check(self, stores: &Stores, engine: &Engine) -> Result<Checked> {
        let attempted = self.attempted();
        let spinner = progress::spinner("checking the module");
        let inspected = engine
            .inspect(&self.module, &self.policy.overrides, &attempted)
            .await;
        spinner.finish_and_clear();
        let inspected = inspected?;
        let named = self.name.clone().or_else(|| inspected.name.clone());
        let name = match named {
            Some(name) => name,
            None => module_file::name_of(&self.file)?,
        };
        let deployments = stores.modules.deployments().await?;
        let active = deployments
            .iter()
            .find(|one| one.is_active && one.name == name);
        let is_signed = active.is_some_and(|one| one.sealed.signature.is_some());
        let checked = Checked {
            loses_signature: is_signed && self.key.is_none(),
            candidate: self,
            name,
            inspected,
        };
        if !checked.candidate.is_forced {
            checked.check_owners(&deployments)?;
        }
        match checked.candidate.canary {
            Some(_) => checked.check_active(&deployments)?,
            None if checked.candidate.is_forced => {}
            None => checked.check_dropped(&deployments, stores).await?,
        }
        Ok(checked)
    }

    fn attempted(&self) -> String {
        format!("deploy `{}`", self.file.display())
    }
}

impl Checked {
    /// The module's tasks.
    pub fn tasks(&self) -> Vec<&str> {
        let tasks = self.inspected.tasks.iter();
        tasks.map(|task| task.name.as_str()).collect()
    }

    fn task_names(&self) -> Vec<TaskName> {
        let tasks = self.inspected.tasks.iter();
        tasks.map(|task| task.name.clone()).collect()
    }

    /// The active version, where it is this very module with this very policy.
    pub async fn in_force(&self, stores: &Stores) -> Result<Option<Deployment>> {
        let deployments = stores.modules.deployments().await?;
        let sealed = self.activation().sealed;
        let is_same = |one: &Deployment| {
            one.is_active && one.tasks == self.inspected.tasks && one.sealed == sealed
        };
        Ok(deployments.into_iter().find(is_same))
    }

    /// Makes it the active version, and tells the workers.
    pub async fn activate(&self, stores: &Stores) -> Result<Deployment> {
        let activated = stores.modules.activate(&self.activation()).await;
        match activated.map_err(|error| self.unsure(error))? {
            Activated::Done(deployment) => {
                deployed::tell_workers(stores).await?;
                Ok(*deployment)
            }
            Activated::TaskTaken { task, owner } => Err(self.taken(&task, &owner)),
            Activated::NothingActive | Activated::NotKept => Err(self.nothing_active()),
        }
    }

    /// The store failed, perhaps after it had it.
    fn unsure(&self, error: StoreError) -> anyhow::Error {
        let kinds = [StoreErrorKind::Unavailable, StoreErrorKind::Unconfirmed];
        let name = &self.name;
        let hint = match kinds.contains(&error.kind()) {
            true => format!(
                "`{name}` may be deployed all the same, which `stem-host module show {name}` says: deployed again, the \
                 same module gets one more version, and nothing else changes"
            ),
            false => String::new(),
        };
        errors::advised(error, self.candidate.attempted(), hint)
    }

    fn activation(&self) -> Activation {
        let inspected = self.inspected.clone();
        let Inspected {
            digest,
            tasks,
            grants,
            ..
        } = inspected;
        let manifest = Manifest::new(self.name.clone(), digest, tasks, grants);
        let (module, key) = (self.candidate.module.clone(), self.candidate.key.as_ref());
        Activation {
            moves_tasks: self.candidate.is_forced,
            canary: self.candidate.canary,
            ..Activation::new(module, manifest, key)
        }
    }

    /// What the operator should know, and may accept.
    pub fn warn(&self, output: &Output) {
        self.candidate.policy.warn(&self.inspected, output);
        if self.loses_signature {
            let name = &self.name;
            output.note(format!(
                "warning: the active version of `{name}` is signed, and this one is not: workers with public keys refuse it; \
                 STEM_SIGNING_PRIVATE_KEYS_FILE names the key to sign with"
            ));
        }
    }

    /// A task belongs to one deployment (M3).
    fn check_owners(&self, deployments: &[Deployment]) -> Result<()> {
        match deployed::taken(deployments, &self.name, &self.task_names()) {
            None => Ok(()),
            Some((task, owner)) => Err(self.taken(task, owner)),
        }
    }

    /// A version that drops a task for which envelopes wait would turn them into dead letters (M3).
    async fn check_dropped(&self, deployments: &[Deployment], stores: &Stores) -> Result<()> {
        let active = deployed::active(deployments, &self.name);
        let dropped = deployed::dropped(active, &self.task_names());
        deployed::check_dropped(&dropped, stores, &self.candidate.attempted()).await
    }

    /// A canary has its share of what the active version has.
    fn check_active(&self, deployments: &[Deployment]) -> Result<()> {
        match deployed::active(deployments, &self.name) {
            Some(_) => Ok(()),
            None => Err(self.nothing_active()),
        }
    }

    fn nothing_active(&self) -> anyhow::Error {
        let problem = format!(
            "`{}` has no active version to share envelopes with",
            self.name
        );
        Failure::refused(self.candidate.attempted(), problem)
            .hint("deploy it without --canary first")
            .into()
    }

    fn taken(&self, task: &TaskName, owner: &DeploymentName) -> anyhow::Error {
        let problem = format!("the task `{task}` belongs to the deployment `{owner}`");
        let own = format!("--name {owner} deploys a new version of that one");
        let hint = match self.candidate.canary {
            None => format!("--force moves it here; {own}"),
            Some(_) => format!("a canary moves no tasks: deploy without --canary; {own}"),
        };
        Failure::refused(self.candidate.attempted(), problem)
            .hint(hint)
            .into()
    }

    fn show_plan(&self, args: &Args, output: &Output) -> Result<()> {
        if output.is_json {
            return output.json(&json!({
                "name": self.name,
                "digest": self.inspected.digest,
                "size_bytes": self.candidate.module.len(),
                "tasks": self.policies(args),
                "grants": self.inspected.grants,
                "warnings": self.inspected.warnings,
                "policy_file": self.candidate.policy.file,
                "canary_percent": self.candidate.canary.map(Share::percent),
                "signed_by": self.candidate.key.as_ref().map(PrivateKey::id),
                "dry_run": true,
            }));
        }
        output.line(format!(
            "would deploy `{}`{} with the tasks {}{}",
            self.name,
            role(self.candidate.canary),
            self.tasks().join(", "),
            signed(self.candidate.key.as_ref().map(PrivateKey::id)),
        ))?;
        self.show_policies(args, output)
    }

    fn show_policies(&self, args: &Args, output: &Output) -> Result<()> {
        match args.verbose {
            true => {
                show_grants(&self.inspected.grants, output)?;
                show_policies(&self.inspected.tasks, output)
            }
            false => Ok(()),
        }
    }

    /// The tasks as JSON: by name, or with everything that is in force.
    fn policies(&self, args: &Args) -> Value {
        match args.verbose {
            true => self.inspected.tasks.iter().map(task_value).collect(),
            false => self.tasks().into_iter().map(Value::from).collect(),
        }
    }
}

fn show(deployment: &Deployment, checked: &Checked, args: &Args, output: &Output) -> Result<()> {
    if output.is_json {
        let mut view = serde_json::to_value(DeploymentView::new(deployment))?;
        view["tasks"] = checked.policies(args);
        view["grants"] = json!(deployment.grants);
        view["warnings"] = json!(checked.inspected.warnings);
        view["policy_file"] = json!(checked.candidate.policy.file);
        return output.json(&view);
    }
    let signature = deployment.sealed.signature.as_ref();
    output.line(format!(
        "deployed {}@{} ({}){} with the tasks {}{}",
        deployment.name,
        deployment.version,
        deployment.digest.short(),
        role(deployment.canary),
        checked.tasks().join(", "),
        signed(signature.map(|signature| &signature.key)),
    ))?;
    checked.show_policies(args, output)
}

/// What it is deployed as, where that is said.
fn role(canary: Option<Share>) -> String {
    match canary {
        Some(share) => format!(" as canary for {share} of the envelopes,"),
        None => String::new(),
    }
}

/// By whom it is signed, where it is.
fn signed(key: Option<&KeyId>) -> String {
    match key {
        Some(key) => format!(", signed with `{key}`"),
        None => String::new(),
    }
}

/// Where workers live and none takes from a task's queue, its envelopes would wait for ever.
async fn note_unserved(deployment: &Deployment, stores: &Stores, output: &Output) -> Result<()> {
    let workers = stores.control.workers().await?;
    let live: Vec<_> = workers.iter().filter(|worker| !worker.is_dead).collect();
    let queues = deployment
        .tasks
        .iter()
        .filter_map(|task| task.policy.queue.as_ref());
    for queue in queues.collect::<BTreeSet<_>>() {
        let is_served = live
            .iter()
            .any(|worker| worker.heartbeat.queues.contains(queue));
        if !live.is_empty() && !is_served {
            output.note(format!(
                "warning: no worker takes from `{queue}`: start one with --queue {queue}"
            ));
        }
    }
    Ok(())
}
