//! Modules by digest, and the deployments that make them active (M2, M3).
//!
//! Removing the active version leaves its tasks without a module: an older one becomes active only by being asked for,
//! never by surprise.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use stem_core::clock::Timestamp;
use stem_core::ids::Digest;
use stem_core::module_store::{Activated, Activation, Deployment, ModuleStore};
use stem_core::names::DeploymentName;
use stem_core::store_error::StoreError;

use crate::deployments;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::roster::Roster;
use crate::scripts;
use crate::store::Store;

const DEPLOY: &str = "deploy";
/// How often a change is decided anew because others were faster.
const ROUNDS: usize = 64;

#[async_trait]
impl ModuleStore for Store {
    async fn activate(&self, activation: &Activation) -> Result<Activated, StoreError> {
        self.shared.check_room(DEPLOY).await?;
        let decide = |roster: &mut Roster, now| {
            let activated = roster.activate(activation, now);
            (matches!(activated, Activated::Done(_)), activated)
        };
        self.change(DEPLOY, decide).await
    }

    async fn reactivate(
        &self,
        name: &DeploymentName,
        version: u32,
        moves_tasks: bool,
    ) -> Result<Activated, StoreError> {
        let decide = |roster: &mut Roster, now| {
            let activated = roster.reactivate((name, version), moves_tasks, now);
            (matches!(activated, Activated::Done(_)), activated)
        };
        self.change("make a version active", decide).await
    }

    async fn end_canary(&self, name: &DeploymentName) -> Result<Option<u32>, StoreError> {
        let decide = |roster: &mut Roster, _| {
            let ended = roster.end_canary(name);
            (ended.is_some(), ended)
        };
        self.change("end a canary", decide).await
    }

    async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let (roster, _) = self.roster("list deployments").await?;
        Ok(roster.into_list())
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Bytes>, StoreError> {
        const FETCH: &str = "fetch a module";
        let prefix = self.shared.prefix.as_bytes();
        let mut command = redis::cmd("GET");
        command.arg([prefix, b"module:", digest.as_bytes()].concat());
        let answer = self.ask_bulk(FETCH, &command).await?;
        if answer == Value::Nil {
            return Ok(None);
        }
        self.named(FETCH, reply::bytes(answer)).map(Some)
    }

    async fn remove(&self, name: &DeploymentName, version: u32) -> Result<bool, StoreError> {
        let decide = |roster: &mut Roster, _| {
            let is_removed = roster.remove(name, version);
            (is_removed, is_removed)
        };
        self.change("remove a deployment", decide).await
    }

    async fn revision(&self) -> Result<u64, StoreError> {
        const REVISION: &str = "ask for new deployments";
        let mut command = redis::cmd("GET");
        command.arg(format!("{}revision", self.shared.prefix));
        let answer = self.ask_bulk(REVISION, &command).await?;
        self.named(REVISION, reply::number_or_zero(answer))
    }
}

impl Store {
    /// Decides on what is deployed now, and writes it unless nothing is to change; decides again where somebody was
    /// faster.
    async fn change<T: Send>(
        &self,
        operation: &'static str,
        decide: impl Fn(&mut Roster, Timestamp) -> (bool, T) + Sync,
    ) -> Result<T, StoreError> {
        for _ in 0..ROUNDS {
            let (mut roster, now) = self.roster(operation).await?;
            let (is_changed, decided) = decide(&mut roster, now);
            if !is_changed {
                return Ok(decided);
            }
            let mut call = self.call(&scripts::DEPLOY);
            call.arg(roster.revision);
            self.named(operation, roster.add_changes(&mut call))?;
            if self.run_bulk(operation, &call).await? == Value::Int(1) {
                return Ok(decided);
            }
        }
        self.named(operation, Err(Problem::contended()))
    }

    /// What is deployed, and the server's time.
    async fn roster(&self, operation: &'static str) -> Result<(Roster, Timestamp), StoreError> {
        let call = self.call(&scripts::DEPLOYMENTS);
        let answer = self.run_bulk(operation, &call).await?;
        self.named(operation, roster(answer))
    }
}

fn roster(answer: Value) -> Stepped<(Roster, Timestamp)> {
    let mut values = reply::list(answer)?.into_iter();
    let now = reply::time(reply::next(&mut values)?)?;
    let revision = reply::number(reply::next(&mut values)?)?;
    let rows = reply::pairs(reply::next(&mut values)?)?;
    let versions = rows
        .iter()
        .map(|(field, body)| deployments::decode(field, body));
    let versions: Vec<Deployment> = versions.collect::<Stepped<_>>()?;
    let newest = reply::pairs(reply::next(&mut values)?)?;
    let newest = newest.into_iter().map(|(name, number)| {
        let name = reply::name(&name, |text| DeploymentName::new(text))?;
        let number = reply::number(Value::BulkString(number.into()))?;
        Ok((name, u32::try_from(number).unwrap_or(u32::MAX)))
    });
    let newest: BTreeMap<_, _> = newest.collect::<Stepped<_>>()?;
    let pinned = reply::list(reply::next(&mut values)?)?.into_iter();
    let digest = |value| {
        let bytes = reply::bytes(value)?;
        let bytes = <[u8; 32]>::try_from(&bytes[..]);
        let bytes = bytes.map_err(|_| Problem::unexpected("a digest"))?;
        Ok(Digest::from_bytes(bytes))
    };
    let pinned: BTreeSet<Digest> = pinned.map(digest).collect::<Stepped<_>>()?;
    Ok((Roster::new(revision, versions, newest, pinned), now))
}
