//! What is logged, and how: readable lines on a terminal, JSON otherwise, always on standard error.

use std::io::IsTerminal;

use anyhow::Result;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::errors::Failure;

/// Starts logging; `level` is a level or a filter such as `stem_worker=debug`.
pub fn start(level: Option<&str>, default: &str, has_color: bool) -> Result<()> {
    let filter = level.unwrap_or(default);
    let filter = EnvFilter::try_new(expanded(filter))
        .map_err(|error| Failure::usage(format!("read the log level `{filter}`"), error))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_ansi(has_color).finish().init();
    } else {
        builder.json().flatten_event(true).finish().init();
    }
    Ok(())
}

/// A bare level is meant for this program, not for every library in it.
fn expanded(filter: &str) -> String {
    match filter.parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::WARN => format!("warn,stem={level}"),
        _ => filter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_for_this_programs_own_lines() {
        assert_eq!(expanded("debug"), "warn,stem=debug");
        assert_eq!(expanded("error"), "error");
        assert_eq!(expanded("warn,notify=trace"), "warn,notify=trace");
    }
}
