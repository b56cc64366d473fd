//! The suites' kills at length: the same trials, with other numbers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::command::{self, cargo, shown};
use crate::{guests, services};

/// The trial that each store has, in the suite `chaos`.
const TRIAL: &str = "every_envelope_ends_once_whatever_is_killed";

/// How much is to be come through.
#[derive(Args)]
pub struct Arguments {
    /// How often a worker is killed
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u64,
    /// How many envelopes are published meanwhile
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    envelopes: u64,
    /// How many seconds a server is paused each time
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pause: u64,
    /// The store that it happens on [default: one after the other]
    #[arg(long)]
    store: Option<Store>,
    #[command(flatten)]
    services: services::Wanted,
}

#[derive(Clone, Copy, ValueEnum)]
enum Store {
    Redis,
    Sqlite,
}

impl Store {
    fn trial(self) -> String {
        match self {
            Self::Redis => format!("redis::{TRIAL}"),
            Self::Sqlite => format!("sqlite::{TRIAL}"),
        }
    }
}

/// Builds the system, and tries it; an error where a promise is broken.
pub fn run(arguments: &Arguments) -> Result<()> {
    services::install(&arguments.services)?;
    command::run(guests::build_command()?)?;
    command::run(cargo(&["build", "--workspace", "--bins"]))?;
    let stores = arguments
        .store
        .map_or_else(|| vec![Store::Redis, Store::Sqlite], |store| vec![store]);
    stores
        .into_iter()
        .try_for_each(|store| arguments.run_on(store))
}

impl Arguments {
    fn run_on(&self, store: Store) -> Result<()> {
        let trial = store.trial();
        let mut command = cargo(&["test", "--workspace", "--test", "chaos", "--"]);
        command
            .args(["--exact", &trial, "--nocapture"])
            .env("STEM_CHAOS_KILLS", self.kills.to_string())
            .env("STEM_CHAOS_ENVELOPES", self.envelopes.to_string())
            .env("STEM_CHAOS_PAUSE", self.pause.to_string())
            .stdout(Stdio::piped());
        let line = shown(&command);
        let mut running = command.spawn().context("starting the trial")?;
        let output = running
            .stdout
            .take()
            .context("reading what the trial says")?;
        let mut is_run = false;
        for line in BufReader::new(output).lines() {
            let line = line?;
            is_run |= line.contains(" 1 passed");
            println!("{line}");
        }
        if !running.wait()?.success() {
            bail!("a promise is broken: `{line}` failed");
        }
        ensure!(is_run, "the suite `chaos` has no test `{trial}`");
        Ok(())
    }
}
