//! The flags that limit: `deploy` and `run` take them, and they go before `stem.toml` (M4, S3).

use crate::module_file::Flag;

/// Limits of every task of the module; they win over stem.toml
#[derive(Debug, Default, clap::Args)]
pub struct Limits {
    /// Bytes of memory: 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// When a task is asked to stop: 30s
    #[arg(long, value_name = "DURATION")]
    soft: Option<String>,
    /// When it is ended: 60s
    #[arg(long, value_name = "DURATION")]
    hard: Option<String>,
    /// The processor time after which it is ended: 10s
    #[arg(long, value_name = "DURATION")]
    cpu: Option<String>,
    /// Units of fuel, about one for each instruction
    #[arg(long, value_name = "N")]
    fuel: Option<String>,
}

impl Limits {
    /// Those that are given: by the names that stem.toml has for them, and as flags.
    pub fn settings(&self) -> impl Iterator<Item = Flag<'_>> {
        let given = [
            ("memory-limit", "--memory", &self.memory),
            ("soft-time-limit", "--soft", &self.soft),
            ("hard-time-limit", "--hard", &self.hard),
            ("cpu-time-limit", "--cpu", &self.cpu),
            ("fuel-limit", "--fuel", &self.fuel),
        ];
        given.into_iter().filter_map(|(key, flag, value)| {
            let value = value.as_deref()?;
            Some(Flag { key, flag, value })
        })
    }
}
