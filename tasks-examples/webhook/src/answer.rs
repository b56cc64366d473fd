//! What an answer, or none, means for the envelope.

use std::time::Duration;

use stem_guest::Interruption;
use wstd::http::error::ErrorCode;
use wstd::http::{Body, BodyExt, Error, HeaderMap, StatusCode};

/// Bytes of an answer that are worth keeping.
const KEPT: usize = 16 << 10;

/// Whether the receiver took it; if not, whether another attempt may help.
pub fn judge(status: StatusCode, headers: &HeaderMap, said: &str) -> Result<(), Interruption> {
    if status.is_success() {
        return Ok(());
    }
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let message = format!("the receiver answered {status}");
    let failed = if let Some(place) = header("location").filter(|_| status.is_redirection()) {
        let message = format!("{message}: the URL has moved to {place}");
        Interruption::reject("moved", message)
    } else if !may_change(status) {
        Interruption::reject("refused", message)
    } else if let Some(delay) = header("retry-after").and_then(seconds) {
        Interruption::retry_after("busy", message, delay)
    } else {
        Interruption::retry("busy", message)
    };
    let line = said.lines().next().unwrap_or_default();
    Err(failed
        .with_detail("status", status.as_u16())
        .with_detail("answer", line))
}

/// Whether the same request may be answered otherwise later.
fn may_change(status: StatusCode) -> bool {
    let later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_server_error() || later.contains(&status)
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// What it means that there is no answer.
pub fn none(error: &Error) -> Interruption {
    match error.downcast_ref() {
        Some(ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited) => {
            let message = "the URL is not granted: the attempt's log says what would allow it";
            Interruption::reject("not-granted", message)
        }
        _ => Interruption::retry("no-answer", format!("{error:#}")),
    }
}

/// The first of what the receiver said, as text; what breaks off is as good as whole.
pub async fn beginning(body: Body) -> String {
    let mut body = body.into_boxed_body();
    let mut kept = Vec::new();
    while kept.len() < KEPT
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(bytes) = frame.into_data() {
            kept.extend_from_slice(&bytes[..bytes.len().min(KEPT - kept.len())]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)]) -> String {
        let status = StatusCode::from_u16(status).expect("a status");
        let pairs = headers.iter().map(|(name, value)| {
            let name = wstd::http::HeaderName::from_static(name);
            (name, value.parse().expect("a value"))
        });
        match judge(status, &pairs.collect(), "no\nmore") {
            Ok(()) => "taken".to_owned(),
            Err(failed) => failed.to_string(),
        }
    }

    #[test]
    fn every_answer_has_its_consequence() {
        for (status, consequence) in [
            (200, "taken"),
            (204, "taken"),
            (304, "rejected: refused"),
            (400, "rejected: refused"),
            (404, "rejected: refused"),
            (408, "failed: busy"),
            (429, "failed: busy"),
            (500, "failed: busy"),
            (503, "failed: busy"),
        ] {
            let judged = judged(status, &[]);
            assert!(judged.starts_with(consequence), "{status}: {judged}");
        }
    }

    #[test]
    fn a_receiver_says_when_it_wants_to_be_asked_again() {
        let asked = judged(429, &[("retry-after", " 90")]);
        assert!(
            asked.starts_with("failed, again after 90s: busy"),
            "{asked}"
        );
        let odd = judged(429, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")]);
        assert!(odd.starts_with("failed: busy"), "{odd}");
    }

    #[test]
    fn a_failure_says_what_was_answered() {
        let moved = judged(308, &[("location", "https://b.example")]);
        let expected = "rejected: moved: the receiver answered 308 Permanent Redirect: the URL has moved to https://b.example status=308 answer=no";
        assert_eq!(moved, expected);
    }

    #[test]
    fn what_is_not_granted_is_rejected_and_silence_is_not() {
        let denied = none(&ErrorCode::HttpRequestDenied.into());
        assert!(
            denied.to_string().starts_with("rejected: not-granted"),
            "{denied}"
        );
        let silent = none(&ErrorCode::ConnectionRefused.into());
        assert!(
            silent.to_string().starts_with("failed: no-answer"),
            "{silent}"
        );
    }
}
