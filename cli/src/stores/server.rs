//! Where a server is, and who asks to be let in there.

use std::fmt;

use stem_core::secrets::Secret;
use url::{Host, Url};

use super::url::{UrlError, options};

const DEFAULT_PORT: u16 = 6_379;
/// What may be asked of a server for one store.
const OPTIONS: [&str; 0] = [];

/// `redis://…` or `rediss://…`; no form of it that can be printed shows the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    is_secure: bool,
    /// User and password, as they were written.
    credentials: Option<Secret>,
    host: Host<String>,
    port: u16,
    database: u32,
}

impl ServerUrl {
    /// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let unreadable = |why: &str| UrlError::Server(why.to_owned());
        let url = Url::parse(text).map_err(|error| unreadable(&error.to_string()))?;
        // A password that holds one of these characters ends where it stands: what follows is a part of it.
        let rest = [Some(url.path()), url.query(), url.fragment()];
        if rest.into_iter().flatten().any(|part| part.contains('@')) {
            return Err(unreadable("there is an `@` behind the host"));
        }
        if url.fragment().is_some() {
            let why = "there is a `#` (STEM_TLS_ALLOW_INSECURE is what takes any certificate)";
            return Err(unreadable(why));
        }
        options(url.query().unwrap_or_default(), &OPTIONS)?;
        let host = url.host().filter(|host| *host != Host::Domain(""));
        let database = match url.path().trim_start_matches('/') {
            "" => 0,
            number => number
                .parse()
                .map_err(|_| unreadable("the database is no number"))?,
        };
        Ok(Self {
            is_secure: url.scheme() == "rediss",
            credentials: credentials(&url),
            host: host
                .ok_or_else(|| unreadable("no host is named"))?
                .to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            database,
        })
    }

    /// Whether both are one database of one server, whoever asks and however the connection is made.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let place = |url: &Self| {
            let host = url.host.to_string().to_ascii_lowercase();
            (host, url.port, url.database)
        };
        place(self) == place(other)
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// With the password.
    pub(super) fn reveal(&self) -> String {
        let credentials = self.credentials.as_ref();
        let credentials = credentials.map(|known| format!("{}@", known.reveal()));
        let (scheme, place) = (self.scheme(), self.place());
        format!("{scheme}://{}{place}", credentials.unwrap_or_default())
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "rediss" } else { "redis" }
    }

    fn place(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.database)
    }
}

fn credentials(url: &Url) -> Option<Secret> {
    match (url.username(), url.password()) {
        ("", None) => None,
        (user, None) => Some(Secret::new(user)),
        (user, Some(password)) => Some(Secret::new(format!("{user}:{password}"))),
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.place())
    }
}
