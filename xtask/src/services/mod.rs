//! Servers that the tests run against: installed where they are missing, started on free loopback ports, and gone with
//! whoever started them.

mod redis;

use std::io;

use anyhow::{Context, Result};
use clap::Args;

use crate::packages::Consent;

/// Which servers the tests use.
#[derive(Args)]
pub struct Wanted {
    /// The Redis server that the tests share; one is started where none is named
    #[arg(long, value_name = "URL", env = redis::VARIABLE, hide_env_values = true)]
    redis_url: Option<String>,
    #[command(flatten)]
    consent: Consent,
}

/// Servers that tests can use for as long as this lives.
pub struct Services {
    redis_url: String,
    own_redis: Option<redis::Server>,
}

/// Starts what is missing, says where it is, and ends it when the input closes; a signal ends it too.
pub fn run(wanted: &Wanted) -> Result<()> {
    let services = Services::start(wanted)?;
    if services.own_redis.is_none() {
        let server = redis::without_password(&services.redis_url);
        println!(
            "{} is set: the tests use {server}, and nothing is started",
            redis::VARIABLE
        );
        return Ok(());
    }
    for (name, value) in services.variables() {
        println!("{name}={value}");
    }
    eprintln!("set this for `cargo test`; Ctrl-C, or the end of the input, stops the server");
    io::copy(&mut io::stdin(), &mut io::sink()).context("waiting for the end of the input")?;
    Ok(())
}

/// Installs every server's program that is missing: tests of faults start servers of their own, whichever is shared.
pub fn install(wanted: &Wanted) -> Result<()> {
    redis::install(wanted.consent)
}

impl Services {
    /// Starts a server wherever none is named.
    pub fn start(wanted: &Wanted) -> Result<Self> {
        if let Some(url) = &wanted.redis_url {
            return Ok(Self {
                redis_url: url.clone(),
                own_redis: None,
            });
        }
        install(wanted)?;
        let server = redis::Server::start()?;
        Ok(Self {
            redis_url: server.url(),
            own_redis: Some(server),
        })
    }

    /// What tells the tests where the servers are.
    pub fn variables(&self) -> [(&'static str, &str); 1] {
        [(redis::VARIABLE, &self.redis_url)]
    }
}
