//! Where a store is, read from a URL and shown without its password.

use std::fmt;
use std::path::{Path, PathBuf};

use stem_core::names::nearest;

use super::server::ServerUrl;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In this process's memory.
    Memory,
    /// In a SQLite file.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Whether each commit reaches the disk before it returns (B1).
        is_fully_synchronous: bool,
    },
    /// On a Redis server.
    Redis(ServerUrl),
}

/// What is wrong with a URL. None of it says anything that may be a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing is given.
    #[error("no store is named: write {FORMS}")]
    Empty,
    /// A server that this version cannot talk to.
    #[error("a `{0}` store comes with a later version: use redis://… or sqlite:PATH")]
    Later(&'static str),
    /// A server that is reached under another scheme.
    #[error("no store has the scheme `{0}`: write {1} for the same server")]
    Renamed(&'static str, &'static str),
    /// No store has this scheme.
    #[error("`{0}` is no store: write {FORMS}")]
    Unknown(String),
    /// A server's URL that cannot be read.
    #[error(
        "{0}: write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], of a cluster HOST,HOST, or \
         redis-sentinel://HOST,HOST/MASTER[/DATABASE], for TLS rediss://… or rediss-sentinel://…, with what is no letter \
         or digit in USER and PASSWORD as %XX"
    )]
    Server(String),
    /// A query key that means nothing.
    #[error("unknown option `{key}`{}", hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownOption {
        /// The option.
        key: String,
        /// What was probably meant.
        hint: Option<&'static str>,
    },
    /// A value that does not fit its key.
    #[error("bad value `{value}` for `{key}`: use {expected}")]
    BadOption {
        /// The option.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

const FORMS: &str = "sqlite:PATH, redis://HOST:PORT (a cluster: HOST,HOST), redis-sentinel://HOST,HOST/MASTER, \
    both with TLS as rediss…, or memory:";

impl StoreUrl {
    /// Reads `memory:`, `sqlite:PATH[?synchronous=full]`, `redis://…` or `redis-sentinel://…`, each also with an `s`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| UrlError::Unknown(text.to_owned()))?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "sqlite" => sqlite(rest),
            "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" => {
                ServerUrl::parse(text).map(Self::Redis)
            }
            "postgres" | "postgresql" => Err(UrlError::Later("postgres")),
            "valkey" => Err(UrlError::Renamed("valkey", "redis://")),
            "valkeys" => Err(UrlError::Renamed("valkeys", "rediss://")),
            // What follows the scheme may hold a password: it is not repeated.
            scheme => Err(UrlError::Unknown(format!("{scheme}:"))),
        }
    }

    /// A SQLite file with the usual settings.
    pub fn file(path: PathBuf) -> Self {
        Self::Sqlite {
            path,
            is_fully_synchronous: false,
        }
    }

    /// The same, where a relative path is meant from this folder.
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::Sqlite {
                path,
                is_fully_synchronous,
            } => Self::Sqlite {
                path: folder.join(path),
                is_fully_synchronous,
            },
            elsewhere @ (Self::Memory | Self::Redis(_)) => elsewhere,
        }
    }

    /// As another process of ours is to be told it: with its password, for its environment and for no eye.
    pub fn reveal(&self) -> String {
        match self {
            Self::Redis(url) => url.reveal(),
            Self::Memory | Self::Sqlite { .. } => self.to_string(),
        }
    }

    /// Whether both are one server, however its place is written; asked when the other one is there.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { path, .. }, Self::Sqlite { path: other, .. }) => {
                let places = (path.canonicalize(), other.canonicalize());
                path == other || matches!(places, (Ok(one), Ok(another)) if one == another)
            }
            (Self::Redis(url), Self::Redis(other)) => url.is_same_place(other),
            (one, other) => one == other,
        }
    }
}

fn sqlite(rest: &str) -> Result<StoreUrl, UrlError> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path == ":memory:" {
        return Err(UrlError::Unknown(format!("sqlite:{path}")));
    }
    let mut is_fully_synchronous = false;
    for (key, value) in options(query, &["synchronous"])? {
        is_fully_synchronous = match value {
            "full" => true,
            "normal" => false,
            other => {
                return Err(UrlError::BadOption {
                    key,
                    value: other.to_owned(),
                    expected: "full or normal",
                });
            }
        };
    }
    Ok(StoreUrl::Sqlite {
        path: path.into(),
        is_fully_synchronous,
    })
}

/// The options of a query; one that is not known is refused with the nearest that is.
pub(super) fn options<'a>(
    query: &'a str,
    known: &[&'static str],
) -> Result<Vec<(&'static str, &'a str)>, UrlError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let known_one = |(key, value): (&str, &'a str)| match known.iter().find(|known| **known == key)
    {
        Some(known) => Ok((*known, value)),
        None => Err(UrlError::UnknownOption {
            key: key.to_owned(),
            hint: nearest(key, known.iter().copied()),
        }),
    };
    pairs.map(known_one).collect()
}

/// Without any password.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite {
                path,
                is_fully_synchronous,
            } => {
                let query = if *is_fully_synchronous {
                    "?synchronous=full"
                } else {
                    ""
                };
                write!(f, "sqlite:{}{query}", path.display())
            }
            Self::Redis(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
