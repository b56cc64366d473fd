//! Log lines of other crates: what is written through `log` or `tracing` becomes a line of the attempt's log.

#[cfg(feature = "log")]
mod log;
#[cfg(feature = "tracing")]
mod tracing;

/// Takes the place of the global loggers; called once, at the start of the attempt.
pub(crate) fn install() {
    #[cfg(feature = "log")]
    log::install();
    #[cfg(feature = "tracing")]
    tracing::install();
}
