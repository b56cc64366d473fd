//! What became of an attempt: the guest's fate, mapped once into an outcome (S3, S4).

use std::time::Duration;

use stem_core::clock::in_millis;
use stem_core::executor::ExecutorError;
use stem_core::outcome::{Disposition, Failure, FailureKind, Limit, Outcome};
use stem_core::payload::Payload;
use stem_core::policy::Limits;
use stem_core::units::{ByteSize, format_duration};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::bindings::stem::task::types;
use crate::command::OverOutput;
use crate::engine::GUEST_STACK;
use crate::grants::http::most::HEADERS;
use crate::limits::{OverCalls, OverMemory, OverRequests, held};
use crate::log::{cut, escape};
use crate::watch::{Ended, Request, Watch};

/// What a module returned, or why it returned nothing.
pub(crate) type Returned = wasmtime::Result<(Result<types::Payload, types::Interruption>,)>;

/// The failures' kinds that a guest gives when it cannot read its payload, or write its result.
const INVALID_PAYLOAD: &str = "invalid-payload";
const INVALID_OUTPUT: &str = "invalid-output";
/// The longest wait that a guest may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Bytes of a failure that are kept: of its kind and of each detail's name, of its message and of each detail's value.
const LONGEST_WORD: usize = 128;
const LONGEST_TEXT: usize = 4 << 10;
const MOST_DETAILS: usize = 32;

/// The attempt's outcome; an `Err` is a fault of the host.
pub(crate) fn outcome(
    returned: Returned,
    limits: &Limits,
    watch: &Watch,
) -> Result<Outcome, ExecutorError> {
    match returned {
        Ok((Ok(result),)) => Ok(checked(result.into(), limits)),
        Ok((Err(interruption),)) => Ok(interrupted(interruption, watch)),
        Err(error) => ended(&error, limits, watch),
    }
}

fn checked(result: Payload, limits: &Limits) -> Outcome {
    let used = u64::try_from(result.body.len()).unwrap_or(u64::MAX);
    if used > limits.output.0 {
        return Outcome::Failed(over_output(used, limits));
    }
    if !result.has_media_type() {
        let message = "the result's content type is no media type";
        return Outcome::Failed(Failure::retryable(FailureKind::InvalidOutput, message));
    }
    if !result.is_well_formed() {
        let message = format!(
            "the result is not `{}`, as the task says",
            result.content_type
        );
        return Outcome::Failed(Failure::retryable(FailureKind::InvalidOutput, message));
    }
    Outcome::Succeeded(result)
}

fn interrupted(interruption: types::Interruption, watch: &Watch) -> Outcome {
    match interruption {
        types::Interruption::Retry(failure) => returned(failure, Disposition::Retry),
        types::Interruption::RetryAfter((failure, millis)) => {
            returned(failure, Disposition::RetryAfter(delay(millis)))
        }
        types::Interruption::Reject(failure) => rejected(failure),
        types::Interruption::Snooze(millis) => Outcome::Snoozed(delay(millis)),
        types::Interruption::Stopped => stopped(watch),
    }
}

fn delay(millis: u64) -> Duration {
    Duration::from_millis(millis).min(LONGEST_DELAY)
}

fn rejected(failure: types::Failure) -> Outcome {
    let kind = match failure.kind.as_str() {
        INVALID_PAYLOAD => FailureKind::InvalidPayload,
        INVALID_OUTPUT => FailureKind::InvalidOutput,
        _ => return returned(failure, Disposition::Reject),
    };
    let mut message = failure.message;
    for (name, value) in failure.details.iter().take(MOST_DETAILS) {
        if message.len() > LONGEST_TEXT {
            break;
        }
        let seen = value.floor_char_boundary(LONGEST_TEXT + 1);
        message = format!("{message} {}={}", word(name), &value[..seen]);
    }
    Outcome::Failed(Failure::permanent(kind, text(&message)))
}

fn returned(failure: types::Failure, disposition: Disposition) -> Outcome {
    let details = failure.details.iter().take(MOST_DETAILS);
    Outcome::Failed(Failure {
        kind: FailureKind::Returned {
            code: word(&failure.kind),
            details: details
                .map(|(name, value)| (word(name), text(value)))
                .collect(),
        },
        message: text(&failure.message),
        disposition,
    })
}

/// The task has wound up, as it was asked to, or of its own accord.
fn stopped(watch: &Watch) -> Outcome {
    match watch.request() {
        Some(Request::Stop(reason)) => reason.outcome(),
        Some(Request::SoftTime) => Outcome::Failed(over_soft_time(watch)),
        None => {
            let kind = FailureKind::Returned {
                code: "stopped".to_owned(),
                details: Vec::new(),
            };
            let message = "the task stopped without being asked to";
            Outcome::Failed(Failure::retryable(kind, message))
        }
    }
}

fn word(untrusted: &str) -> String {
    bounded(untrusted, LONGEST_WORD)
}

/// A guest's text as it may be kept: cut, and harmless to a terminal.
pub(crate) fn text(untrusted: &str) -> String {
    bounded(untrusted, LONGEST_TEXT)
}

fn bounded(untrusted: &str, bytes: usize) -> String {
    // One character more than may stay, so that what is cut off is seen, and said.
    let seen = untrusted.floor_char_boundary(bytes + char::MAX.len_utf8());
    let mut kept = escape(&untrusted[..seen]);
    cut(&mut kept, bytes);
    kept
}

/// The guest did not return.
pub(crate) fn ended(
    error: &wasmtime::Error,
    limits: &Limits,
    watch: &Watch,
) -> Result<Outcome, ExecutorError> {
    if let Some(Ended::Stopped(reason)) = error.downcast_ref() {
        return Ok(reason.outcome());
    }
    if let Some(failure) = crossed(error, limits, watch) {
        return Ok(Outcome::Failed(failure));
    }
    if is_ours(error) {
        let cause = format!("{error:#}");
        return Err(ExecutorError::new("run a module in its sandbox").because(cause));
    }
    Ok(Outcome::Failed(trapped(error)))
}

/// Whether the machine is to blame, at whatever depth the engine says so.
pub(crate) fn is_ours(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>()
        || error.is::<wasmtime::OutOfMemory>()
        || error
            .chain()
            .any(|cause| cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>())
}

// === limits ===

/// The limit that the guest crossed, if it was one.
fn crossed(error: &wasmtime::Error, limits: &Limits, watch: &Watch) -> Option<Failure> {
    if let Some(Ended::HardTime) = error.downcast_ref() {
        return Some(over_hard_time(limits, watch));
    }
    if let Some(Ended::CpuTime) = error.downcast_ref() {
        return Some(over_cpu_time(limits, watch));
    }
    if let Some(OverOutput { used }) = error.downcast_ref() {
        return Some(over_output(*used, limits));
    }
    if let Some(OverMemory { allowed, asked }) = error.downcast_ref() {
        return Some(over_memory(*allowed, *asked));
    }
    if let Some(OverCalls { asked }) = error.downcast_ref() {
        return Some(over_calls(*asked));
    }
    if let Some(OverRequests { asked }) = error.downcast_ref() {
        return Some(over_requests(*asked));
    }
    match error.downcast_ref() {
        Some(Trap::OutOfFuel) => return Some(over_fuel(limits)),
        Some(Trap::StackOverflow) => return Some(over_stack()),
        Some(_) | None => {}
    }
    over_held(error, limits)
}

fn over(limit: Limit, allowed: u64, used: u64, message: String) -> Failure {
    let kind = FailureKind::Limit {
        limit,
        allowed,
        used,
    };
    Failure::retryable(kind, message)
}

fn over_hard_time(limits: &Limits, watch: &Watch) -> Failure {
    let shown = format_duration(limits.hard_time);
    let message = format!("the task ran longer than its hard time limit of {shown}");
    let (allowed, used) = (in_millis(limits.hard_time), in_millis(watch.elapsed()));
    over(Limit::HardTime, allowed, used, message)
}

fn over_cpu_time(limits: &Limits, watch: &Watch) -> Failure {
    let limit = limits.cpu_time.unwrap_or_default();
    let shown = format_duration(limit);
    let message = format!("the task used more processor time than its limit of {shown}");
    let (allowed, used) = (in_millis(limit), in_millis(watch.cpu_spent()));
    over(Limit::CpuTime, allowed, used, message)
}

fn over_soft_time(watch: &Watch) -> Failure {
    let soft = watch.soft_limit().unwrap_or_default();
    let shown = format_duration(soft);
    let message = format!("the task stopped at its soft time limit of {shown}");
    let (allowed, used) = (in_millis(soft), in_millis(watch.elapsed()));
    over(Limit::SoftTime, allowed, used, message)
}

fn over_memory(allowed: u64, asked: u64) -> Failure {
    let (limit, wanted) = (ByteSize(allowed), ByteSize(asked));
    let message = format!("the task asked for {wanted} of memory, over its limit of {limit}");
    over(Limit::Memory, allowed, asked, message)
}

fn over_fuel(limits: &Limits) -> Failure {
    let allowed = limits.fuel.unwrap_or_default();
    let message = format!("the task used up its fuel of {allowed}");
    over(Limit::Fuel, allowed, allowed, message)
}

fn over_stack() -> Failure {
    let allowed = u64::try_from(GUEST_STACK).unwrap_or(u64::MAX);
    let message = format!(
        "the task's calls went deeper than {} of stack",
        ByteSize(allowed)
    );
    over(Limit::Stack, allowed, allowed, message)
}

fn over_calls(asked: usize) -> Failure {
    let [allowed, used] =
        [held::CALLS, asked].map(|calls| u64::try_from(calls).unwrap_or(u64::MAX));
    let message =
        format!("the task has {used} calls to the host in flight, over the limit of {allowed}");
    over(Limit::HostCalls, allowed, used, message)
}

fn over_output(used: u64, limits: &Limits) -> Failure {
    let message = format!(
        "the result has {}, over the limit of {}",
        ByteSize(used),
        limits.output
    );
    over(Limit::Output, limits.output.0, used, message)
}

/// What the host holds for the guest. The engine has no types for three of these errors, only words; tests with real
/// guests hold the words still.
fn over_held(error: &wasmtime::Error, limits: &Limits) -> Option<Failure> {
    let words = error.root_cause().to_string();
    if words.starts_with("too much data is being copied between the host and the guest") {
        // Without a guest's frame under it, it was the result that was being copied.
        let is_result = error.downcast_ref::<WasmBacktrace>().is_none();
        let allowed = held_bytes(limits);
        return Some(match is_result {
            true => over_output(allowed.saturating_add(1), limits),
            false => over_bytes(allowed),
        });
    }
    if let Some(asked) = random_bytes(&words) {
        return Some(over_random(asked));
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) =
        error.downcast_ref()
    {
        return Some(over_headers());
    }
    let is_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    if is_full || words.contains("store handle limit exceeded") {
        let allowed = u64::try_from(held::HANDLES).unwrap_or(u64::MAX);
        let message = format!("the task holds more than {allowed} handles to host resources");
        return Some(over(Limit::HostResources, allowed, allowed + 1, message));
    }
    None
}

/// How many random bytes the guest asked for, where these words say that they are too many.
fn random_bytes(words: &str) -> Option<u64> {
    let (asked, allowed) = words
        .strip_prefix("requested len ")?
        .split_once(" exceeds limit ")?;
    let is_ours = allowed.parse() == Ok(held::RANDOM_BYTES);
    asked.parse().ok().filter(|_| is_ours)
}

fn over_random(asked: u64) -> Failure {
    let (wanted, limit) = (ByteSize(asked), ByteSize(held::RANDOM_BYTES));
    let message = format!(
        "one call of the task asked for {wanted} of random bytes, over the limit of {limit}"
    );
    over(Limit::HostResources, held::RANDOM_BYTES, asked, message)
}

fn over_requests(asked: usize) -> Failure {
    let in_words = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let (allowed, used) = (in_words(held::REQUESTS), in_words(asked));
    let message =
        format!("one call of the task asked for {used} envelopes, over the limit of {allowed}");
    over(Limit::HostResources, allowed, used, message)
}

fn over_bytes(allowed: u64) -> Failure {
    let limit = ByteSize(allowed);
    let message = format!("one call of the task gave the host more than {limit}");
    over(Limit::HostResources, allowed, allowed + 1, message)
}

fn over_headers() -> Failure {
    let allowed = u64::try_from(HEADERS).unwrap_or(u64::MAX);
    let message = format!("the task made headers of more than {}", ByteSize(allowed));
    over(Limit::HostResources, allowed, allowed + 1, message)
}

fn held_bytes(limits: &Limits) -> u64 {
    let bytes = held::CALL_BYTES.saturating_add(limits.output.as_usize());
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

// === traps ===

fn trapped(error: &wasmtime::Error) -> Failure {
    let trap = match (
        error.downcast_ref::<I32Exit>(),
        error.downcast_ref::<Trap>(),
    ) {
        (Some(exit), _) => format!("exit with status {}", exit.0),
        (None, Some(trap)) => trap.to_string().replacen("wasm trap: ", "", 1),
        (None, None) => text(&error.root_cause().to_string()),
    };
    let message = match error.is::<I32Exit>() {
        true => "the task ended its process instead of returning".to_owned(),
        false => format!("the task trapped: {trap}"),
    };
    let kind = FailureKind::Trapped {
        trap,
        backtrace: backtrace(error),
    };
    Failure::retryable(kind, message)
}

/// The guest's frames as the engine writes them, innermost first: an offset into the module, and a name.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let written = backtrace.to_string();
    written
        .lines()
        .filter_map(|line| line.trim_start().split_once(": "))
        .map(|(_, frame)| word(frame.trim_start()))
        .collect()
}

#[cfg(test)]
#[path = "fate_tests.rs"]
mod tests;
