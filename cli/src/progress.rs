//! Progress of long work, for a person on a terminal: nothing at all is shown where standard error is none.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stem_core::record::Progress;

use crate::output::harmless;

/// A bar over so many things.
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), target());
    styled(
        bar,
        "{msg} {wide_bar} {human_pos}/{human_len} ({eta} left)",
        what,
    )
}

/// A bar over so many bytes; a count of them where nobody knows how many there are.
pub fn bytes(length: Option<u64>, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, target());
    let template = match length {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)",
        None => "{msg} {bytes} ({bytes_per_sec})",
    };
    styled(bar, template, what)
}

/// A spinner for work whose length nobody knows.
pub fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, target());
    let spinner = styled(spinner, "{spinner} {msg} ({elapsed})", what);
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner
}

/// How far an attempt has come, in one line.
pub fn said(progress: &Progress) -> String {
    let percent = progress.fraction * 100.0;
    format!("{percent:.0} % {}", harmless(&progress.note))
}

fn styled(bar: ProgressBar, template: &str, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.with_style(style).with_message(what)
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}
