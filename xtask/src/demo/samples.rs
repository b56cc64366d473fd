//! The demonstration's input: this repository's own Markdown, a year of measurements, and a picture.

use std::f64::consts::TAU;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::host::Host;
use crate::command::root;

/// One input of one task.
pub struct Sample {
    /// The task that it is for.
    pub task: &'static str,
    /// What it is, for people.
    pub input: String,
    /// Where it lies.
    pub file: PathBuf,
    /// What else `enqueue` is told.
    pub flags: Vec<&'static str>,
    /// The envelope's id, once it is enqueued.
    pub id: String,
}

/// All of them.
pub fn all(host: &Host) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for document in documents()? {
        let input = document
            .strip_prefix(root())
            .unwrap_or(&document)
            .display()
            .to_string();
        if document.parent() == Some(root().as_path()) {
            let text = fs::read_to_string(&document).with_context(|| format!("reading {input}"))?;
            let file = host.write(&format!("{input}.json"), json!({"text": text}).to_string())?;
            samples.push(Sample::new("word-count", &input, file));
        }
        samples.push(Sample::new("markdown", &input, document));
    }
    let csv = host.write("weather.csv", weather())?;
    samples.push(Sample::new(
        "csv-report",
        "a year of weather, hour by hour",
        csv,
    ));
    let picture = host.write("hills.png", include_bytes!("../../assets/hills.png"))?;
    samples.push(Sample {
        flags: vec![
            "--header",
            "thumbnail-width=320",
            "--header",
            "thumbnail-height=320",
        ],
        ..Sample::new("thumbnail", "hills.png, 960 × 600", picture)
    });
    samples.sort_by_key(|sample| sample.task);
    Ok(samples)
}

/// A file with every line of the documents as the payload of `word-count`.
pub fn lines(host: &Host) -> Result<PathBuf> {
    let mut payloads = String::new();
    for document in documents()? {
        let text = fs::read_to_string(document)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            payloads.push_str(&json!({"text": line}).to_string());
            payloads.push('\n');
        }
    }
    host.write("lines.jsonl", payloads)
}

impl Sample {
    fn new(task: &'static str, input: &str, file: PathBuf) -> Self {
        Self {
            task,
            input: input.to_owned(),
            file,
            flags: Vec::new(),
            id: String::new(),
        }
    }

    /// What came of it, in a few words.
    pub fn summary(&self, result: &Value) -> String {
        match self.task {
            "markdown" => of_markdown(result),
            "word-count" => of_words(result),
            "csv-report" => of_csv(result),
            _ => of_picture(result),
        }
    }
}

/// The documents of this repository that a reader would look for.
fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    markdown_in(&root(), &mut found)?;
    for entry in fs::read_dir(root().join("tasks-examples"))? {
        markdown_in(&entry?.path(), &mut found)?;
    }
    markdown_in(&root().join("guest-sdk").join("rust"), &mut found)?;
    Ok(found)
}

fn markdown_in(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    files.sort();
    found.append(&mut files);
    Ok(())
}

/// A year of made-up weather: the same on every machine.
fn weather() -> String {
    let mut csv = "day,hour,temperature,wind,sky\n".to_owned();
    for hour in 0..8_760_u32 {
        let (day, of_day) = (f64::from(hour / 24), f64::from(hour % 24));
        let season = -9.0 * (TAU * (day - 15.0) / 365.0).cos();
        let sun = -4.0 * (TAU * (of_day - 3.0) / 24.0).cos();
        let noise = f64::from(hour.wrapping_mul(2_654_435_761) >> 24) / 64.0;
        let sky = ["clear", "cloudy", "rain"][(hour / 7 % 3) as usize];
        // Writing to a string cannot fail.
        let _ = writeln!(
            csv,
            "{day},{of_day},{:.1},{:.1},{sky}",
            10.0 + season + sun + noise,
            noise * 3.0
        );
    }
    csv
}

fn of_markdown(page: &Value) -> String {
    let headings = page["headings"].as_array().map_or(0, Vec::len);
    let html = page["html"].as_str().unwrap_or_default().len();
    match page["title"].as_str() {
        Some(title) => format!("“{title}”, {headings} headings, {html} bytes of HTML"),
        None => format!("{html} bytes of HTML"),
    }
}

fn of_words(counts: &Value) -> String {
    let counts: Vec<(&String, u64)> = counts
        .as_object()
        .into_iter()
        .flatten()
        .map(|(word, count)| (word, count.as_u64().unwrap_or_default()))
        .collect();
    let most = counts.iter().max_by_key(|(_, count)| *count);
    let most = most.map_or_else(String::new, |(word, count)| {
        format!(", most often “{word}” ({count})")
    });
    format!("{} different words{most}", counts.len())
}

fn of_csv(report: &Value) -> String {
    let columns = report["columns"].as_array().map_or(&[][..], Vec::as_slice);
    let temperature = columns
        .iter()
        .find(|column| column["name"] == "temperature");
    let of_temperature = temperature.map_or_else(String::new, |column| {
        format!(
            "; temperature {} to {}, on average {:.1}",
            column["min"],
            column["max"],
            column["mean"].as_f64().unwrap_or_default()
        )
    });
    format!(
        "{} rows, {} columns{of_temperature}",
        report["rows"],
        columns.len()
    )
}

fn of_picture(result: &Value) -> String {
    let encoded = result["base64"].as_str().unwrap_or_default().len();
    let kind = result["content_type"].as_str().unwrap_or("bytes");
    format!("{kind}, {} KiB", encoded * 3 / 4 / 1024)
}
