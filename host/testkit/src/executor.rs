//! An executor without a sandbox: it answers each task by a script and remembers what it was asked to run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use stem_core::executor::{
    AttemptFacts, Execution, Executor, ExecutorError, Program, Resolution, Run, Stop,
};
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::module_store::DeployedTask;
use stem_core::names::TaskName;
use stem_core::outcome::{Failure, FailureKind, Outcome};
use stem_core::payload::Payload;
use stem_core::policy::{Limits, TaskPolicy};
use tokio::sync::watch;

use crate::builders::{deployed_task, task_name};

/// Runs tasks by script; a task that has none is unknown.
#[derive(Default)]
pub struct ScriptedExecutor {
    answers: HashMap<TaskName, Answer>,
    journal: Arc<Journal>,
}

enum Answer {
    Script(Box<DeployedTask>, Arc<Script>),
    Refusal(Failure),
    Fault(String),
}

impl ScriptedExecutor {
    /// An executor that knows no task yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers the runs of this task with these steps, one after the other; the last one again and again.
    pub fn on(self, task: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.on_with(task, TaskPolicy::default(), steps)
    }

    /// The same for a task that was deployed with this policy.
    pub fn on_with(
        mut self,
        task: &str,
        policy: TaskPolicy,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        let steps: Vec<Step> = steps.into_iter().collect();
        assert!(!steps.is_empty(), "a script has at least one step");
        let script = Arc::new(Script {
            steps,
            next: Mutex::new(0),
        });
        let answer = Answer::Script(Box::new(deployed_task(task, policy)), script);
        self.answers.insert(task_name(task), answer);
        self
    }

    /// Refuses to resolve this task, as for a module that cannot be loaded.
    pub fn refusing(mut self, task: &str, failure: Failure) -> Self {
        self.answers
            .insert(task_name(task), Answer::Refusal(failure));
        self
    }

    /// Fails to resolve this task as a host fault, as where the store cannot be asked.
    pub fn failing_to_resolve(mut self, task: &str, fault: &str) -> Self {
        self.answers
            .insert(task_name(task), Answer::Fault(fault.to_owned()));
        self
    }

    /// What was run so far, in the order in which it began.
    pub fn runs(&self) -> Vec<Ran> {
        self.journal.runs.borrow().clone()
    }

    /// Returns when at least so many runs have begun.
    pub async fn started(&self, runs: usize) {
        let mut journal = self.journal.runs.subscribe();
        let begun = journal.wait_for(|begun| begun.len() >= runs).await;
        begun.expect("the journal holds the sender");
    }

    /// How many times it was told to look for changed deployments.
    pub fn refreshes(&self) -> usize {
        *self.journal.refreshes.borrow()
    }
}

/// A run as the executor was asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// What the guest was told.
    pub facts: AttemptFacts,
    /// What it was given.
    pub payload: Payload,
    /// What it was allowed.
    pub limits: Limits,
}

struct Journal {
    runs: watch::Sender<Vec<Ran>>,
    refreshes: watch::Sender<usize>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            runs: watch::Sender::new(Vec::new()),
            refreshes: watch::Sender::new(0),
        }
    }
}

#[async_trait]
impl Executor for ScriptedExecutor {
    async fn resolve(
        &self,
        task: &TaskName,
        _: EnvelopeId,
        pinned: Option<Digest>,
    ) -> Result<Resolution, ExecutorError> {
        match self.answers.get(task) {
            Some(Answer::Script(task, script)) => {
                Ok(Resolution::Ready(Arc::new(ScriptedProgram {
                    digest: pinned.unwrap_or_else(|| Digest::of(task.name.as_str().as_bytes())),
                    task: DeployedTask::clone(task),
                    script: Arc::clone(script),
                    journal: Arc::clone(&self.journal),
                })))
            }
            Some(Answer::Refusal(failure)) => Ok(Resolution::Refused(failure.clone())),
            Some(Answer::Fault(fault)) => Err(ExecutorError::new(fault.clone())),
            None => Ok(Resolution::Refused(Failure::permanent(
                FailureKind::UnknownTask,
                format!("no deployment has `{task}`"),
            ))),
        }
    }

    async fn refresh(&self) -> Result<(), ExecutorError> {
        self.journal.refreshes.send_modify(|times| *times += 1);
        Ok(())
    }
}

struct Script {
    steps: Vec<Step>,
    next: Mutex<usize>,
}

impl Script {
    fn next(&self) -> Step {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.steps[(*next).min(self.steps.len() - 1)].clone();
        *next += 1;
        step
    }
}

struct ScriptedProgram {
    task: DeployedTask,
    digest: Digest,
    script: Arc<Script>,
    journal: Arc<Journal>,
}

#[async_trait]
impl Program for ScriptedProgram {
    fn task(&self) -> &DeployedTask {
        &self.task
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    async fn run(&self, run: Run) -> Result<Execution, ExecutorError> {
        let ran = Ran {
            facts: run.facts.clone(),
            payload: run.payload.clone(),
            limits: run.limits.clone(),
        };
        let Step(step) = self.script.next();
        self.journal.runs.send_modify(|runs| runs.push(ran));
        step(run).await
    }
}

/// What one run does.
#[derive(Clone)]
pub struct Step(Arc<dyn Fn(Run) -> Running + Send + Sync>);

type Running = BoxFuture<'static, Result<Execution, ExecutorError>>;

impl Step {
    /// Whatever this function does.
    pub fn call<F, Fut>(function: F) -> Self
    where
        F: Fn(Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Execution, ExecutorError>> + Send + 'static,
    {
        Self(Arc::new(move |run| Box::pin(function(run))))
    }

    /// Ends so at once.
    pub fn end(outcome: Outcome) -> Self {
        Self::execution(Execution::ended(outcome))
    }

    /// Ends so at once, with usage and log.
    pub fn execution(execution: Execution) -> Self {
        Self::call(move |_| std::future::ready(Ok(execution.clone())))
    }

    /// Succeeds and gives back the payload that it was given.
    pub fn echo() -> Self {
        Self::call(|run| async move { Ok(Execution::ended(Outcome::Succeeded(run.payload))) })
    }

    /// Fails as a host fault.
    pub fn fault(fault: &'static str) -> Self {
        Self::call(move |_| std::future::ready(Err(ExecutorError::new(fault))))
    }

    /// Panics.
    pub fn panic(message: &'static str) -> Self {
        Self::call(move |_| async move { panic!("{message}") })
    }

    /// Runs until it is asked to stop, and stops then, as a well-behaved guest does.
    pub fn until_asked() -> Self {
        Self::call(|run| stopped(run, |stop| stop != Stop::No))
    }

    /// Runs until it is ended by force, as a guest that does not listen.
    pub fn until_ended() -> Self {
        Self::call(|run| stopped(run, |stop| matches!(stop, Stop::Now(_))))
    }

    /// Waits for the gate first.
    pub fn after(self, gate: &Gate) -> Self {
        let gate = gate.clone();
        Self::call(move |run| {
            let (gate, Self(step)) = (gate.clone(), self.clone());
            async move {
                gate.passed().await;
                step(run).await
            }
        })
    }
}

async fn stopped(
    mut run: Run,
    is_enough: impl Fn(Stop) -> bool + Send,
) -> Result<Execution, ExecutorError> {
    // A signal whose sender has gone will never change: such a run is as good as told to stop by nobody.
    let stop = run.stop.wait_for(|stop| is_enough(*stop)).await;
    match stop.as_deref() {
        Ok(Stop::Asked(reason) | Stop::Now(reason)) => Ok(Execution::ended(reason.outcome())),
        Ok(Stop::No) | Err(_) => Err(ExecutorError::new("wait for the stop signal")),
    }
}

/// Holds runs back until a test opens it.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns when the gate is open.
    pub async fn passed(&self) {
        let mut gate = self.0.subscribe();
        let passed = gate.wait_for(|is_open| *is_open).await;
        passed.expect("the gate holds the sender");
    }
}

#[cfg(test)]
mod tests {
    use stem_core::executor::StopReason;
    use stem_core::outcome::Disruption;

    use super::*;
    use crate::builders::run;

    async fn resolve(executor: &ScriptedExecutor, task: &str) -> Arc<dyn Program> {
        match executor
            .resolve(&task_name(task), EnvelopeId::new(), None)
            .await
        {
            Ok(Resolution::Ready(program)) => program,
            Ok(Resolution::Refused(_)) | Err(_) => panic!("`{task}` has a script"),
        }
    }

    #[tokio::test]
    async fn steps_are_taken_in_order_and_the_last_one_stays() {
        let steps = [Step::fault("broken"), Step::echo()];
        let executor = ScriptedExecutor::new().on("a", steps);
        let program = resolve(&executor, "a").await;
        assert!(program.run(run("a").0).await.is_err());
        for _ in 0..2 {
            let execution = program.run(run("a").0).await.expect("no fault");
            assert!(matches!(execution.outcome, Outcome::Succeeded(_)));
        }
        assert_eq!(executor.runs().len(), 3);
    }

    #[tokio::test]
    async fn a_run_that_listens_ends_when_it_is_asked_and_one_that_does_not_when_it_is_forced() {
        let steps = [Step::until_asked(), Step::until_ended()];
        let executor = ScriptedExecutor::new().on("a", steps);
        let program = resolve(&executor, "a").await;
        for end in [
            Stop::Asked(StopReason::Cancelled),
            Stop::Now(StopReason::Cancelled),
        ] {
            let (run, stop) = run("a");
            let mut running = program.run(run);
            assert!(futures::poll!(&mut running).is_pending());
            stop.send_replace(end);
            let execution = running.await.expect("no fault");
            assert_eq!(execution.outcome, Outcome::Cancelled);
        }
    }

    #[tokio::test]
    async fn a_run_behind_a_gate_waits_for_it() {
        let gate = Gate::closed();
        let interrupted = Outcome::Interrupted(Disruption::Shutdown);
        let step = Step::end(interrupted).after(&gate);
        let executor = ScriptedExecutor::new().on("a", [step]);
        let program = resolve(&executor, "a").await;
        let mut running = program.run(run("a").0);
        assert!(futures::poll!(&mut running).is_pending());
        executor.started(1).await;
        gate.open();
        assert!(running.await.is_ok());
    }

    #[tokio::test]
    async fn a_task_without_a_script_is_unknown() {
        let executor = ScriptedExecutor::new().failing_to_resolve("b", "ask the store");
        let unknown = executor
            .resolve(&task_name("a"), EnvelopeId::new(), None)
            .await;
        assert!(
            matches!(unknown, Ok(Resolution::Refused(failure)) if failure.kind == FailureKind::UnknownTask)
        );
        assert!(
            executor
                .resolve(&task_name("b"), EnvelopeId::new(), None)
                .await
                .is_err()
        );
    }
}
