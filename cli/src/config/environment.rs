//! The part of the environment that this program reads: the only file that reads it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_core::names::nearest;
use stem_core::secrets::Secret;

use super::{KEYS, OTHER_VARIABLES, PREFIX, variable};
use crate::errors::Failure;
use crate::keys::PRIVATE_KEYS;
use crate::secrets::{self, SecretVariables};
use crate::stores::StoreUrl;

/// The part of the environment that this program reads; shown without values, which may be URLs with passwords.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Those of ours whose values are no text.
    unreadable: Vec<String>,
    /// What the secrets are to be.
    pub(super) secrets: SecretVariables,
    /// Keys that sign, if there are any.
    pub(super) private_keys: Option<Secret>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.variables.keys().chain(&self.unreadable);
        f.debug_set().entries(names).finish()
    }
}

impl Environment {
    /// The process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the configuration that reads it"
    )]
    pub fn read() -> Self {
        Self::of(std::env::vars_os())
    }

    pub(super) fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let is_ours = |name: &str| {
            name.starts_with(PREFIX)
                || name.starts_with("XDG_")
                || ["HOME", "NO_COLOR"].contains(&name)
        };
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if let Some(secret) = name.strip_prefix(secrets::PREFIX) {
                environment.secrets.add(secret, value);
            } else if is_ours(&name) {
                environment.add(name, value);
            }
        }
        environment
    }

    fn add(&mut self, name: String, value: OsString) {
        match value.into_string() {
            Err(_) => self.unreadable.push(name),
            Ok(value) if name == PRIVATE_KEYS => {
                self.private_keys = (!value.is_empty()).then(|| Secret::new(value));
            }
            Ok(value) => drop(self.variables.insert(name, value)),
        }
    }

    /// Whether colour is welcome (no-color.org).
    pub fn allows_color(&self) -> bool {
        self.get("NO_COLOR").is_none()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Refuses what looks like one of our variables and is none, and what cannot be read; other people's `STEM_…` are
    /// left alone.
    pub(super) fn check(&self) -> Result<()> {
        let known: Vec<String> = KEYS
            .into_iter()
            .map(variable)
            .chain(OTHER_VARIABLES.map(str::to_owned))
            .collect();
        if let Some(name) = self.unreadable.iter().find(|name| known.contains(name)) {
            let problem = "its value is no UTF-8";
            return Err(Failure::usage(format!("read {name}"), problem).into());
        }
        let ours = self
            .variables
            .keys()
            .filter_map(|name| name.strip_prefix(PREFIX));
        for name in ours {
            let full = format!("{PREFIX}{name}");
            let names = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
            if let Some(near) = nearest(name, names).filter(|near| *near != name) {
                let problem = format!("unknown variable `{full}`; did you mean `{PREFIX}{near}`?");
                return Err(Failure::usage("read the environment", problem).into());
            }
        }
        Ok(())
    }

    fn base(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self
            .get(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        named.or_else(|| Some(Path::new(self.get("HOME")?).join(below_home)))
    }

    pub(super) fn cache_directory(&self) -> Option<PathBuf> {
        if cfg!(target_os = "macos") {
            return Some(Path::new(self.get("HOME")?).join("Library/Caches/stem"));
        }
        Some(self.base("XDG_CACHE_HOME", ".cache")?.join("stem"))
    }

    pub(super) fn data_directory(&self) -> Option<PathBuf> {
        if cfg!(target_os = "macos") {
            return Some(Path::new(self.get("HOME")?).join("Library/Application Support/stem"));
        }
        Some(self.base("XDG_DATA_HOME", ".local/share")?.join("stem"))
    }

    /// Where everything is that nobody has put elsewhere.
    pub(super) fn default_broker(&self) -> Result<StoreUrl> {
        let folder = self.data_directory().ok_or_else(|| {
            Failure::usage("find the default store", "there is no home directory")
                .hint("name a store with --broker-url or STEM_BROKER_URL")
        })?;
        Ok(StoreUrl::file(folder.join("stem.db")))
    }
}
