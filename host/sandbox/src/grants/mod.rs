//! What a module was granted, ready for its attempts: one file a grant (S2).
//!
//! Everything is linked for every module, and each call asks what was granted: what was not is refused by its own
//! interface's error, or ends the guest where the interface has none.

pub(crate) mod config;
pub(crate) mod deterministic;
pub(crate) mod enqueue;
pub(crate) mod environment;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod masks;
pub(crate) mod values;

use std::sync::Arc;

use stem_core::executor::{AttemptFacts, ExecutorError};
use stem_core::grants::Grants;
use stem_core::outcome::Failure;
use stem_core::secrets::{NoSecrets, Secrets};
use wasmtime::component::Linker;

use crate::context::Guest;
use crate::sandbox::Sandbox;
use deterministic::Fixed;
use http::{Network, SystemResolver};
use values::Values;

/// What the attempts of one deployment may use.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grants: Grants,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) network: Network,
}

impl Granted {
    /// These grants, with secrets and addresses from where the sandbox has them.
    pub(crate) fn new(grants: Grants, sandbox: &Sandbox) -> Arc<Self> {
        Arc::new(Self {
            grants,
            secrets: Arc::clone(sandbox.secrets()),
            network: Network::new(sandbox.resolver()),
        })
    }

    /// The secrets as they are when an attempt starts; or why it cannot start (M4). They are read where that holds up no
    /// guest: a file may lie on a slow disk.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Result<Values, Failure>, ExecutorError> {
        if !Values::are_needed(&self.grants) {
            return Ok(Ok(Values::default()));
        }
        let granted = Arc::clone(self);
        let read = move || Values::read(&granted.grants, &*granted.secrets);
        let opened = tokio::task::spawn_blocking(read).await;
        opened.unwrap_or_else(|error| {
            Err(ExecutorError::new("open the task's secrets").because(error))
        })
    }

    /// The clocks and random numbers of an attempt, where they are to be the same in every one of its envelope.
    pub(crate) fn fixed(&self, facts: &AttemptFacts) -> Option<Fixed> {
        let is_fixed = self.grants.deterministic;
        is_fixed.then(|| Fixed::new(facts.id, facts.enqueued_at))
    }

    /// Nothing.
    pub(crate) fn nothing() -> Arc<Self> {
        Arc::new(Self {
            grants: Grants::default(),
            secrets: Arc::new(NoSecrets),
            network: Network::new(&(Arc::new(SystemResolver) as _)),
        })
    }
}

/// Links what grants are about.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    config::add_to_linker(linker)?;
    deterministic::add_to_linker(linker)?;
    http::add_to_linker(linker)?;
    keyvalue::add_to_linker(linker)
}

/// What is wrong with these grants, if anything is; it says no value.
pub(crate) fn check(grants: &Grants) -> Result<(), String> {
    config::check(grants)?;
    environment::check(grants)?;
    grants.check().map_err(|error| error.to_string())
}

/// What can be wrong with a value that a module is given, whatever it is called.
fn check_size(what: &str, name: &str, value: &str) -> Result<(), String> {
    /// Longer ones are data, and belong into a payload or a bucket.
    const LONGEST_VALUE: usize = 64 << 10;
    match value.len() > LONGEST_VALUE {
        true => Err(format!(
            "the value of `{name}` in `{what}` has {} bytes, over the limit of {LONGEST_VALUE}: give it in the payload, or in a bucket",
            value.len()
        )),
        false => Ok(()),
    }
}

/// What can be wrong with all of them together.
fn check_sum<'a>(
    what: &str,
    pairs: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), String> {
    /// Every deployment is read by every worker.
    const LARGEST_SUM: usize = 256 << 10;
    let sum: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    match sum > LARGEST_SUM {
        true => Err(format!(
            "`{what}` has {sum} bytes in all, over the limit of {LARGEST_SUM}: give less, or give it in a bucket"
        )),
        false => Ok(()),
    }
}
