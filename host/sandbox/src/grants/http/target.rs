//! Where a request goes: what a guest wrote, read in one way only (S6).

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;
use stem_core::grants::{Capability, Grants};
use stem_core::origin::{Origin, Scheme};
use wasmtime_wasi_http::Error;

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Target {
    /// Of a request to this address.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) | None => return Err(Error::HttpProtocolError),
        };
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host();
        // A user before the host, or a port that is none, means different things to different readers.
        let is_plain = |text: &str| match text.strip_prefix(host) {
            Some("") => true,
            Some(rest) => rest
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok()),
            None => false,
        };
        if host.is_empty() || !is_plain(authority.as_str()) {
            return Err(Error::HttpRequestUriInvalid);
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(scheme.default_port()),
        })
    }

    /// Whether this is granted, and then whether its name may lead to a private address; a stub goes before what is listed.
    pub(super) fn granted(&self, grants: &Grants) -> Option<bool> {
        if grants.stubs.contains(&Capability::Http) {
            return None;
        }
        let is_covered = |list: &[Origin]| list.iter().any(|origin| self.is_covered_by(origin));
        match (is_covered(&grants.http_private), is_covered(&grants.http)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Whether an origin means this.
    pub(super) fn is_covered_by(&self, origin: &Origin) -> bool {
        origin.covers(self.scheme, &self.host, self.port)
    }

    /// The address to send to: nothing of what the guest wrote but its path.
    pub(super) fn uri(&self, path: Option<&PathAndQuery>) -> Result<Uri, Error> {
        let path = path.map_or("/", PathAndQuery::as_str);
        let uri = Uri::builder()
            .scheme(self.scheme.as_str())
            .authority(self.authority())
            .path_and_query(path);
        uri.build().map_err(|_| Error::HttpRequestUriInvalid)
    }

    fn authority(&self) -> String {
        match self.port == self.scheme.default_port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Option<String> {
        let uri: Uri = uri.parse().ok()?;
        Some(Target::of(&uri).ok()?.to_string())
    }

    /// S6
    #[test]
    fn a_target_is_a_scheme_a_host_and_a_port() {
        for (uri, expected) in [
            ("https://API.example.com/a?b", "https://api.example.com"),
            ("http://a.example:80/", "http://a.example"),
            ("https://a.example:80/", "https://a.example:80"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            assert_eq!(target(uri).as_deref(), Some(expected));
        }
    }

    /// S6: what can be read in two ways is not read at all.
    #[test]
    fn a_target_with_a_user_or_a_bad_port_is_none() {
        for uri in [
            "https://good.example@evil.example/",
            "https://good.example:pw@evil.example/",
            "https://a.example:/",
            "https://a.example:99999/",
            "ftp://a.example/",
            "/path",
        ] {
            assert_eq!(target(uri), None, "{uri}");
        }
    }
}
