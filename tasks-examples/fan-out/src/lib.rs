//! Splits a CSV file into one envelope for each row, so that a bad row is one dead letter and not a failed file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stem_guest::{Child, Context, Interruption, OrInterrupt};

/// The task that each row is enqueued for.
const ROW: &str = "fan-out.row";
/// Rows that are enqueued in one step.
const BATCH: u64 = 250;

/// A row: its values by the names of their columns.
type Row = BTreeMap<String, String>;

/// What became of the file.
#[derive(Debug, Serialize, JsonSchema)]
struct Split {
    /// Rows that are enqueued, those of earlier attempts included.
    rows: u64,
}

/// Enqueues every row of a CSV file with a header line, each once, however often this is tried.
#[stem_guest::task(
    name = "fan-out",
    max_attempts = 5,
    hard_time_limit = "30s",
    enqueue_limit = 10_000
)]
fn fan_out(ctx: &Context, csv: String) -> Result<Split, Interruption> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let done: u64 = ctx.checkpoint()?.unwrap_or(0);
    let rows = reader.deserialize::<Row>().zip(1..);
    let mut rows = rows.skip_while(|(_, number)| *number <= done).peekable();
    let mut last = done;
    while rows.peek().is_some() {
        if ctx.stop_requested().is_some() {
            return Err(Interruption::stopped());
        }
        let mut batch = Vec::new();
        for (row, number) in rows.by_ref().take(BATCH as usize) {
            batch.push(child(&row.or_reject("bad-csv")?, number));
            last = number;
        }
        ctx.enqueue_all(batch)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        ctx.save_checkpoint(&last)?;
        ctx.progress(0.0, format!("{last} rows"));
    }
    ctx.progress(1.0, format!("{last} rows"));
    Ok(Split { rows: last })
}

/// The key makes it the same child in every attempt.
fn child(row: &Row, number: u64) -> Child {
    Child::new(ROW, row)
        .with_key(format!("row-{number}"))
        .with_header("row", number.to_string())
}

/// A value of a row: a number where it is one.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Value {
    /// A number.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// Reads one row: numbers become numbers, and a row without a value in some column is rejected.
#[stem_guest::task(name = "fan-out.row", max_attempts = 3, hard_time_limit = "5s")]
fn read_row(ctx: &Context, row: Row) -> Result<BTreeMap<String, Value>, Interruption> {
    let missing = row.iter().find(|(_, text)| text.trim().is_empty());
    if let Some((column, _)) = missing {
        let rejected = Interruption::reject("missing-value", format!("no value for `{column}`"));
        let number = ctx.attempt().header("row").unwrap_or("unknown");
        return Err(rejected.with_detail("row", number));
    }
    let value = |text: String| match text.trim().parse() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Text(text),
    };
    Ok(row
        .into_iter()
        .map(|(column, text)| (column, value(text)))
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stem_guest::{Context, EnqueueError, Interruption, Payload, StopReason, testing};

    fn split(ctx: Context, rows: u64) -> (Result<Payload, Interruption>, Context) {
        let rows: String = (1..=rows).map(|row| format!("o{row},{row}\n")).collect();
        let csv = Payload::new("text/csv", format!("order,cents\n{rows}"));
        testing::run_in(ctx, "fan-out", csv)
    }

    #[test]
    fn every_row_is_a_child_with_a_key_of_its_own() {
        let (result, ctx) = split(Context::for_test(), 600);
        assert_eq!(result, Ok(json!({"rows": 600}).into()));
        let enqueued = ctx.recorded().enqueued;
        assert_eq!(enqueued.len(), 600);
        let last = &enqueued[599];
        assert_eq!(
            (last.task.as_str(), last.key.as_deref()),
            ("fan-out.row", Some("row-600"))
        );
        let row = json!({"order": "o600", "cents": "600"});
        assert_eq!(last.payload.decode::<serde_json::Value>(), Ok(row));
    }

    #[test]
    fn a_repeated_attempt_goes_on_after_the_last_batch() {
        let ctx = Context::for_test().with_stop_after(1, StopReason::Shutdown);
        let (stopped, ctx) = split(ctx, 600);
        assert_eq!(stopped, Err(Interruption::Stopped));
        assert_eq!(ctx.recorded().enqueued.len(), 250);
        let next = Context::for_test().with_checkpoint(&250);
        let (result, next) = split(next, 600);
        assert_eq!(result, Ok(json!({"rows": 600}).into()));
        let enqueued = next.recorded().enqueued;
        assert_eq!(enqueued[0].key.as_deref(), Some("row-251"));
        assert_eq!(enqueued.len(), 350);
    }

    #[test]
    fn a_store_that_is_full_is_tried_again_and_a_missing_grant_is_not() {
        let full = EnqueueError::Unavailable("full".to_owned());
        let (failed, _) = split(Context::for_test().with_enqueue_error(full), 1);
        assert!(matches!(failed, Err(Interruption::Retry(_))), "{failed:?}");
        let much = EnqueueError::Limited("too many".to_owned());
        let (failed, _) = split(Context::for_test().with_enqueue_error(much), 1);
        assert!(matches!(failed, Err(Interruption::Reject(_))), "{failed:?}");
    }

    #[test]
    fn a_file_that_is_no_csv_is_rejected() {
        let ragged = Payload::new("text/csv", "a,b\n1\n");
        let rejected = testing::run("fan-out", ragged).expect_err("ragged");
        assert!(rejected.to_string().starts_with("rejected: bad-csv: "));
    }

    #[test]
    fn a_row_has_numbers_where_they_are_and_no_gaps() {
        let row = testing::run("fan-out.row", json!({"order": "o1", "cents": "7"}));
        assert_eq!(row, Ok(json!({"cents": 7.0, "order": "o1"}).into()));
        let ctx = Context::for_test().with_header("row", "3");
        let (rejected, _) = testing::run_in(ctx, "fan-out.row", json!({"cents": " "}));
        assert_eq!(
            rejected.expect_err("a gap").to_string(),
            "rejected: missing-value: no value for `cents` row=3"
        );
    }
}
