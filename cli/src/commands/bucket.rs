//! `bucket`: list and purge what tasks keep (S2, R4).

use anyhow::Result;
use comfy_table::Cell;
use serde_json::json;
use stem_core::key_value::{BucketStatus, Fill};
use stem_core::names::{BucketName, nearest};
use stem_core::stores::Stores;

use crate::arguments::OneBucket;
use crate::errors::Failure;
use crate::invocation::Invocation;
use crate::output::{Columns, Output, size};
use crate::progress;
use crate::stores::Lifetime;
use crate::terminal::Consent;

/// Keys that are removed in one step.
const CHUNK: usize = 500;

/// What to do with buckets
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Every bucket that holds something
    List,
    /// Remove everything that lies in a bucket
    Purge(PurgeArgs),
}

/// Which bucket is purged, and how sure that is
#[derive(Debug, clap::Args)]
pub struct PurgeArgs {
    #[command(flatten)]
    bucket: OneBucket,
    #[command(flatten)]
    consent: Consent,
}

/// Looks after buckets.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    match verb {
        Verb::List => list(&stores, &invocation.output).await,
        Verb::Purge(args) => {
            let name = args.bucket.get();
            purge(&name, args.consent, &stores, &invocation.output).await
        }
    }
}

async fn list(stores: &Stores, output: &Output) -> Result<()> {
    let buckets = stores.key_value.buckets().await?;
    let columns = Columns {
        header: &["bucket", "keys", "size"],
        row,
        none: "no bucket holds anything",
    };
    output.list(&buckets, BucketStatus::clone, &columns)
}

fn row(bucket: &BucketStatus) -> Vec<Cell> {
    let Fill { keys, bytes } = bucket.fill;
    vec![
        Cell::new(&bucket.name),
        Cell::new(keys),
        Cell::new(size(bytes)),
    ]
}

async fn purge(
    name: &BucketName,
    consent: Consent,
    stores: &Stores,
    output: &Output,
) -> Result<()> {
    let keys = find(name, stores).await?.keys;
    if !consent.dry_run {
        consent.obtain(&format!("remove the {keys} keys of `{name}`"))?;
    }
    let removed = match consent.dry_run {
        true => 0,
        false => clear(name, keys, stores).await?,
    };
    if output.is_json {
        return output.json(&json!({
            "bucket": name, "keys": keys, "removed": removed, "dry_run": consent.dry_run,
        }));
    }
    match consent.dry_run {
        true => output.line(format!("would remove {keys} keys of `{name}`")),
        false => output.line(format!("removed {removed} keys of `{name}`")),
    }
}

async fn find(name: &BucketName, stores: &Stores) -> Result<Fill> {
    let buckets = stores.key_value.buckets().await?;
    if let Some(found) = buckets.iter().find(|bucket| bucket.name == *name) {
        return Ok(found.fill);
    }
    let near = nearest(name.as_str(), buckets.iter().map(|one| one.name.as_str()));
    let hint = near.map(|near| format!("; did you mean `{near}`?"));
    let problem = format!(
        "no bucket named `{name}` holds anything{}",
        hint.unwrap_or_default()
    );
    Err(Failure::not_found(format!("purge `{name}`"), problem).into())
}

/// Removes chunk by chunk, and no more than there was at the start: what tasks add meanwhile stays.
async fn clear(name: &BucketName, keys: u64, stores: &Stores) -> Result<u64> {
    let bar = progress::bar(keys, "removing");
    let mut removed = 0;
    while removed < keys {
        let chunk = CHUNK.min(usize::try_from(keys - removed).unwrap_or(CHUNK));
        match stores.key_value.clear(name, chunk).await? {
            0 => break,
            more => removed += more,
        }
        bar.set_position(removed);
    }
    bar.finish_and_clear();
    Ok(removed)
}
