//! `store`: what the stores are, and how safe they keep things.

use anyhow::Result;
use comfy_table::Cell;
use serde_json::{Map, Value, json};
use stem_core::queues::QueueStatus;
use stem_core::stores::Stores;
use stem_core::upkeep::Fact;

use crate::invocation::Invocation;
use crate::output;

/// What to do with stores
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Where the stores are, what they promise, and what they hold
    Info,
}

/// Shows the stores in force.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let Verb::Info = verb;
    let stores = invocation.open_stores_to_look_at().await?;
    let output = &invocation.output;
    let servers = describe(&stores, invocation).await?;
    let queues = stores.queues.queues().await?;
    let counts = counts(&stores, &queues).await?;
    if output.is_json {
        return output.json(&value(invocation, servers, counts));
    }
    for facts in servers {
        output.details(
            facts
                .into_iter()
                .map(|(name, fact)| (name, Cell::new(text(fact)))),
        )?;
        output.line("")?;
    }
    let file = invocation.config.file.as_ref();
    let file = file.map_or("none".to_owned(), |file| file.display().to_string());
    output.details([
        ("configuration", Cell::new(file)),
        ("namespace", Cell::new(&invocation.config.namespace)),
    ])?;
    output.details(
        counts
            .into_iter()
            .map(|(name, count)| (name, Cell::new(count))),
    )
}

fn value(invocation: &Invocation, servers: Vec<Facts>, counts: Counts) -> Value {
    let config = &invocation.config;
    let counts: Map<String, Value> = counts
        .into_iter()
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect();
    let servers: Vec<Map<String, Value>> = servers
        .into_iter()
        .map(|facts| facts.into_iter().map(|(name, fact)| json_fact(name, fact)))
        .map(Iterator::collect)
        .collect();
    json!({
        "namespace": config.namespace,
        "broker": config.broker.to_string(),
        "result_backend": config.results.to_string(),
        "configuration": config.file,
        "stores": servers,
        "counts": counts,
    })
}

fn text(fact: Fact) -> String {
    match fact {
        Fact::Text(text) => text,
        Fact::Count(count) => count.to_string(),
        Fact::Size(size) => output::size(size.0),
        Fact::Flag(is_so) => if is_so { "yes" } else { "no" }.to_owned(),
    }
}

fn json_fact(name: &str, fact: Fact) -> (String, Value) {
    let name = name.replace(' ', "_");
    match fact {
        Fact::Text(text) => (name, text.into()),
        Fact::Count(count) => (name, count.into()),
        Fact::Size(size) => (format!("{name}_bytes"), size.0.into()),
        Fact::Flag(is_so) => (name, is_so.into()),
    }
}

type Facts = Vec<(&'static str, Fact)>;
type Counts = Vec<(&'static str, u64)>;

async fn describe(stores: &Stores, invocation: &Invocation) -> Result<Vec<Facts>> {
    let config = &invocation.config;
    let urls = [("broker", &config.broker), ("results", &config.results)];
    let mut servers = Vec::new();
    for (upkeep, (role, url)) in stores.upkeep.iter().zip(urls) {
        let mut facts = vec![(role, Fact::Text(url.to_string()))];
        facts.extend(upkeep.describe().await?);
        servers.push(facts);
    }
    let can = stores.broker.capabilities();
    if let Some(broker) = servers.first_mut() {
        broker.extend([
            ("shared by processes", Fact::Flag(can.is_shared)),
            ("outlives processes", Fact::Flag(can.is_durable)),
            ("one step with results", Fact::Flag(can.keeps_records)),
        ]);
    }
    Ok(servers)
}

async fn counts(stores: &Stores, queues: &[QueueStatus]) -> Result<Counts> {
    let sum = |count: fn(&QueueStatus) -> u64| queues.iter().map(count).sum::<u64>();
    let workers = stores.control.workers().await?;
    Ok(vec![
        ("queues", queues.len() as u64),
        ("queued", sum(|queue| queue.queued)),
        ("scheduled", sum(|queue| queue.scheduled)),
        ("running", sum(|queue| queue.running)),
        ("dead", sum(|queue| queue.dead)),
        (
            "deployments",
            stores.modules.deployments().await?.len() as u64,
        ),
        ("revision", stores.modules.revision().await?),
        (
            "workers",
            workers.iter().filter(|worker| !worker.is_dead).count() as u64,
        ),
    ])
}
