//! What a store is opened with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stem_core::clock::Clock;
use stem_core::names::Namespace;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// `redis://` or `rediss://`, with user, password, hosts, ports and database number as they are needed; several hosts
    /// are nodes of one cluster. Behind `redis-sentinel://` or `rediss-sentinel://` they are sentinels, and the path is
    /// their master's name: `redis-sentinel://HOST:PORT,HOST:PORT/MASTER[/DATABASE]`.
    pub url: Endpoint,
    /// Several may share one server and never see each other (B14).
    pub namespace: Namespace,
    /// The clock that producers and workers read; the store's time is the server's (B16).
    pub clock: Arc<dyn Clock>,
    /// How `rediss://` is verified.
    pub tls: Tls,
    /// What connections are called in `CLIENT LIST`.
    pub connection_name: String,
    /// How long a command may take before the server counts as away.
    pub timeout: Duration,
    /// Whether a server that evicts keys is used all the same: it loses envelopes.
    pub allows_eviction: bool,
    /// Whether it is logged what this server may lose: for whoever stays, as a worker does.
    pub warns: bool,
    /// How many replicas must have what is written before it counts: 0 waits for none (B1).
    pub wait_replicas: u32,
}

impl Options {
    /// The settings that a user has by default.
    pub fn new(url: impl Into<String>, namespace: Namespace, clock: Arc<dyn Clock>) -> Self {
        Self {
            url: Endpoint(url.into()),
            namespace,
            clock,
            tls: Tls::default(),
            connection_name: "stem".to_owned(),
            timeout: Duration::from_secs(5),
            allows_eviction: false,
            warns: true,
            wait_replicas: 0,
        }
    }
}

/// A URL that may hold a password, and is never printed whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(pub String);

impl Endpoint {
    /// Whether it asks for TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.starts_with("rediss")
    }

    /// Whether its hosts are sentinels.
    pub(crate) fn is_sentinel(&self) -> bool {
        let scheme = self.0.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.ends_with("-sentinel"))
    }
}

/// Without what is between the scheme and the host: that is where the password stands.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", ""));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let host = host.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{host}")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a TLS connection is verified: certificates and keys in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The authority that signed the server's certificate; the machine's own where none is given.
    pub ca_certificate: Option<Vec<u8>>,
    /// The certificate and the key that we show to the server.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether any certificate of the server will do.
    pub allows_insecure: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which options are in force, and never what a file holds.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = match self.ca_certificate {
            Some(_) => "a given authority",
            None => "this machine's authorities",
        };
        let client = match self.client {
            Some(_) => "a client certificate",
            None => "no client certificate",
        };
        let checks = match self.allows_insecure {
            true => ", and any server certificate is taken",
            false => "",
        };
        write!(f, "{authority}, {client}{checks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X4: no log, error or panic prints a password.
    #[test]
    fn an_endpoint_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
            ("redis://:secret@host:1", "redis://host:1"),
            ("rediss://me:s@cret@host/#insecure", "rediss://host/"),
            (
                "redis-sentinel://me:secret@one:1,two:2/main/0",
                "redis-sentinel://one:1,two:2/main/0",
            ),
        ] {
            assert_eq!(format!("{:?}", Endpoint(url.to_owned())), shown);
        }
    }
}
