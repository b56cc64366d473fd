//! Runs steps one after another, shows how each goes, and keeps the times and counts for the table at the end.

use std::io::IsTerminal;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::command::{Printed, capture, shown};

/// A suite that takes longer belongs in several, or is to be shortened.
const LONGEST_SUITE: Duration = Duration::from_secs(90);

/// Begins a line of a suite that is repeated at the end: what it has counted.
const COUNTED: &str = "counted: ";

/// One thing to be run.
pub struct Step {
    name: String,
    command: Command,
    is_suite: bool,
}

impl Step {
    /// A step that succeeds or fails as a whole.
    pub fn new(name: impl Into<String>, command: Command) -> Self {
        Self {
            name: name.into(),
            command,
            is_suite: false,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with more in its environment.
    pub fn with<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// A step that runs tests and says how many.
    pub fn suite(name: impl Into<String>, command: Command) -> Self {
        Self {
            is_suite: true,
            ..Self::new(name, command)
        }
    }
}

/// How the steps went.
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    stops_at_failure: bool,
    began: Instant,
}

struct Row {
    name: String,
    took: Duration,
    counts: Option<Counts>,
    is_success: bool,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Report {
    /// An empty report.
    pub fn new(stops_at_failure: bool) -> Self {
        Self {
            rows: Vec::new(),
            notes: Vec::new(),
            stops_at_failure,
            began: now(),
        }
    }

    /// Keeps a remark for the end.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Runs a step; an error where it fails and failures stop the report.
    pub fn run(&mut self, step: Step) -> Result<()> {
        let line = shown(&step.command);
        let spinner = begin(&step.name);
        let began = now();
        let printed = capture(step.command)?;
        spinner.finish_and_clear();
        let row = Row {
            counts: step.is_suite.then(|| counts(&printed)),
            name: step.name,
            took: began.elapsed(),
            is_success: printed.is_success,
        };
        println!("{}", row.line());
        let is_success = row.is_success;
        self.rows.push(row);
        let counted = printed
            .text
            .lines()
            .filter_map(|line| line.strip_prefix(COUNTED));
        self.notes.extend(counted.map(str::to_owned));
        if !is_success {
            println!("\n{}\n`{line}` failed\n", printed.text.trim_end());
        }
        if !is_success && self.stops_at_failure {
            return self.conclude();
        }
        Ok(())
    }

    /// Prints the table; an error where a step has failed.
    pub fn conclude(&self) -> Result<()> {
        println!(
            "\n{:<44} {:>8}  {:>6} {:>6} {:>7}",
            "", "time", "passed", "failed", "ignored"
        );
        for row in &self.rows {
            println!("{}", row.line());
        }
        let all =
            self.rows
                .iter()
                .filter_map(|row| row.counts)
                .fold(Counts::default(), |sum, counts| Counts {
                    passed: sum.passed + counts.passed,
                    failed: sum.failed + counts.failed,
                    ignored: sum.ignored + counts.ignored,
                });
        for note in &self.notes {
            println!("note: {note}");
        }
        println!("in all {}", seconds(self.began.elapsed()));
        let broken: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| !row.is_success)
            .map(|row| row.name.as_str())
            .collect();
        if !broken.is_empty() {
            println!("{} passed, {} failed", all.passed, all.failed.max(1));
            bail!("failed: {}", broken.join(", "));
        }
        if all.passed > 0 {
            println!("{} passed, {} failed", all.passed, all.failed);
        }
        Ok(())
    }
}

impl Row {
    fn line(&self) -> String {
        let mark = if self.is_success { "ok  " } else { "FAIL" };
        let counts = self.counts.map_or_else(String::new, |counts| {
            format!(
                "  {:>6} {:>6} {:>7}",
                counts.passed, counts.failed, counts.ignored
            )
        });
        let is_long = self.counts.is_some() && self.took > LONGEST_SUITE;
        let remark = if is_long {
            "  longer than a suite should take"
        } else {
            ""
        };
        format!(
            "{mark} {:<39} {:>8}{counts}{remark}",
            self.name,
            seconds(self.took)
        )
    }
}

fn begin(name: &str) -> ProgressBar {
    if !std::io::stdout().is_terminal() {
        println!("...  {name}");
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn counts(printed: &Printed) -> Counts {
    let results = printed
        .text
        .lines()
        .filter(|line| line.starts_with("test result: "));
    let mut counts = Counts::default();
    for part in results.flat_map(|line| line.split([';', '.'])) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else {
            continue;
        };
        let number = number.parse::<u64>().unwrap_or(0);
        match what {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.ignored += number,
            _ => {}
        }
    }
    counts
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        whole => format!("{}m {:02}s", whole / 60, whole % 60),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a step takes is what is reported"
)]
fn now() -> Instant {
    Instant::now()
}
