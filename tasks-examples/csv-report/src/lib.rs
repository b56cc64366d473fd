//! Summarises a CSV file: what its columns hold, and how it is spread.

mod column;

use schemars::JsonSchema;
use serde::Serialize;
use stem_guest::{Context, Interruption, OrInterrupt};

use column::{Column, Tally};

/// How often the host hears of progress, and is asked whether to stop.
const ROWS_BETWEEN_REPORTS: u64 = 1_000;

/// What the file holds.
#[derive(Debug, Serialize, JsonSchema)]
struct Report {
    /// Rows below the header.
    rows: u64,
    /// What separates the values.
    delimiter: char,
    /// The columns, in order.
    columns: Vec<Column>,
}

/// Summarises CSV with a header line: for every column its type, counts, minimum, maximum and mean.
#[stem_guest::task(max_attempts = 3, hard_time_limit = "30s")]
fn csv_report(ctx: &Context, csv: String) -> Result<Report, Interruption> {
    let delimiter = delimiter_of(&csv);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(csv.as_bytes());
    let names = reader.headers().or_reject("bad-csv")?.clone();
    let mut tallies = vec![Tally::default(); names.len()];
    let mut rows = 0;
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).or_reject("bad-csv")? {
        tallies
            .iter_mut()
            .zip(&row)
            .for_each(|(tally, value)| tally.add(value));
        rows += 1;
        if rows % ROWS_BETWEEN_REPORTS == 0 {
            if ctx.stop_requested().is_some() {
                return Err(Interruption::stopped());
            }
            ctx.progress(
                share(reader.position().byte(), csv.len()),
                format!("{rows} rows"),
            );
        }
    }
    ctx.progress(1.0, format!("{} columns summarised", tallies.len()));
    let columns = names
        .iter()
        .zip(tallies)
        .map(|(name, tally)| tally.column(name))
        .collect();
    Ok(Report {
        rows,
        delimiter: char::from(delimiter),
        columns,
    })
}

/// The separator that the header line has most of; a comma where it has none.
fn delimiter_of(csv: &str) -> u8 {
    let header = csv.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    *b"\t|;,"
        .iter()
        .max_by_key(|delimiter| count(**delimiter))
        .unwrap_or(&b',')
}

fn share(done: u64, all: usize) -> f64 {
    done as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stem_guest::{Context, Interruption, Payload, StopReason, testing};

    fn report(csv: &str) -> Result<Value, Interruption> {
        testing::run("csv-report", Payload::new("text/csv", csv))?.decode()
    }

    #[test]
    fn each_column_is_summarised() {
        let report = report("city,people\nRome,10\nOslo,\nRome,4\n").expect("a report");
        let city = json!({"name": "city", "type": "text", "count": 3, "missing": 0, "distinct": 2,
            "min": "Oslo", "max": "Rome", "mean": null});
        let people = json!({"name": "people", "type": "integer", "count": 2, "missing": 1, "distinct": 2,
            "min": 4, "max": 10, "mean": 7.0});
        assert_eq!(
            report,
            json!({"rows": 3, "delimiter": ",", "columns": [city, people]})
        );
    }

    #[test]
    fn other_separators_and_quotes_are_understood() {
        let report = report("a;b\n\"1;2\";3,5\n").expect("a report");
        assert_eq!(
            (&report["delimiter"], &report["columns"][0]["min"]),
            (&json!(";"), &json!("1;2"))
        );
    }

    #[test]
    fn a_row_of_another_length_is_rejected_with_its_line() {
        let refused = report("a,b\n1,2\n3\n").expect_err("ragged");
        assert!(matches!(refused, Interruption::Reject(_)));
        assert!(refused.to_string().contains("line: 3"), "{refused}");
    }

    #[test]
    fn a_long_file_shows_progress_and_stops_when_asked() {
        let csv = format!("n\n{}", "1\n".repeat(2_500));
        let ctx = Context::for_test().with_stop_after(1, StopReason::Cancelled);
        let (stopped, ctx) = testing::run_in(ctx, "csv-report", Payload::new("text/csv", csv));
        assert_eq!(stopped, Err(Interruption::Stopped));
        assert_eq!(
            ctx.recorded().progress,
            [(2_002.0 / 5_002.0, "1000 rows".to_owned())]
        );
    }
}
