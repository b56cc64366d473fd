//! What the demonstration prints.

use super::host::{BINARY, STORE};

/// The longest cell of a table.
const WIDEST: usize = 66;

/// Begins a chapter.
pub fn title(title: &str) {
    println!("\n== {title}");
}

/// One line within a chapter.
pub fn line(line: impl std::fmt::Display) {
    println!("  {line}");
}

/// A table with a header, its columns as wide as they must be.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) {
    let header = header.map(str::to_owned);
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| {
        all()
            .map(|row| shortened(&row[column]).chars().count())
            .max()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or_default());
    for row in all() {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{:<width$}", shortened(cell)))
            .collect();
        line(cells.join("  ").trim_end());
    }
}

fn shortened(cell: &str) -> String {
    match cell.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell.to_owned(),
    }
}

/// What can be typed next: the store stays where it is.
pub fn next() {
    title("Try next");
    line("The store stays in target/demo until the next demonstration:");
    println!();
    for command in [
        format!("export STEM_BROKER_URL={STORE}"),
        format!("{BINARY} task list"),
        format!("{BINARY} worker start                # in another terminal, with the same export"),
        format!("{BINARY} enqueue word-count --payload '{{\"text\":\"a b a\"}}' --wait"),
        format!("{BINARY} enqueue markdown --payload @README.md --wait"),
        format!(
            "{BINARY} enqueue misbehave --payload '{{\"fate\":\"trap\"}}' --max-attempts 1 --wait"
        ),
        format!("{BINARY} dlq list"),
        format!("{BINARY} new my-tasks                # a project of your own"),
    ] {
        line(format!("  {command}"));
    }
    println!();
}
