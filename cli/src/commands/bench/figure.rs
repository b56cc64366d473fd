//! A measured figure with its spread.

use anyhow::Result;
use comfy_table::Cell;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::output::Output;

/// What was measured, run by run.
pub struct Figure {
    name: &'static str,
    unit: &'static str,
    runs: Vec<f64>,
    config: Map<String, Value>,
}

/// One entry of `bench --json`.
#[derive(Debug, Serialize)]
struct View {
    name: &'static str,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
    config: Map<String, Value>,
}

impl Figure {
    /// A figure without runs.
    pub fn new(name: &'static str, unit: &'static str, config: &Value) -> Self {
        Self {
            name,
            unit,
            runs: Vec::new(),
            config: config.as_object().cloned().unwrap_or_default(),
        }
    }

    /// Adds what one run gave.
    pub fn add(&mut self, value: f64) {
        self.runs.push(value);
    }

    fn view(&self) -> View {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        View {
            name: self.name,
            unit: self.unit,
            median: percentile(&sorted, 50),
            min: percentile(&sorted, 0),
            max: percentile(&sorted, 100),
            runs: sorted.len(),
            config: self.config.clone(),
        }
    }
}

/// The value that so many in a hundred of these sorted ones do not exceed; zero where there is none.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    permille(sorted, percent * 10)
}

/// The same for so many in a thousand.
pub fn permille(sorted: &[f64], share: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last * share).div_ceil(1_000);
    sorted.get(place).copied().unwrap_or_default()
}

/// Prints figures as a table, or as JSON; what holds for all of them is said once.
pub fn print(figures: &[Figure], output: &Output) -> Result<()> {
    if output.is_json {
        let views: Vec<View> = figures.iter().map(Figure::view).collect();
        return output.json(&views);
    }
    let shared = shared(figures);
    let header = ["figure", "median", "min", "max", "unit", "runs", "with"];
    output.table(&header, figures.iter().map(|figure| row(figure, &shared)))?;
    output.line(format!("\nwith {}", listed(&shared)))
}

/// What every figure was measured with.
fn shared(figures: &[Figure]) -> Map<String, Value> {
    let mut shared = figures
        .first()
        .map(|figure| figure.config.clone())
        .unwrap_or_default();
    for figure in figures {
        shared.retain(|name, value| figure.config.get(name) == Some(value));
    }
    shared
}

fn row(figure: &Figure, shared: &Map<String, Value>) -> Vec<Cell> {
    let view = figure.view();
    let mut own = view.config;
    own.retain(|name, _| !shared.contains_key(name));
    vec![
        Cell::new(view.name),
        Cell::new(rounded(view.median)),
        Cell::new(rounded(view.min)),
        Cell::new(rounded(view.max)),
        Cell::new(view.unit),
        Cell::new(view.runs),
        Cell::new(listed(&own)),
    ]
}

fn listed(config: &Map<String, Value>) -> String {
    let listed: Vec<String> = config
        .iter()
        .map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
        .collect();
    listed.join(", ")
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Three digits that count, and no more.
fn rounded(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_figure_has_the_shape_that_programs_rely_on() {
        let mut figure = Figure::new("enqueue", "a second", &json!({"batch": 1_000}));
        for value in [5.0, 1.0, 3.0, 2.0, 4.0] {
            figure.add(value);
        }
        assert_eq!(
            serde_json::to_value(figure.view()).expect("JSON"),
            json!({
                "name": "enqueue", "unit": "a second", "median": 3.0, "min": 1.0, "max": 5.0,
                "runs": 5, "config": {"batch": 1_000},
            })
        );
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert!((percentile(&values, 50) - 101.0).abs() < f64::EPSILON);
        assert!((percentile(&values, 99) - 199.0).abs() < f64::EPSILON);
        assert!((permille(&values, 999) - 200.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 50).abs() < f64::EPSILON);
    }
}
