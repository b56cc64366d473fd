//! The `tracing` crate's events. Spans carry no lines of their own and are not kept.

use std::fmt;

use ::tracing::field::{Field, Visit};
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter};

use crate::context::Level;
use crate::host::Host;

struct Bridge;

/// Events from `info` up pass, always: `log::set_max_level` does not reach here.
pub(super) fn install() {
    // Fails only where the task's own constructor has installed another subscriber: that one is meant.
    let _ = ::tracing::subscriber::set_global_default(Bridge);
}

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= LevelFilter::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let target = ("target".to_owned(), event.metadata().target().to_owned());
        let mut line = Line {
            message: String::new(),
            fields: vec![target],
        };
        event.record(&mut line);
        Host.emit(
            (*event.metadata().level()).into(),
            &line.message,
            &line.fields,
        );
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Line {
    message: String,
    fields: Vec<(String, String)>,
}

impl Line {
    fn add(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.to_owned(), value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl From<::tracing::Level> for Level {
    fn from(level: ::tracing::Level) -> Self {
        match level {
            ::tracing::Level::TRACE => Self::Trace,
            ::tracing::Level::DEBUG => Self::Debug,
            ::tracing::Level::INFO => Self::Info,
            ::tracing::Level::WARN => Self::Warn,
            ::tracing::Level::ERROR => Self::Error,
        }
    }
}
