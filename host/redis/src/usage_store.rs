//! What attempts used, summed by the hour: one field for each key, written once for a batch of reports (S8).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stem_core::store_error::StoreError;
use stem_core::usage::{OTHER_TENANTS, UsageKey, UsageSums};
use stem_core::usage_store::{UsageBy, UsageQuestion, UsageShare, UsageStore};

use crate::link::Call;
use crate::problem::{Problem, Stepped};
use crate::reply;
use crate::scripts;
use crate::store::Store;

/// How many numbers a sum has.
const NUMBERS: usize = 13;

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, question: &UsageQuestion) -> Result<Vec<UsageShare>, StoreError> {
        const SUM: &str = "sum up usage";
        let mut shares = Shares::new();
        let mut since = question.since.as_millis().to_string();
        while !since.is_empty() {
            let mut call = self.call(&scripts::SUMS);
            call.arg(&since);
            let answer = self.run_bulk(SUM, &call).await?;
            since = self.named(SUM, add_hours(answer, question, &mut shares))?;
        }
        let share = |(name, sums)| UsageShare { name, sums };
        Ok(shares.into_iter().map(share).collect())
    }
}

/// What was used, by name.
type Shares = BTreeMap<Option<String>, UsageSums>;

/// Adds what some hours hold; gives where the next ones begin.
fn add_hours(answer: Value, question: &UsageQuestion, shares: &mut Shares) -> Stepped<String> {
    let mut hours = reply::list(answer)?.into_iter();
    let since = reply::text(reply::next(&mut hours)?)?;
    for hour in hours {
        for (key, sums) in reply::pairs(hour)? {
            if let Some(name) = name_of(&key, question)? {
                shares.entry(name).or_default().add(&read(&sums)?);
            }
        }
    }
    Ok(since)
}

/// Whose share this is, if it is asked for at all.
fn name_of(key: &[u8], question: &UsageQuestion) -> Stepped<Option<Option<String>>> {
    let text = std::str::from_utf8(key).map_err(|error| Problem::unreadable("a sum", error))?;
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (task, queue, tenant) = (part(), part(), part());
    let is_asked_for = question
        .task
        .as_ref()
        .is_none_or(|one| one.as_str() == task)
        && question
            .queue
            .as_ref()
            .is_none_or(|one| one.as_str() == queue)
        && question.tenant.as_ref().is_none_or(|one| one == tenant);
    if !is_asked_for {
        return Ok(None);
    }
    let name = match question.by {
        UsageBy::Task => task,
        UsageBy::Queue => queue,
        UsageBy::Tenant => tenant,
    };
    Ok(Some(Some(name.to_owned()).filter(|name| !name.is_empty())))
}

/// Adds sums to a script's arguments: their key, the key that they have in a full hour, and the numbers.
pub(crate) fn add_to(call: &mut Call, key: &UsageKey, sums: &UsageSums) {
    let field = |tenant: &str| format!("{}\0{}\0{tenant}", key.task, key.queue);
    let apart = field(key.tenant.as_deref().unwrap_or_default());
    let among = match key.tenant {
        Some(_) => field(OTHER_TENANTS),
        None => apart.clone(),
    };
    call.arg(apart).arg(among).arg(pack(sums));
}

fn pack(sums: &UsageSums) -> Vec<u8> {
    // Far from where a script's numbers would no longer be whole.
    const MOST: u64 = 1 << 53;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let whole = |number: u64| number.min(MOST).to_be_bytes();
    #[expect(
        clippy::cast_precision_loss,
        reason = "the server adds them up as floating-point numbers"
    )]
    let memory = (sums.memory_byte_millis as f64).to_be_bytes();
    let numbers: [[u8; 8]; NUMBERS] = [
        whole(sums.succeeded),
        whole(sums.failed),
        whole(sums.snoozed),
        whole(sums.cancelled),
        whole(sums.expired),
        whole(sums.interrupted),
        whole(micros(sums.cpu)),
        whole(micros(sums.wall)),
        memory,
        whole(sums.peak_memory_bytes),
        whole(sums.fuel),
        whole(sums.host_calls),
        whole(sums.bytes_out),
    ];
    numbers.concat()
}

fn read(bytes: &[u8]) -> Stepped<UsageSums> {
    if bytes.len() != NUMBERS * 8 {
        return Err(Problem::unreadable("a sum", "it has not the right length"));
    }
    let number = |index: usize| {
        let bytes = bytes[index * 8..index * 8 + 8].iter();
        bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    Ok(UsageSums {
        succeeded: number(0),
        failed: number(1),
        snoozed: number(2),
        cancelled: number(3),
        expired: number(4),
        interrupted: number(5),
        cpu: Duration::from_micros(number(6)),
        wall: Duration::from_micros(number(7)),
        // Bytes times time leave a script's whole numbers within a day: their total is a floating-point number.
        memory_byte_millis: f64::from_bits(number(8)) as u128,
        peak_memory_bytes: number(9),
        fuel: number(10),
        host_calls: number(11),
        bytes_out: number(12),
    })
}
