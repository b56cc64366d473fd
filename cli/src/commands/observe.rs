//! `observe`: looking at what goes on, and at what went on before.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::Cell;
use serde_json::{Map, Value, json};
use stem_core::clock::Timestamp;
use stem_core::module_store::DeployedTask;
use stem_core::names::{QueueName, TaskName};
use stem_core::stores::Stores;
use stem_core::usage::{UsageSums, first_kept_hour, hour_of};
use stem_core::usage_store::{UsageBy, UsageQuestion, UsageShare};

use super::result::elapsed;
use crate::arguments::{self, Since};
use crate::invocation::Invocation;
use crate::output::{Output, alarm_cell, harmless, size};
use crate::stores::Lifetime;
use crate::views::exact_millis;

/// What to look at
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// What attempts used, summed by task, queue or tenant
    Usage(UsageArgs),
}

/// Whose usage, and since when
#[derive(Debug, clap::Args)]
pub struct UsageArgs {
    /// What is summed together; the tenant is the header `tenant`
    #[arg(long, value_enum, default_value_t = By::Task)]
    by: By,
    /// From the beginning of the hour of this time on: 24h, 7d or 2026-11-20T08:00:00Z; sums are kept for 31 days
    #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = arguments::since)]
    since: Since,
    /// Of this task alone
    #[arg(long)]
    task: Option<TaskName>,
    /// Of this queue alone
    #[arg(long)]
    queue: Option<QueueName>,
    /// Of this tenant alone
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Task,
    Queue,
    Tenant,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Queue => "queue",
            Self::Tenant => "tenant",
        }
    }
}

/// Looks at what the verb names.
pub async fn run(verb: Verb, invocation: &Invocation) -> Result<()> {
    let Verb::Usage(args) = verb;
    let stores = invocation.open_stores(Lifetime::Existing).await?;
    let output = &invocation.output;
    let question = args.question(stores.clock.now());
    let account = Account::of(args.by, &question, &stores).await?;
    match output.is_json {
        true => output.json(&account.values()),
        false => account.show(output),
    }
}

impl UsageArgs {
    fn question(&self, now: Timestamp) -> UsageQuestion {
        UsageQuestion {
            task: self.task.clone(),
            queue: self.queue.clone(),
            tenant: self.tenant.clone(),
            ..everything(self.by, self.since, now)
        }
    }
}

fn everything(by: By, since: Since, now: Timestamp) -> UsageQuestion {
    UsageQuestion {
        by: match by {
            By::Task => UsageBy::Task,
            By::Queue => UsageBy::Queue,
            By::Tenant => UsageBy::Tenant,
        },
        since: hour_of(since.time(now)).max(first_kept_hour(now)),
        task: None,
        queue: None,
        tenant: None,
    }
}

/// What was used since the beginning of an hour.
pub struct Account {
    by: By,
    since: Timestamp,
    shares: Vec<UsageShare>,
}

impl Account {
    async fn of(by: By, question: &UsageQuestion, stores: &Stores) -> Result<Self> {
        let shares = stores.usage.usage(question).await?;
        let since = question.since;
        Ok(Self { by, since, shares })
    }

    /// What each of these tasks used in the last 24 hours, with zeros for those that did not run.
    pub async fn of_tasks(tasks: &[DeployedTask], stores: &Stores) -> Result<Self> {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        let question = everything(By::Task, Since::Ago(DAY), stores.clock.now());
        let all = Self::of(By::Task, &question, stores).await?;
        let share = |task: &DeployedTask| {
            let name = Some(task.name.to_string());
            let known = all.shares.iter().find(|share| share.name == name);
            let sums = known.map(|share| share.sums).unwrap_or_default();
            UsageShare { name, sums }
        };
        let shares = tasks.iter().map(share).collect();
        Ok(Self { shares, ..all })
    }

    /// `observe usage --json`.
    pub fn values(&self) -> Vec<Value> {
        let value = |share: &UsageShare| {
            let mut value = Map::new();
            value.insert(self.by.word().to_owned(), json!(share.name));
            value.insert("since".to_owned(), json!(self.since.to_string()));
            value.extend(numbers(&share.sums));
            Value::Object(value)
        };
        self.shares.iter().map(value).collect()
    }

    /// A row for each share.
    pub fn show(&self, output: &Output) -> Result<()> {
        let since = self.since;
        if self.shares.is_empty() {
            output.note(format!("no attempt has ended since {since}"));
            return Ok(());
        }
        output.line(format!("since {since}"))?;
        let header = [
            self.by.word(),
            "attempts",
            "succeeded",
            "failed",
            "cpu",
            "wall",
            "peak memory",
            "fuel",
            "calls",
            "sent",
        ];
        output.table(&header, self.shares.iter().map(row))
    }
}

/// What was used, with the units in the names.
fn numbers(sums: &UsageSums) -> Map<String, Value> {
    let byte_time = sums.memory_byte_millis as f64 / 1_000.0;
    let numbers = [
        ("attempts", json!(sums.attempts())),
        ("succeeded", json!(sums.succeeded)),
        ("failed", json!(sums.failed)),
        ("snoozed", json!(sums.snoozed)),
        ("cancelled", json!(sums.cancelled)),
        ("expired", json!(sums.expired)),
        ("interrupted", json!(sums.interrupted)),
        ("cpu_ms", json!(exact_millis(sums.cpu))),
        ("wall_ms", json!(exact_millis(sums.wall))),
        ("peak_memory_bytes", json!(sums.peak_memory_bytes)),
        ("memory_byte_seconds", json!(byte_time)),
        ("fuel", json!(sums.fuel)),
        ("host_calls", json!(sums.host_calls)),
        ("bytes_out", json!(sums.bytes_out)),
    ];
    let named = numbers.into_iter();
    named
        .map(|(name, number)| (name.to_owned(), number))
        .collect()
}

fn row(share: &UsageShare) -> Vec<Cell> {
    let sums = &share.sums;
    vec![
        Cell::new(harmless(share.name.as_deref().unwrap_or("-"))),
        Cell::new(sums.attempts()),
        Cell::new(sums.succeeded),
        alarm_cell(sums.failed, sums.failed > 0),
        Cell::new(elapsed(sums.cpu)),
        Cell::new(elapsed(sums.wall)),
        Cell::new(size(sums.peak_memory_bytes)),
        Cell::new(sums.fuel),
        Cell::new(sums.host_calls),
        Cell::new(size(sums.bytes_out)),
    ]
}
