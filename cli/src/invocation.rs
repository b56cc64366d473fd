//! One call of the command line: its settings, and where its answer goes.

use anyhow::{Context as _, Result};
use stem_core::names::WorkerName;
use stem_core::stores::Stores;

use crate::config::{Config, Environment, Flags};
use crate::output::Output;
use crate::stores::{self, Lifetime};

/// What every command is given.
pub struct Invocation {
    /// The settings in force.
    pub config: Config,
    /// Where the answer goes.
    pub output: Output,
}

impl Invocation {
    /// Reads the settings.
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of settings is looked for where the command is typed"
    )]
    pub fn new(flags: &Flags, environment: &Environment, output: Output) -> Result<Self> {
        let here = std::env::current_dir().context("find the current directory")?;
        Ok(Self {
            config: Config::load(flags, environment, &here)?,
            output,
        })
    }

    /// The same, where servers are to see that this command is connected.
    pub fn named(mut self, command: &str) -> Self {
        self.config.connection_name = format!("stem-{command}");
        self
    }

    /// Where the broker is, for people.
    pub fn place(&self) -> String {
        let (broker, namespace) = (&self.config.broker, &self.config.namespace);
        format!("{broker}, namespace `{namespace}`")
    }

    /// Opens the stores that the settings name.
    pub async fn open_stores(&self, lifetime: Lifetime) -> Result<Stores> {
        stores::open(&self.config, lifetime).await
    }

    /// Opens them for whoever wants to know how they are: also those that are not to be used as they are.
    pub async fn open_stores_to_look_at(&self) -> Result<Stores> {
        let mut config = self.config.clone();
        config.servers.allows_eviction = true;
        stores::open(&config, Lifetime::Existing).await
    }

    /// Opens them for a worker, which servers are to see by its name.
    pub async fn open_stores_for(&self, worker: &WorkerName, lifetime: Lifetime) -> Result<Stores> {
        let mut config = self.config.clone();
        config.connection_name = format!("stem-worker-{worker}");
        config.warns = true;
        stores::open(&config, lifetime).await
    }
}
