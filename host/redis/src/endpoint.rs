//! What a URL names: servers or sentinels, and how every connection is made.

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates,
};
use stem_core::store_error::StoreErrorKind;

use crate::options::Options;
use crate::problem::{Problem, Stepped};

/// Where a sentinel listens unless it is said.
const SENTINEL_PORT: u16 = 26379;

/// What a URL names.
pub(crate) struct Target {
    /// User, password, database and TLS.
    pub(crate) model: ConnectionInfo,
    /// Servers, or sentinels.
    pub(crate) places: Vec<ConnectionAddr>,
    /// What sentinels call the master.
    pub(crate) master: Option<String>,
}

/// Reads the URL of these options.
pub(crate) fn read(options: &Options) -> Stepped<Target> {
    let parts = Parts::of(&options.url.0);
    if parts.is_sentinel() && parts.master().is_none() {
        return Err(unusable(options, "the URL names no master"));
    }
    let mut models = Vec::new();
    for url in parts.urls(options.tls.allows_insecure && options.url.is_secure()) {
        let information = url.into_connection_info();
        let information = information.map_err(|_| unusable(options, "the URL cannot be read"))?;
        models.push(secured(information, options)?);
    }
    let places = models.iter().map(|model| model.addr().clone()).collect();
    let model = models.into_iter().next();
    Ok(Target {
        model: model.ok_or_else(|| unusable(options, "the URL names no host"))?,
        places,
        master: parts.master().map(ToOwned::to_owned),
    })
}

/// The same way to another host.
pub(crate) fn moved(model: &ConnectionAddr, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    if let ConnectionAddr::TcpTls {
        insecure,
        tls_params,
        ..
    } = model
    {
        return ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        };
    }
    ConnectionAddr::Tcp(host, port)
}

/// A URL taken apart where it may name several hosts.
struct Parts<'a> {
    scheme: &'a str,
    /// With the `@` behind them.
    credentials: &'a str,
    hosts: &'a str,
    path: &'a str,
    /// Query and fragment, with their marks.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, behind) = url.split_once("://").unwrap_or(("", url));
        let split = |text: &'a str, marks: &[char]| match text.find(marks) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let (place, rest) = split(behind, &['?', '#']);
        let (authority, path) = split(place, &['/']);
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let (credentials, hosts) = authority.split_at(at);
        Self {
            scheme,
            credentials,
            hosts,
            path,
            rest,
        }
    }

    fn is_sentinel(&self) -> bool {
        self.scheme.ends_with("-sentinel")
    }

    /// The master's name, which is what the path of a sentinel's URL begins with.
    fn master(&self) -> Option<&'a str> {
        let name = self.path.split('/').nth(1).unwrap_or_default();
        Some(name).filter(|name| self.is_sentinel() && !name.is_empty())
    }

    /// A URL for each host.
    fn urls(&self, is_insecure: bool) -> Vec<String> {
        let scheme = self.scheme.trim_end_matches("-sentinel");
        let path = match self.master() {
            Some(master) => &self.path[1 + master.len()..],
            None => self.path,
        };
        let rest = self.rest.trim_end_matches("#insecure");
        let mark = if is_insecure { "#insecure" } else { "" };
        let url = |host: &str| {
            let port = match self.is_sentinel() && !has_port(host) {
                true => format!(":{SENTINEL_PORT}"),
                false => String::new(),
            };
            let credentials = self.credentials;
            format!("{scheme}://{credentials}{host}{port}{path}{rest}{mark}")
        };
        self.hosts.split(',').map(url).collect()
    }
}

/// Whether a host, which may be an address in brackets, has a port behind it.
fn has_port(host: &str) -> bool {
    host.rsplit(']').next().unwrap_or_default().contains(':')
}

/// With the certificates of the options, where the URL asks for TLS.
fn secured(information: ConnectionInfo, options: &Options) -> Stepped<ConnectionInfo> {
    let tls = &options.tls;
    if !options.url.is_secure() {
        return Ok(information);
    }
    let client = tls.client.clone();
    let certificates = TlsCertificates {
        client_tls: client.map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: tls.ca_certificate.clone(),
    };
    let client = Client::build_with_tls(information, certificates);
    let client = client.map_err(|error| unusable(options, &error.to_string()))?;
    Ok(client.get_connection_info().clone())
}

fn unusable(options: &Options, why: &str) -> Problem {
    let (url, tls) = (&options.url, &options.tls);
    Problem::new(
        StoreErrorKind::NotPermitted,
        format!(
            "{why}: write redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], \
             redis-sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/MASTER[/DATABASE], or rediss:// and rediss-sentinel:// \
             for TLS ({url}, {tls})"
        ),
    )
}

#[cfg(test)]
mod tests {
    use stem_core::clock::SystemClock;
    use stem_core::names::Namespace;

    use super::*;

    fn target(url: &str) -> Stepped<Target> {
        let namespace = Namespace::new("test").expect("a good name");
        read(&Options::new(url, namespace, SystemClock::shared()))
    }

    /// A URL, its places, its master and its database.
    type Named = (
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
        i64,
    );

    const NAMED: [Named; 4] = [
        ("redis://one/3", &["one:6379"], None, 3),
        ("redis://me:pw@one:1,two", &["one:1", "two:6379"], None, 0),
        (
            "redis-sentinel://:p@one,[::1]:7/main",
            &["one:26379", "::1:7"],
            Some("main"),
            0,
        ),
        (
            "rediss-sentinel://one:1/main/2?protocol=resp2",
            &["one:1"],
            Some("main"),
            2,
        ),
    ];

    /// B13: one host, several nodes of a cluster, or sentinels with the name of their master.
    #[test]
    fn a_url_names_servers_or_sentinels() {
        for (url, places, master, database) in NAMED {
            let target = target(url).expect(url);
            let found: Vec<String> = target.places.iter().map(ToString::to_string).collect();
            assert_eq!(found, places, "{url}");
            assert_eq!(target.master.as_deref(), master, "{url}");
            assert_eq!(target.model.redis_settings().db(), database, "{url}");
        }
    }

    /// B13, X4: what to write is said, without the password.
    #[test]
    fn a_url_that_names_nothing_is_refused() {
        for url in [
            "redis-sentinel://me:secret@one:1",
            "http://me:secret@one",
            "redis",
        ] {
            let problem = target(url).err().expect(url);
            let said = format!("{problem:?}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
