//! Where a server is, or several that are one system, and who asks to be let in there.

use std::fmt;

use stem_core::secrets::Secret;
use url::{Host, Url};

use super::url::{UrlError, options};

const DEFAULT_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
const WAIT_REPLICAS: &str = "wait_replicas";

/// A Redis server, a cluster by some of its nodes, or a master that sentinels know; no form of it that can be printed
/// shows the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    is_secure: bool,
    /// User and password, as they were written.
    credentials: Option<Secret>,
    /// Servers, or sentinels: never none.
    places: Vec<Place>,
    /// What sentinels call the master.
    master: Option<String>,
    database: u32,
    /// How many replicas must have what is written before it counts (B1).
    wait_replicas: u32,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Host<String>,
    port: u16,
}

impl ServerUrl {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][,HOST…][/DATABASE]`, or `redis-sentinel://…/MASTER[/DATABASE]`.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let urls = Self::split(text)?;
        let Some(url) = urls.first() else {
            return Err(unreadable("no host is named"));
        };
        let is_sentinel = url.scheme().ends_with("-sentinel");
        let (master, database) = path(url, is_sentinel)?;
        let places = urls.iter().map(|url| Place::of(url, is_sentinel));
        Ok(Self {
            is_secure: url.scheme().starts_with("rediss"),
            credentials: credentials(url)?,
            places: places.collect::<Result<_, _>>()?,
            master,
            database,
            wait_replicas: wait_replicas(url)?,
        })
    }

    /// A URL for each host.
    fn split(text: &str) -> Result<Vec<Url>, UrlError> {
        let Some((scheme, behind)) = text.split_once("://") else {
            return Err(unreadable("no host is named"));
        };
        let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        // A password that holds one of these characters ends where it stands: what follows is a part of it.
        if rest.contains('@') {
            return Err(unreadable("there is an `@` behind the host"));
        }
        if rest.contains('#') {
            let why = "there is a `#` (STEM_TLS_ALLOW_INSECURE is what takes any certificate)";
            return Err(unreadable(why));
        }
        let hosts_at = authority.rfind('@').map_or(0, |at| at + 1);
        let (credentials, hosts) = authority.split_at(hosts_at);
        let urls = hosts.split(',').map(|host| {
            let url = Url::parse(&format!("{scheme}://{credentials}{host}{rest}"));
            url.map_err(|error| unreadable(&error.to_string()))
        });
        urls.collect()
    }

    /// Whether both are one database of one system, whoever asks and however the connection is made.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let is_known = |place: &Place| other.places.iter().any(|other| place.is_same(other));
        let is_one = self.master == other.master && self.database == other.database;
        is_one && self.places.iter().any(is_known)
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// How many replicas must have what is written before it counts.
    pub(super) fn wait_replicas(&self) -> u32 {
        self.wait_replicas
    }

    /// With the password, and without what is asked of the connection.
    pub(super) fn address(&self) -> String {
        let credentials = self.credentials.as_ref();
        let credentials = credentials.map(|known| format!("{}@", known.reveal()));
        format!(
            "{}://{}{}",
            self.scheme(),
            credentials.unwrap_or_default(),
            self.location()
        )
    }

    /// All of it.
    pub(super) fn reveal(&self) -> String {
        format!("{}{}", self.address(), self.query())
    }

    fn scheme(&self) -> &'static str {
        match (self.is_secure, self.master.is_some()) {
            (false, false) => "redis",
            (true, false) => "rediss",
            (false, true) => "redis-sentinel",
            (true, true) => "rediss-sentinel",
        }
    }

    fn location(&self) -> String {
        let places: Vec<String> = self.places.iter().map(ToString::to_string).collect();
        let master = self.master.as_ref().map(|name| format!("/{name}"));
        let master = master.unwrap_or_default();
        format!("{}{master}/{}", places.join(","), self.database)
    }

    fn query(&self) -> String {
        match self.wait_replicas {
            0 => String::new(),
            count => format!("?{WAIT_REPLICAS}={count}"),
        }
    }
}

impl Place {
    fn of(url: &Url, is_sentinel: bool) -> Result<Self, UrlError> {
        let host = url.host().filter(|host| *host != Host::Domain(""));
        let default = if is_sentinel {
            SENTINEL_PORT
        } else {
            DEFAULT_PORT
        };
        Ok(Self {
            host: host
                .ok_or_else(|| unreadable("no host is named"))?
                .to_owned(),
            port: url.port().unwrap_or(default),
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        let hosts = (self.host.to_string(), other.host.to_string());
        self.port == other.port && hosts.0.eq_ignore_ascii_case(&hosts.1)
    }
}

fn unreadable(why: &str) -> UrlError {
    UrlError::Server(why.to_owned())
}

/// The master's name, where sentinels are asked for it, and the database.
fn path(url: &Url, is_sentinel: bool) -> Result<(Option<String>, u32), UrlError> {
    let path = url.path().trim_start_matches('/');
    let (master, database) = match path.split_once('/') {
        _ if !is_sentinel => (None, path),
        Some((master, database)) => (Some(master), database),
        None => (Some(path), ""),
    };
    if master == Some("") {
        return Err(unreadable("no master is named that the sentinels know"));
    }
    let number = if database.is_empty() { "0" } else { database };
    let number = number.parse();
    let number = number.map_err(|_| unreadable("the database is no number"))?;
    Ok((master.map(str::to_owned), number))
}

fn wait_replicas(url: &Url) -> Result<u32, UrlError> {
    let mut count = 0;
    for (key, value) in options(url.query().unwrap_or_default(), &[WAIT_REPLICAS])? {
        count = value.parse().map_err(|_| UrlError::BadOption {
            key,
            value: value.to_owned(),
            expected: "a number of replicas",
        })?;
    }
    Ok(count)
}

/// A user alone logs nobody in, and may be a password that was meant.
fn credentials(url: &Url) -> Result<Option<Secret>, UrlError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (_, None) => Err(unreadable(
            "there is no `:` before the `@`, as in :PASSWORD@ and USER:PASSWORD@",
        )),
        (user, Some(password)) => Ok(Some(Secret::new(format!("{user}:{password}")))),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (location, query) = (self.location(), self.query());
        write!(f, "{}://{location}{query}", self.scheme())
    }
}
