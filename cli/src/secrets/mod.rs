//! The secrets of this machine: `STEM_SECRET_NAME` of the environment, then a file `NAME` of a directory (M4).
//!
//! The environment is read once. A file is read for every attempt that is granted it, so that a rotated secret counts
//! from the next one on.

mod directory;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use stem_core::secrets::{Secret, SecretError, SecretName, Secrets};

use crate::errors::Failure;
use directory::Directory;

pub use directory::is_trusted;

/// Before the name of a secret in the environment.
pub const PREFIX: &str = "STEM_SECRET_";

/// Where the settings say that secrets are; no form of it that can be printed shows one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretSettings {
    /// Those of the environment.
    pub variables: BTreeMap<SecretName, Secret>,
    /// A folder with a file for each of the others.
    pub directory: Option<PathBuf>,
}

/// Variables that were read, whatever their names and values are.
#[derive(Debug, Clone, Default)]
pub struct SecretVariables(BTreeMap<String, Option<Secret>>);

impl SecretVariables {
    /// Takes a variable: its name without the prefix, and its value.
    pub fn add(&mut self, name: &str, value: OsString) {
        let value = value.into_string().ok().map(Secret::new);
        self.0.insert(name.to_owned(), value);
    }

    /// The secrets that they are. An empty one is as good as none.
    pub fn read(&self) -> Result<BTreeMap<SecretName, Secret>> {
        let mut secrets = BTreeMap::new();
        for (name, value) in &self.0 {
            let attempted = || format!("read {PREFIX}{}", name.escape_debug());
            let name =
                SecretName::new(name).map_err(|problem| Failure::usage(attempted(), problem))?;
            let value = value
                .as_ref()
                .ok_or_else(|| Failure::usage(attempted(), "its value is no UTF-8"))?;
            if !value.reveal().is_empty() {
                secrets.insert(name, value.clone());
            }
        }
        Ok(secrets)
    }
}

/// The secrets that the settings name.
#[derive(Debug)]
struct Source {
    variables: BTreeMap<SecretName, Secret>,
    directory: Option<Directory>,
}

/// Opens them: a directory that is not safe stops the start.
pub fn open(settings: &SecretSettings) -> Result<Arc<dyn Secrets>> {
    let directory = settings.directory.as_deref();
    Ok(Arc::new(Source {
        variables: settings.variables.clone(),
        directory: directory.map(Directory::open).transpose()?,
    }))
}

impl Secrets for Source {
    fn value(&self, name: &SecretName) -> Result<Option<Secret>, SecretError> {
        match (self.variables.get(name), &self.directory) {
            (Some(value), _) => Ok(Some(value.clone())),
            (None, Some(directory)) => directory.read(name),
            (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "secrets_tests.rs"]
mod tests;
