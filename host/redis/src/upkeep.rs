//! Removes what has outlived its retention and does not go by itself, and says what this store is (R4).

use async_trait::async_trait;
use stem_core::store_error::StoreError;
use stem_core::units::ByteSize;
use stem_core::upkeep::{Fact, Upkeep};

use crate::problem::Stepped;
use crate::reply;
use crate::reserve;
use crate::scripts;
use crate::server::{Report, Settings};
use crate::store::Store;

const ASKED: [&str; 4] = ["server", "memory", "persistence", "replication"];
const DESCRIBE: &str = "describe the store";

#[async_trait]
impl Upkeep for Store {
    async fn sweep(&self, limit: usize) -> Result<u64, StoreError> {
        const SWEEP: &str = "sweep";
        let watched = self
            .shared
            .eviction
            .look(self.shared.link(), &self.shared.options);
        self.named(SWEEP, watched.await)?;
        let mut call = self.call(&scripts::SWEEP);
        call.arg(limit);
        let answer = self.run_bulk(SWEEP, &call).await?;
        self.named(SWEEP, reply::number(answer))
    }

    async fn describe(&self) -> Result<Vec<(&'static str, Fact)>, StoreError> {
        let mut facts = self.named(DESCRIBE, self.facts().await)?;
        let call = self.call(&scripts::CONTENTS);
        let answer = self.run_bulk(DESCRIBE, &call).await?;
        let counts =
            reply::list(answer).and_then(|values| values.into_iter().map(reply::number).collect());
        let counts: Vec<u64> = self.named(DESCRIBE, counts)?;
        let names = [
            "envelopes",
            "dead letters",
            "deployments",
            "buckets",
            "keys in buckets",
        ];
        let counted = names.into_iter().zip(&counts);
        facts.extend(counted.map(|(name, number)| (name, Fact::Count(*number))));
        let size = counts.last().copied().unwrap_or_default();
        facts.push(("size of buckets", Fact::Size(ByteSize(size))));
        Ok(facts)
    }
}

impl Store {
    async fn facts(&self) -> Stepped<Vec<(&'static str, Fact)>> {
        let link = self.shared.link();
        let report = Report::of(link, &ASKED).await?;
        let settings = Settings::of(link).await?;
        let route = self.shared.route();
        let options = &self.shared.options;
        let mut facts = vec![
            ("store", "redis".into()),
            ("server", Fact::Text(options.url.to_string())),
            ("namespace", options.namespace.as_str().into()),
            ("redis version", report.text("redis_version").into()),
            ("durability", Fact::Text(report.durability(&settings))),
            ("replicas", Fact::Count(report.replicas())),
            (
                "replicas waited for",
                Fact::Count(options.wait_replicas.into()),
            ),
            ("eviction policy", report.text("maxmemory_policy").into()),
            ("memory in use", Fact::Size(report.used())),
        ];
        if let Some(most) = report.most() {
            facts.push(("memory at the most", Fact::Size(most)));
            facts.push(("publishing stops at", Fact::Size(reserve::limit(most))));
        }
        let is_cluster = report.text("redis_mode") == "cluster";
        if is_cluster || options.url.is_sentinel() {
            facts.push(("node", Fact::Text(route.serving().unwrap_or_default())));
        }
        if is_cluster {
            let spread =
                "a namespace lives on one node of a cluster: a fleet spreads by namespaces";
            facts.push(("nodes of the cluster", Fact::Count(route.node_count())));
            facts.push(("spread", spread.into()));
        }
        Ok(facts)
    }
}
