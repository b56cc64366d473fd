//! The `log` crate's lines.

use ::log::{LevelFilter, Log, Metadata, Record};

use crate::context::Level;
use crate::host::Host;

struct Bridge;

/// Lines from `info` up pass; a task that wants others calls `log::set_max_level`.
pub(super) fn install() {
    if ::log::set_logger(&Bridge).is_ok() {
        ::log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let fields = [("target".to_owned(), record.target().to_owned())];
        match record.args().as_str() {
            Some(message) => Host.emit(record.level().into(), message, &fields),
            None => Host.emit(record.level().into(), &record.args().to_string(), &fields),
        }
    }

    fn flush(&self) {}
}

impl From<::log::Level> for Level {
    fn from(level: ::log::Level) -> Self {
        match level {
            ::log::Level::Trace => Self::Trace,
            ::log::Level::Debug => Self::Debug,
            ::log::Level::Info => Self::Info,
            ::log::Level::Warn => Self::Warn,
            ::log::Level::Error => Self::Error,
        }
    }
}
