//! What the end of a program means: its exit code, and what the last line of its standard error adds to it (S9).

use bytes::Bytes;
use stem_core::payload::{JSON, Payload};
use wasmtime_wasi::I32Exit;

use super::Ended;
use crate::bindings::stem::task::types::{Failure, Interruption};

/// The exit code of a program that did its work.
pub(super) const SUCCESS: i32 = 0;
/// The exit code that rejects: `EX_DATAERR` of sysexits.h, input that no other attempt will mend.
const REJECTED: i32 = 65;
/// The kind of a failure that the program has no word for.
const KIND: &str = "exit";
/// Begins a line that says more.
const PREFIX: &str = "stem: ";

/// The program's exit code; an `Err` where it did not end by itself.
pub(super) fn status(ended: Ended) -> wasmtime::Result<i32> {
    match ended {
        Ok((Ok(()),)) => Ok(SUCCESS),
        Ok((Err(()),)) => Ok(1),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        },
    }
}

/// What a program that failed has to say.
pub(super) fn interruption(status: i32, last_line: Option<&str>) -> Interruption {
    let line = last_line.unwrap_or_default().trim();
    if let Some(said) = line
        .strip_prefix(PREFIX)
        .and_then(|line| said(line, status))
    {
        return said;
    }
    let ended = format!("the command ended with status {status}");
    let message = match line {
        "" => ended,
        line => format!("{ended}: {line}"),
    };
    let failure = failure(KIND, &message, status);
    match status {
        REJECTED => Interruption::Reject(failure),
        _ => Interruption::Retry(failure),
    }
}

/// `reject KIND MESSAGE` or `retry-after SECONDS [MESSAGE]`; nothing where the line is neither.
fn said(line: &str, status: i32) -> Option<Interruption> {
    let (verb, rest) = split(line);
    let (first, message) = split(rest);
    match verb {
        "reject" if !first.is_empty() => {
            Some(Interruption::Reject(failure(first, message, status)))
        }
        "retry-after" => {
            let seconds: f64 = first.parse().ok()?;
            let delay = std::time::Duration::try_from_secs_f64(seconds).ok()?;
            let message = match message {
                "" => "the command asked for another attempt later",
                message => message,
            };
            let failure = failure(KIND, message, status);
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            Some(Interruption::RetryAfter((failure, millis)))
        }
        _ => None,
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(' ')
        .map_or((text, ""), |(first, rest)| (first, rest.trim()))
}

fn failure(kind: &str, message: &str, status: i32) -> Failure {
    Failure {
        kind: kind.to_owned(),
        message: message.to_owned(),
        details: vec![("status".to_owned(), status.to_string())],
    }
}

/// What a program's output is, where its deployment does not say so.
pub(super) fn media_type(output: &Bytes) -> &'static str {
    if Payload::new(JSON, output.clone()).is_well_formed() {
        return JSON;
    }
    match std::str::from_utf8(output) {
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: i32, last_line: &str) -> String {
        let show =
            |verb: &str, failure: Failure| format!("{verb} {} | {}", failure.kind, failure.message);
        match interruption(status, Some(last_line)) {
            Interruption::Retry(failure) => show("retry", failure),
            Interruption::RetryAfter((failure, millis)) => {
                show(&format!("after {millis}"), failure)
            }
            Interruption::Reject(failure) => show("reject", failure),
            Interruption::Snooze(_) | Interruption::Stopped => "none of these".to_owned(),
        }
    }

    /// Exit code, last line, and what becomes of both.
    const ENDINGS: &str = "
        3 ;                                       ; retry exit | the command ended with status 3
        1 ; no such table                         ; retry exit | the command ended with status 1: no such table
        65; bad row                               ; reject exit | the command ended with status 65: bad row
        1 ; stem: reject bad-input row 3 is cut   ; reject bad-input | row 3 is cut
        1 ; stem: reject invalid-payload          ; reject invalid-payload |
        1 ; stem: retry-after 1.5                 ; after 1500 exit | the command asked for another attempt later
        65; stem: retry-after 60 too many calls   ; after 60000 exit | too many calls";

    /// S9
    #[test]
    fn the_last_line_says_more_than_the_exit_code() {
        for case in ENDINGS.trim().lines() {
            let parts: Vec<&str> = case.split(';').map(str::trim).collect();
            let [status, line, expected] = parts[..] else {
                panic!("{case}");
            };
            let status = status.parse().expect("a number");
            assert_eq!(shown(status, line).trim_end(), expected);
        }
    }

    /// S9
    #[test]
    fn a_line_that_says_nothing_known_is_the_message() {
        for line in [
            "stem: reject",
            "stem: retry-after soon",
            "stem: retry-after -1",
            "stem: stop",
            "stem:reject a b",
        ] {
            let expected = format!("retry exit | the command ended with status 1: {line}");
            assert_eq!(shown(1, line), expected);
        }
    }

    /// S9
    #[test]
    fn output_is_what_it_looks_like() {
        for (output, expected) in [
            (&b"{\"a\":1}\n"[..], "application/json"),
            (b"12", "application/json"),
            (b"a b\n", "text/plain; charset=utf-8"),
            (b"", "text/plain; charset=utf-8"),
            (b"\xff\xd8", "application/octet-stream"),
        ] {
            assert_eq!(
                media_type(&Bytes::from_static(output)),
                expected,
                "{output:?}"
            );
        }
    }
}
