//! What is measured on: a store with the built-in guest deployed, in a namespace of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::{Value, json};
use stem_core::client::{Client, Request};
use stem_core::clock::Clock;
use stem_core::control::Command;
use stem_core::ids::EnvelopeId;
use stem_core::lookup::{self, Lookup};
use stem_core::names::{Namespace, QueueName, TaskName};
use stem_core::payload::{JSON, Payload};
use stem_core::queues::CancelMode;
use stem_core::stores::Stores;
use tempfile::TempDir;

use super::drain;
use crate::commands::deploy::{Candidate, Checked};
use crate::config::Config;
use crate::module_file::Policy;
use crate::sandbox::{Engine, Overrides};
use crate::stores::{self, Lifetime, StoreUrl};

/// `tasks-examples/noop`, compiled; `cargo xtask guests --renew` renews it.
pub const GUEST: &[u8] = include_bytes!("../../../assets/noop.wasm");
/// How every benchmark's namespace begins.
pub const NAMESPACE_PREFIX: &str = "bench-";
/// Envelopes that are published in one step.
const BATCH: usize = 1_000;
/// The payload of every figure: 100 bytes.
pub const PAYLOAD_BYTES: usize = 100;

/// A store to measure on; a temporary one goes with it.
pub struct Rig {
    /// The settings that a worker process is given.
    pub config: Config,
    /// The open stores.
    pub stores: Stores,
    /// A producer.
    pub client: Client,
    _folder: Option<TempDir>,
}

impl Rig {
    /// A fresh namespace on this store, or on a new SQLite file.
    pub async fn new(url: Option<&StoreUrl>, config: &Config) -> Result<Self> {
        let (url, folder) = match url {
            Some(url) => (url.clone(), None),
            None => temporary(config)?,
        };
        // Every key on Redis has it: it is as long as a fleet's own would be.
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        let namespace = format!("{NAMESPACE_PREFIX}{:08x}", random >> 32);
        let config = Config {
            broker: url.clone(),
            results: url,
            namespace: Namespace::new(namespace)?,
            ..config.clone()
        };
        let stores = stores::open(&config, Lifetime::OneProcess).await;
        let stores =
            stores.with_context(|| format!("work in the namespace `{}`", config.namespace))?;
        let client = Client::new(stores.clone(), config.default_queue.clone());
        let rig = Self {
            config,
            stores,
            client,
            _folder: folder,
        };
        rig.deploy(Overrides::default()).await?;
        Ok(rig)
    }

    /// Makes the built-in guest the active one for its tasks, with these settings.
    pub async fn deploy(&self, overrides: Overrides) -> Result<()> {
        let guest = self.check(Bytes::from_static(GUEST), overrides).await?;
        guest.activate(&self.stores).await?;
        Ok(())
    }

    /// Leaves nothing deployed in a store that is not a temporary one.
    pub async fn close(self) -> Result<()> {
        for one in self.stores.modules.deployments().await? {
            self.stores.modules.remove(&one.name, one.version).await?;
        }
        Ok(())
    }

    /// A module that may be made the active one for the built-in tasks.
    pub async fn check(&self, module: Bytes, overrides: Overrides) -> Result<Checked> {
        let engine = Engine::for_inspection(&self.stores.clock, &self.config)?;
        let candidate = Candidate {
            name: None,
            module,
            policy: Policy {
                overrides,
                file: None,
            },
            file: PathBuf::from("noop.wasm"),
            is_forced: true,
            canary: None,
            key: None,
        };
        candidate.check(&self.stores, &engine).await
    }

    /// The queue that everything goes to.
    pub fn queue(&self) -> &QueueName {
        &self.config.default_queue
    }

    /// The clock that everything is measured with.
    pub fn clock(&self) -> &dyn Clock {
        self.stores.clock.as_ref()
    }

    /// Where the store is, as every figure says it.
    pub fn describe(&self) -> Value {
        json!({"store": self.config.broker.to_string(), "payload_bytes": PAYLOAD_BYTES})
    }

    /// Enqueues so many no-ops in batches; gives their ids and how long it took. Two producers take turns: one makes its
    /// next batch while the store takes the other's.
    pub async fn enqueue(&self, count: usize) -> Result<(Vec<EnvelopeId>, Duration)> {
        let began = self.clock().monotonic();
        let (mut ids, others) =
            tokio::try_join!(self.produce(count - count / 2), self.produce(count / 2))?;
        let took = self.clock().monotonic() - began;
        ids.extend(others);
        // Ids begin with their time: who waits for the end looks at the newest ones.
        ids.sort_unstable();
        Ok((ids, took))
    }

    async fn produce(&self, count: usize) -> Result<Vec<EnvelopeId>> {
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let batch = BATCH.min(count - ids.len());
            let requests = (0..batch).map(|_| request("noop")).collect();
            let enqueued = self.client.enqueue_all(requests).await.context("enqueue")?;
            ids.extend(enqueued.into_iter().map(|one| one.id));
        }
        Ok(ids)
    }

    /// Waits for an envelope's end.
    pub async fn end_of(&self, id: EnvelopeId) -> Result<Lookup> {
        let ended = drain::bounded(lookup::wait(&self.stores, id, |_| ())).await?;
        ended.with_context(|| format!("wait for {id}"))
    }

    /// Ends a running envelope at once, and waits for its end.
    pub async fn cancel(&self, id: EnvelopeId) -> Result<()> {
        let mode = CancelMode::Now;
        self.stores.queues.cancel(&[id], mode).await?;
        let command = Command::Cancel { id, mode };
        self.stores.control.broadcast(&command).await?;
        self.end_of(id).await?;
        Ok(())
    }
}

/// A request for one of the built-in tasks.
pub fn request(task: &str) -> Request {
    let task = TaskName::new(task).expect("a constant that keeps the rule");
    Request::new(task, payload())
}

/// 100 bytes of JSON.
pub fn payload() -> Payload {
    let quoted = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2));
    Payload::new(JSON, quoted.into_bytes())
}

/// A new file on the disk that the store in force is on: there a user's store would be as quick.
fn temporary(config: &Config) -> Result<(StoreUrl, Option<TempDir>)> {
    let beside = match &config.broker {
        StoreUrl::Sqlite { path, .. } => path.parent().map(Path::to_owned),
        StoreUrl::Memory | StoreUrl::Redis(_) => None,
    };
    let beside = beside.filter(|folder| !folder.as_os_str().is_empty());
    let beside = beside.unwrap_or_else(|| PathBuf::from("."));
    std::fs::create_dir_all(&beside)
        .with_context(|| format!("make the folder `{}`", beside.display()))?;
    let folder = tempfile::Builder::new()
        .prefix("stem-bench-")
        .tempdir_in(&beside)
        .with_context(|| format!("make a folder in `{}`", beside.display()))?;
    let url = StoreUrl::file(folder.path().join("bench.db"));
    Ok((url, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_benchmark_on_somebodys_store_leaves_no_module_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = StoreUrl::file(folder.path().join("stem.db"));
        let namespace = Namespace::new("theirs").expect("a name");
        let queue = QueueName::new("default").expect("a name");
        let config = Config::at(url.clone(), namespace, queue);
        let rig = Rig::new(Some(&url), &config).await.expect("a rig");
        let stores = rig.stores.clone();
        let deployed = stores.modules.deployments().await.expect("an answer");
        assert_eq!(deployed.len(), 1);
        rig.close().await.expect("removed");
        let left = stores.modules.deployments().await.expect("an answer");
        assert!(left.is_empty(), "{left:?}");
    }
}
