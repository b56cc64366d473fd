//! The flags that grant: `deploy` and `run` take them, and they go before `[grants]` of `stem.toml` (S2, M4).

use anyhow::Result;
use stem_core::grants::{Capability, Grants};
use stem_core::names::BucketName;
use stem_core::origin::Origin;
use stem_core::secrets::SecretName;
use stem_core::task_glob::TaskGlob;

use crate::arguments;
use crate::errors::Failure;

/// What the module is given; added to stem.toml's
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Grants")]
pub struct GrantFlags {
    /// Let it send requests here: HOST, HOST:PORT, SCHEME://HOST or SCHEME://HOST:PORT
    #[arg(long = "allow-http", value_name = "HOST[:PORT]")]
    http: Vec<Origin>,
    /// The same for a service whose name leads to a private address
    #[arg(long = "allow-http-private", value_name = "HOST[:PORT]")]
    http_private: Vec<Origin>,
    /// Let it enqueue this task; * stands for anything
    #[arg(long = "allow-enqueue", value_name = "TASK")]
    enqueue: Vec<TaskGlob>,
    /// Let it read and write this bucket of keys and values
    #[arg(long = "allow-bucket", value_name = "NAME")]
    buckets: Vec<BucketName>,
    /// A value that it may read
    #[arg(long = "value", value_name = "K=V", value_parser = arguments::pair)]
    values: Vec<(String, String)>,
    /// A secret that it may read; workers have its value in STEM_SECRET_NAME or a file
    #[arg(long = "secret", value_name = "NAME")]
    secrets: Vec<String>,
    /// An environment variable that it sees
    #[arg(long = "env", value_name = "K=V", value_parser = arguments::pair)]
    environment: Vec<(String, String)>,
    /// Give it the same clock and random numbers in every attempt
    #[arg(long)]
    deterministic: bool,
    /// Let it import this, and refuse every call: wasi:http, wasi:config, wasi:keyvalue or stem:task/enqueue
    #[arg(long = "stub", value_name = "NAME")]
    stubs: Vec<Capability>,
}

impl GrantFlags {
    /// What they grant.
    pub fn grants(&self) -> Result<Grants> {
        // Read here and not by the parser of arguments: that repeats what it refuses, and somebody may have written
        // the secret itself.
        let secrets = self.secrets.iter().map(SecretName::new);
        let secrets = secrets.collect::<Result<_, _>>();
        Ok(Grants {
            http: self.http.clone(),
            http_private: self.http_private.clone(),
            enqueue: self.enqueue.clone(),
            buckets: self.buckets.clone(),
            config: self.values.iter().cloned().collect(),
            secrets: secrets.map_err(|error| Failure::usage("read --secret", error))?,
            environment: self.environment.iter().cloned().collect(),
            deterministic: self.deterministic,
            stubs: self.stubs.iter().copied().collect(),
            ..Grants::default()
        })
    }
}
