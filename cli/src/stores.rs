//! From a URL to open stores: the only room that names the store crates.

mod server;
mod settings;
mod url;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use stem_core::clock::{Clock, SystemClock};
use stem_core::stores::Stores;
use stem_core::two_stores;
use stem_sqlite::Synchronous;

use crate::config::{Config, variable};
use crate::errors::{BROKER, Exit, Failure, OfResults, RESULTS};

pub use self::settings::ServerSettings;
pub use self::url::StoreUrl;

use self::server::ServerUrl;

/// Whether a command can do its work on a store that ends with its process, or that is not there.
///
/// A server is there or cannot be reached: a namespace of it that holds nothing is no error to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It does everything in one process.
    OneProcess,
    /// It leaves something for other processes.
    Shared,
    /// It only looks, and takes a store that is not there for an empty one.
    Untouched,
    /// It looks at, or changes, what others left: it makes no store, as that would hide a slip of the pen.
    Existing,
}

/// Opens the stores of a configuration.
pub async fn open(config: &Config, lifetime: Lifetime) -> Result<Stores> {
    check(&config.broker, lifetime, BROKER)?;
    check(&config.results, lifetime, RESULTS)?;
    let clock = SystemClock::shared();
    let [first, second] = [&config.broker, &config.results].map(|url| found(url, lifetime));
    let broker = open_one(first, config, &clock).await?;
    if second.is_same_place(first) {
        return Ok(broker);
    }
    let results = open_one(second, config, &clock).await;
    let results = results.context(OfResults)?;
    Ok(two_stores::join(broker, &results))
}

/// The store, or an empty one in place of one that is not to be made.
fn found(url: &StoreUrl, lifetime: Lifetime) -> &StoreUrl {
    match (url, lifetime) {
        (StoreUrl::Sqlite { path, .. }, Lifetime::Untouched) if !path.exists() => &StoreUrl::Memory,
        (url, _) => url,
    }
}

/// Refuses a store that this command could do nothing with.
fn check(url: &StoreUrl, lifetime: Lifetime, flag: &str) -> Result<()> {
    match url {
        StoreUrl::Memory if lifetime != Lifetime::OneProcess => {
            let problem =
                "what lies in memory ends with its process, so no other would ever see it";
            Err(Failure::usage("open `memory:`", problem)
                .hint("use sqlite:PATH or redis://HOST here; `stem-host dev` does everything in one process")
                .into())
        }
        StoreUrl::Sqlite { path, .. } if lifetime == Lifetime::Existing => {
            match path.try_exists() {
                Ok(false) => Err(Failure::new(
                    Exit::Unreachable,
                    format!("open `{url}`"),
                    "there is no store",
                )
                .hint(format!(
                    "`deploy`, `enqueue` and `worker start` make one; {flag} or {} names another",
                    variable(flag.trim_start_matches('-'))
                ))
                .into()),
                // Whatever stands in the way is said where it is opened.
                Ok(true) | Err(_) => Ok(()),
            }
        }
        StoreUrl::Memory | StoreUrl::Sqlite { .. } | StoreUrl::Redis(_) => Ok(()),
    }
}

async fn open_one(url: &StoreUrl, config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores> {
    let namespace = config.namespace.clone();
    match url {
        StoreUrl::Memory => Ok(stem_memory::Store::new(namespace, Arc::clone(clock)).stores()),
        StoreUrl::Sqlite {
            path,
            is_fully_synchronous,
        } => {
            let mut options = stem_sqlite::Options::new(path, namespace, Arc::clone(clock));
            if *is_fully_synchronous {
                options.synchronous = Synchronous::Full;
            }
            let store = stem_sqlite::Store::open(options).await?;
            Ok(Stores::on_one(store, Arc::clone(clock)))
        }
        StoreUrl::Redis(url) => open_redis(url, config, clock).await,
    }
}

async fn open_redis(url: &ServerUrl, config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores> {
    let settings = &config.servers;
    let namespace = config.namespace.clone();
    let mut options = stem_redis::Options::new(url.address(), namespace, Arc::clone(clock));
    if url.is_secure() {
        options.tls = settings.tls()?;
    } else if settings.is_about_tls() {
        tracing::warn!(server = %url, "this connection is not encrypted, whatever the TLS settings say: rediss:// is");
    }
    if url.is_secure() && settings.allows_insecure {
        tracing::warn!(server = %url, "any certificate of this server is taken, also that of somebody in between: for tests alone (STEM_TLS_ALLOW_INSECURE)");
    }
    options.warns = config.warns;
    options.wait_replicas = url.wait_replicas();
    options.allows_eviction = settings.allows_eviction;
    options.connection_name.clone_from(&config.connection_name);
    Ok(stem_redis::Store::open(options).await?.stores())
}
