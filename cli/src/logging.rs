//! What is logged, and how: readable lines on a terminal, JSON otherwise, always on standard error.

use std::io::IsTerminal;

use anyhow::Result;
use stem_core::names::nearest;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::errors::Failure;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging; `level` is a level or a filter such as `stem_worker=debug`.
pub fn start(level: Option<&str>, default: &str, has_color: bool) -> Result<()> {
    let filter = level.unwrap_or(default);
    check(filter)?;
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

/// A misspelt level would be taken for the name of a library, and nothing of ours would be logged.
fn check(filter: &str) -> Result<()> {
    for word in filter.split(',').map(str::trim) {
        let is_bare = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
        if is_bare && word.parse::<LevelFilter>().is_err() {
            let near = nearest(&word.to_lowercase(), LEVELS);
            let hint = near.map(|near| format!("; did you mean `{near}`?"));
            let problem = format!("`{word}` is no level{}", hint.unwrap_or_default());
            return Err(
                Failure::usage(format!("read the log level `{filter}`"), problem)
                    .hint(format!(
                        "write one of {}, or a filter such as stem_worker=debug",
                        LEVELS.join(", ")
                    ))
                    .into(),
            );
        }
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

    #[test]
    fn a_bare_word_that_is_no_level_is_refused_with_the_nearest() {
        for good in ["INFO", "off", "warn,stem_worker=debug", "stem[span]", ""] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["inof", "warn,inof"] {
            let error = check(bad).expect_err("refused").to_string();
            assert!(
                error.ends_with("`inof` is no level; did you mean `info`?"),
                "{error}"
            );
        }
    }
}
