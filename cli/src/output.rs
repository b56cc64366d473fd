//! How answers are printed: JSON for programs; tables and colour for a person on a terminal, plain columns otherwise.

use std::io::{ErrorKind, IsTerminal, Stdout, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use comfy_table::{
    Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets,
};
use serde::Serialize;
use stem_core::clock::Timestamp;
use stem_core::state::State;
use stem_core::units::format_duration;

/// Text is not squeezed into less: rather it goes over the terminal's edge.
const NARROWEST_TEXT: u16 = 24;

/// Whoever read standard output has closed it: `head` has seen enough.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the answer any more")]
pub struct Unheard;

fn heard(written: std::io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Unheard.into()),
        other => other.context("print the answer"),
    }
}

/// How the items of a list become rows.
pub struct Columns<'a, T> {
    /// The columns' names.
    pub header: &'a [&'a str],
    /// One item's cells.
    pub row: fn(&T) -> Vec<Cell>,
    /// What is said where there is no item.
    pub none: &'static str,
}

/// Where answers go, and in which form.
#[derive(Debug, Clone)]
pub struct Output {
    /// Whether programs read the answer.
    pub is_json: bool,
    stdout: Arc<Stdout>,
    is_terminal: bool,
    has_color: bool,
}

impl Output {
    /// Standard output, as it is; `allows_color` is false where NO_COLOR is set.
    pub fn new(is_json: bool, allows_color: bool) -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        Self {
            is_json,
            stdout: Arc::new(stdout),
            is_terminal,
            has_color: is_terminal && allows_color,
        }
    }

    /// Whether a person reads standard output.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints one line.
    pub fn line(&self, text: impl std::fmt::Display) -> Result<()> {
        heard(writeln!(self.stdout.lock(), "{text}"))
    }

    /// Prints bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = self.stdout.lock();
        heard(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    /// Prints one JSON value: indented for a person, on one line otherwise.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        if self.is_terminal {
            return self.line(harmless(&serde_json::to_string_pretty(value)?));
        }
        self.line(serde_json::to_string(value)?)
    }

    /// Prints a list: a JSON array of its views, or a table with a row for each item; `none` where there is no item.
    pub fn list<T, V: Serialize>(
        &self,
        items: &[T],
        view: impl Fn(&T) -> V,
        columns: &Columns<T>,
    ) -> Result<()> {
        if self.is_json {
            return self.json(&items.iter().map(view).collect::<Vec<_>>());
        }
        if items.is_empty() {
            self.note(columns.none);
            return Ok(());
        }
        self.table(columns.header, items.iter().map(columns.row))
    }

    /// Prints a table.
    pub fn table(&self, header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> Result<()> {
        let mut table = self.blank();
        if self.is_terminal {
            table.set_header(
                header
                    .iter()
                    .map(|name| Cell::new(name).add_attribute(Attribute::Bold)),
            );
        } else {
            table.set_header(header.iter().map(|name| name.to_uppercase()));
        }
        table.add_rows(rows);
        // What people copy is never broken over lines: only the last column is long, and holds text.
        let widest = table.column_max_content_widths().pop().unwrap_or_default();
        let mut columns = table.column_iter_mut().rev();
        if let Some(last) = columns.next() {
            let least = Width::Fixed(widest.min(NARROWEST_TEXT));
            last.set_constraint(ColumnConstraint::LowerBoundary(least));
        }
        for column in columns {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        self.print(&table)
    }

    /// Prints named values, one a line; those without a value are left out.
    pub fn details<N: ToString>(&self, details: impl IntoIterator<Item = (N, Cell)>) -> Result<()> {
        let mut table = self.blank();
        let named = details
            .into_iter()
            .filter(|(_, value)| !value.content().is_empty());
        table.add_rows(
            named.map(|(name, value)| vec![Cell::new(name).add_attribute(Attribute::Bold), value]),
        );
        self.print(&table)
    }

    /// Says something beside the answer, to a person only.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.is_json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    fn blank(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if !self.has_color {
            let width = table.width();
            table.force_no_tty();
            if let Some(width) = width {
                table.set_width(width);
            }
        }
        table
    }

    fn print(&self, table: &Table) -> Result<()> {
        let mut stdout = self.stdout.lock();
        for line in table.lines() {
            // Cells are padded on both sides: neither the first column nor the line's end needs that.
            let line = line.trim_end();
            heard(writeln!(
                stdout,
                "{}",
                line.strip_prefix(' ').unwrap_or(line)
            ))?;
        }
        Ok(())
    }
}

/// Text from a guest or a stored envelope: control characters cannot steer the terminal.
pub fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = (c.is_control() && c != '\n' && c != '\t').then(|| c.escape_debug());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// A number of bytes with no more digits than a person wants.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, factor)) = units.into_iter().find(|(_, factor)| bytes >= *factor) else {
        return format!("{bytes} bytes");
    };
    let tenths = u128::from(bytes) * 10 / u128::from(factor);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// How long ago a time was, in its largest whole unit.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(time).as_secs();
    let whole = match seconds {
        0..120 => seconds,
        120..7_200 => seconds / 60 * 60,
        7_200..172_800 => seconds / 3_600 * 3_600,
        _ => seconds / 86_400 * 86_400,
    };
    format!("{} ago", format_duration(Duration::from_secs(whole)))
}

/// A state in its colour.
pub fn state_cell(state: State) -> Cell {
    let color = match state {
        State::Succeeded => Color::Green,
        State::Failed => Color::Red,
        State::Retrying => Color::Yellow,
        State::Running => Color::Cyan,
        State::Scheduled | State::Queued | State::Cancelled | State::Expired => Color::Reset,
    };
    Cell::new(state).fg(color)
}

/// Something that deserves attention.
pub fn alarm_cell(text: impl ToString, is_alarming: bool) -> Cell {
    let cell = Cell::new(text);
    if is_alarming {
        cell.fg(Color::Red)
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_guest_do_not_reach_the_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\r\n");
    }

    #[test]
    fn a_size_is_shown_with_one_decimal_at_most() {
        for (bytes, said) in [
            (512, "512 bytes"),
            (132_216, "129.1 KiB"),
            (1 << 20, "1 MiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
    }

    #[test]
    fn how_long_ago_is_said_in_one_unit() {
        let now = Timestamp::from_millis(1_000_000_000);
        for (seconds, said) in [
            (0, "0s ago"),
            (90, "90s ago"),
            (185, "3m ago"),
            (7_300, "2h ago"),
            (200_000, "2d ago"),
        ] {
            assert_eq!(ago(now - Duration::from_secs(seconds), now), said);
        }
    }
}
