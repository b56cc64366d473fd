//! From a URL to open stores: the only file that names the store crates.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use stem_core::clock::{Clock, SystemClock};
use stem_core::names::{Namespace, nearest};
use stem_core::stores::Stores;
use stem_core::two_stores;
use stem_sqlite::Synchronous;

use crate::config::Config;
use crate::errors::{Exit, Failure};

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
}

/// What is wrong with a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing is given.
    #[error("no store is named: write sqlite:PATH or memory:")]
    Empty,
    /// A server that this version cannot talk to.
    #[error("a `{0}` store comes with a later version: use sqlite:PATH")]
    Later(String),
    /// No store has this scheme.
    #[error("`{0}` is no store: write sqlite:PATH or memory:")]
    Unknown(String),
    /// A query key that means nothing.
    #[error("unknown option `{key}`{}", hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownOption {
        /// The option.
        key: String,
        /// What was probably meant.
        hint: Option<&'static str>,
    },
    /// A value that does not fit its key.
    #[error("bad value `{0}` for `synchronous`: use full or normal")]
    BadOption(String),
}

const OPTIONS: [&str; 1] = ["synchronous"];
const LATER: [&str; 6] = [
    "redis",
    "rediss",
    "postgres",
    "postgresql",
    "valkey",
    "unix",
];

impl StoreUrl {
    /// Reads `memory:`, `sqlite:PATH` or `sqlite:PATH?synchronous=full`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| UrlError::Unknown(text.to_owned()))?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "sqlite" => Self::sqlite(rest),
            scheme if LATER.contains(&scheme) => Err(UrlError::Later(scheme.to_owned())),
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
            Self::Memory => Self::Memory,
            Self::Sqlite {
                path,
                is_fully_synchronous,
            } => Self::Sqlite {
                path: folder.join(path),
                is_fully_synchronous,
            },
        }
    }

    /// Whether both are one server, however its place is written; asked when the other one is there.
    fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { path, .. }, Self::Sqlite { path: other, .. }) => {
                let places = (path.canonicalize(), other.canonicalize());
                path == other || matches!(places, (Ok(one), Ok(another)) if one == another)
            }
            (one, other) => one == other,
        }
    }

    fn sqlite(rest: &str) -> Result<Self, UrlError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path == ":memory:" {
            return Err(UrlError::Unknown(format!("sqlite:{path}")));
        }
        let mut is_fully_synchronous = false;
        for (key, value) in query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            if key != "synchronous" {
                let (key, hint) = (key.to_owned(), nearest(key, OPTIONS));
                return Err(UrlError::UnknownOption { key, hint });
            }
            is_fully_synchronous = match value {
                "full" => true,
                "normal" => false,
                other => return Err(UrlError::BadOption(other.to_owned())),
            };
        }
        Ok(Self::Sqlite {
            path: path.into(),
            is_fully_synchronous,
        })
    }
}

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
        }
    }
}

/// Whether a command can do its work on a store that ends with its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// It does everything in one process.
    OneProcess,
    /// It leaves something for other processes.
    Shared,
    /// It only looks, and takes a store that is not there for an empty one.
    Untouched,
    /// It looks at, or changes, what others left: it makes no store, as that would hide a slip of the pen.
    Existing,
}

/// Opens the stores of a configuration.
pub async fn open(config: &Config, lifetime: Lifetime) -> Result<Stores> {
    for url in [&config.broker, &config.results] {
        check(url, lifetime)?;
    }
    let clock = SystemClock::shared();
    let [first, second] = [&config.broker, &config.results].map(|url| found(url, lifetime));
    let broker = open_one(first, &config.namespace, &clock).await?;
    if second.is_same_place(first) {
        return Ok(broker);
    }
    let results = open_one(second, &config.namespace, &clock).await?;
    Ok(two_stores::join(broker, &results))
}

/// The store, or an empty one in place of one that is not to be made.
fn found(url: &StoreUrl, lifetime: Lifetime) -> &StoreUrl {
    match (url, lifetime) {
        (StoreUrl::Sqlite { path, .. }, Lifetime::Untouched) if !path.exists() => &StoreUrl::Memory,
        (url, _) => url,
    }
}

/// Refuses a store that this command could do nothing with.
fn check(url: &StoreUrl, lifetime: Lifetime) -> Result<()> {
    match url {
        StoreUrl::Memory if lifetime != Lifetime::OneProcess => {
            let problem =
                "what lies in memory ends with its process, so no other would ever see it";
            Err(Failure::usage("open `memory:`", problem)
                .hint("use sqlite:PATH here; `stem-host dev` does everything in one process")
                .into())
        }
        StoreUrl::Sqlite { path, .. } if lifetime == Lifetime::Existing => match path.try_exists() {
            Ok(false) => Err(Failure::new(Exit::Unreachable, format!("open `{url}`"), "there is no store")
                .hint("`deploy`, `enqueue` and `worker start` make one; --broker-url or STEM_BROKER_URL names another")
                .into()),
            // Whatever stands in the way is said where it is opened.
            Ok(true) | Err(_) => Ok(()),
        },
        StoreUrl::Memory | StoreUrl::Sqlite { .. } => Ok(()),
    }
}

async fn open_one(url: &StoreUrl, namespace: &Namespace, clock: &Arc<dyn Clock>) -> Result<Stores> {
    match url {
        StoreUrl::Memory => {
            Ok(stem_memory::Store::new(namespace.clone(), Arc::clone(clock)).stores())
        }
        StoreUrl::Sqlite {
            path,
            is_fully_synchronous,
        } => {
            let mut options = stem_sqlite::Options::new(path, namespace.clone(), Arc::clone(clock));
            if *is_fully_synchronous {
                options.synchronous = Synchronous::Full;
            }
            let store = stem_sqlite::Store::open(options).await?;
            Ok(Stores::on_one(store, Arc::clone(clock)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_it_is_shown() {
        for url in ["memory:", "sqlite:a/b.db", "sqlite:/a.db?synchronous=full"] {
            assert_eq!(StoreUrl::parse(url).expect("a store").to_string(), url);
        }
        let plain = StoreUrl::parse("sqlite:///a.db?synchronous=normal").expect("a store");
        assert_eq!(plain.to_string(), "sqlite:/a.db");
    }

    #[test]
    fn what_is_no_store_is_refused_and_says_what_is() {
        for (url, said) in [
            ("", "no store is named"),
            ("stem.db", "write sqlite:PATH"),
            ("sqlite:", "write sqlite:PATH"),
            ("redis://h", "comes with a later version"),
            ("postgres://h/d", "comes with a later version"),
            ("sqlite:a?sync=full", "did you mean `synchronous`?"),
            ("sqlite:a?synchronous=off", "use full or normal"),
        ] {
            let error = StoreUrl::parse(url).expect_err("refused").to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }

    #[test]
    fn a_refused_url_is_not_repeated_where_it_may_hold_a_password() {
        for url in ["redis://ada:secret@h", "mysql://ada:secret@h"] {
            let error = StoreUrl::parse(url).expect_err("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
