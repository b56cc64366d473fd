//! Why no answer came, in the words that `wasi:http` has for it.

use std::error::Error as StdError;
use std::io;

use hyper_util::client::legacy;
use rustix::io::Errno;
use wasmtime_wasi_http::Error;

use super::body::Broken;
use super::most;
use super::resolver::{NoAddress, Prohibited};

type Cause<'a> = &'a (dyn StdError + 'static);

/// An error and what is behind it. The library's own errors hide their cause from `source`.
fn causes<'a>(error: Cause<'a>) -> impl Iterator<Item = Cause<'a>> {
    std::iter::successors(Some(error), |error: &Cause<'a>| {
        let error: Cause<'a> = *error;
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match inside {
            Some(inside) => Some(inside as Cause<'a>),
            None => error.source(),
        }
    })
}

fn find<'a, T: StdError + 'static>(error: Cause<'a>) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Where the request's name led, if that was the reason.
pub(super) fn prohibited(error: &legacy::Error) -> Option<Prohibited> {
    find(error).copied()
}

/// Of a request that got no answer.
pub(super) fn of(error: &legacy::Error) -> Error {
    if let Some(Prohibited { .. }) = find(error) {
        return Error::DestinationIpProhibited;
    }
    if let Some(NoAddress { .. }) = find(error) {
        return dns(error);
    }
    match find(error) {
        Some(Broken::TooLarge) => return Error::HttpRequestBodySize(Some(most::BODY)),
        Some(Broken::Abandoned | Broken::Unfinished) => return Error::HttpProtocolError,
        None => {}
    }
    if let Some(tls) = find(error) {
        return of_tls(tls);
    }
    match find::<hyper::Error>(error) {
        Some(error) => in_body(error),
        None => of_connection(error),
    }
}

fn dns(error: Cause<'_>) -> Error {
    let rcode = causes(error).last().map(ToString::to_string);
    Error::DnsError {
        rcode,
        info_code: None,
    }
}

fn of_tls(error: &rustls::Error) -> Error {
    if let rustls::Error::AlertReceived(alert) = error {
        return Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        };
    }
    match matches!(error, rustls::Error::InvalidCertificate(_)) {
        true => Error::TlsCertificateError,
        false => Error::TlsProtocolError,
    }
}

fn of_connection(error: Cause<'_>) -> Error {
    let kind = find::<io::Error>(error).map(io::Error::kind);
    let number = find::<io::Error>(error).and_then(io::Error::raw_os_error);
    let no_file = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    if number.is_some_and(|number| no_file.contains(&number)) {
        return Error::ConnectionLimitReached;
    }
    match kind {
        Some(io::ErrorKind::TimedOut) => Error::ConnectionTimeout,
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Error::ConnectionTerminated
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            Error::DestinationUnavailable
        }
        _ => Error::ConnectionRefused,
    }
}

/// Of an answer that broke off, or was none.
pub(super) fn in_body(error: &hyper::Error) -> Error {
    if error.is_parse_too_large() {
        return Error::HttpResponseHeaderSectionSize(None);
    }
    if error.is_parse() {
        return Error::HttpProtocolError;
    }
    match error.is_incomplete_message() || error.is_body_write_aborted() {
        true => Error::HttpResponseIncomplete,
        false => Error::ConnectionTerminated,
    }
}
