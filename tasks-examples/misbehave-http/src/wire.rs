//! Requests without a library between the task and the interface.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use wasip2::http::outgoing_handler::{FutureIncomingResponse, handle};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, RequestOptions,
    Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// Nanoseconds of a millisecond.
const MILLISECOND: u64 = 1_000_000;

/// How many milliseconds a request waits for what; where it does not say, as long as the host likes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Patience {
    /// For its turn, and for a connection.
    pub connect: Option<u64>,
    /// For the answer to begin.
    pub first_byte: Option<u64>,
    /// For the next piece of the answer.
    pub between_bytes: Option<u64>,
}

/// A request to this URL, with these headers; nothing of it is checked here.
pub fn request(
    method: &Method,
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<OutgoingRequest, String> {
    let fields = Fields::new();
    for (name, value) in headers {
        let set = fields.set(name, &[value.clone().into_bytes()]);
        set.map_err(|error| format!("{name}: {error:?}"))?;
    }
    let (scheme, rest) = url.split_once("://").ok_or("no URL")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let request = OutgoingRequest::new(fields);
    let bad = |()| format!("no part of a URL in {url}");
    request.set_method(method).map_err(bad)?;
    request.set_scheme(Some(&scheme)).map_err(bad)?;
    request.set_authority(Some(authority)).map_err(bad)?;
    request
        .set_path_with_query(Some(&format!("/{path}")))
        .map_err(bad)?;
    Ok(request)
}

/// Sends a request without a body.
pub fn send(
    request: OutgoingRequest,
    patience: &Patience,
) -> Result<FutureIncomingResponse, String> {
    let nanoseconds = |wait: Option<u64>| wait.map(|wait| wait * MILLISECOND);
    let options = RequestOptions::new();
    options
        .set_connect_timeout(nanoseconds(patience.connect))
        .and_then(|()| options.set_first_byte_timeout(nanoseconds(patience.first_byte)))
        .and_then(|()| options.set_between_bytes_timeout(nanoseconds(patience.between_bytes)))
        .map_err(|()| "no such option")?;
    handle(request, Some(options)).map_err(|code| said(&code))
}

/// Waits for an answer.
pub fn answer(coming: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    coming.subscribe().block();
    let come = coming.get().ok_or("nothing has come")?;
    let come = come.map_err(|()| "it was taken before")?;
    come.map_err(|code| said(&code))
}

/// Reads a body to its end; gives how many bytes there were.
pub fn drain(answer: &IncomingResponse) -> Result<u64, String> {
    let body = answer.consume().map_err(|()| "no body")?;
    let stream = body.stream().map_err(|()| "no stream")?;
    let count = count(&stream);
    drop(stream);
    drop(IncomingBody::finish(body));
    count
}

fn count(stream: &InputStream) -> Result<u64, String> {
    let mut bytes = 0;
    loop {
        match stream.blocking_read(PIECE) {
            Ok(piece) => bytes += piece.len() as u64,
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!("after {bytes} bytes: {}", error.to_debug_string()));
            }
        }
    }
}

/// A code in the words that it has in Rust: `HttpRequestDenied`.
pub fn said(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    text.trim_start_matches("ErrorCode::").to_owned()
}
