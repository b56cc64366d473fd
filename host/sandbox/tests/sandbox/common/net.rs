//! Sandboxes on which names lead where a test wants, and programs with grants.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use stem_core::clock::SystemClock;
use stem_core::executor::{Execution, Program};
use stem_sandbox::{Allocation, DeployError, Options, Overrides, Resolver, Sandbox};

use super::granting::Vault;
use super::{Attempt, guest, result};

/// Names and what they lead to; every question is counted.
#[derive(Debug, Default)]
pub struct Names {
    known: BTreeMap<String, Vec<IpAddr>>,
    pub asked: AtomicUsize,
}

impl Resolver for Names {
    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.known.get(host).cloned();
        found.ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A sandbox on which these names lead to these addresses.
pub fn sandbox_with_names(names: &[(&str, &[&str])]) -> (Arc<Sandbox>, Arc<Names>) {
    let address = |text: &&str| text.parse().expect("an address");
    let known = names
        .iter()
        .map(|(name, addresses)| ((*name).to_owned(), addresses.iter().map(address).collect()));
    let names = Arc::new(Names {
        known: known.collect(),
        asked: AtomicUsize::new(0),
    });
    let options = Options {
        allocation: Allocation::OnDemand,
        resolver: Arc::clone(&names) as _,
        secrets: Vault::with(&[("CRM_TOKEN", "hunter2"), ("BROKEN", "two\nlines")]),
        ..Options::new(8, SystemClock::shared())
    };
    (Sandbox::new(options).expect("a sandbox"), names)
}

/// The same where no name leads anywhere.
pub fn sandbox() -> Arc<Sandbox> {
    sandbox_with_names(&[]).0
}

/// The task of an example, under this policy.
pub async fn deployed(
    sandbox: &Arc<Sandbox>,
    example: &str,
    policy: &str,
) -> Result<Arc<dyn Program>, DeployError> {
    let module = guest(example);
    let overrides = Overrides::parse(policy).expect("a good policy");
    let mut inspected = sandbox.inspect(&module, &overrides).await?;
    let (task, grants) = (inspected.tasks.remove(0), inspected.grants);
    sandbox.program(&module, task, &grants).await
}

/// `misbehave-http` with these lines under [grants].
pub async fn granted(sandbox: &Arc<Sandbox>, grants: &str) -> Arc<dyn Program> {
    let policy = format!("[grants]\n{grants}");
    let program = deployed(sandbox, "misbehave-http", &policy).await;
    program.unwrap_or_else(|error| panic!("{grants}: {error}"))
}

/// What it does, and what came of it.
pub async fn done(program: &Arc<dyn Program>, deed: &Value) -> (Value, Execution) {
    let execution = Attempt::json(&deed.to_string()).run(program).await;
    let said = serde_json::from_str(&result(&execution)).expect("JSON");
    (said, execution)
}

/// The lines of an attempt's log.
pub fn lines(execution: &Execution) -> String {
    let lines = execution.log.iter().map(|line| line.message.as_str());
    lines.collect::<Vec<_>>().join("\n")
}
