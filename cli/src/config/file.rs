//! `stem-host.toml`: where it is, and what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_core::names::nearest;

use super::{Environment, FILE_NAME, Flags, KEYS, PREFIX};
use crate::errors::Failure;

/// The file that is named, or that lies in this directory.
pub(super) fn file_path(
    flags: &Flags,
    environment: &Environment,
    directory: &Path,
) -> Result<Option<PathBuf>> {
    let named = flags
        .config
        .clone()
        .or_else(|| environment.get("STEM_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        let path = directory.join(path);
        if !path.is_file() {
            let attempted = format!("read the configuration `{}`", path.display());
            return Err(Failure::usage(attempted, "there is no such file").into());
        }
        return Ok(Some(path));
    }
    let path = directory.join(FILE_NAME);
    Ok(path.is_file().then_some(path))
}

/// The settings of a file, by key; a key may also be written as the environment writes it.
pub(super) fn read_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let attempted = || format!("read the configuration `{}`", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(attempted(), error))?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| Failure::usage(attempted(), error.to_string().trim()))?;
    let mut settings = BTreeMap::new();
    for (written, value) in table {
        let key = canonical(&written).ok_or_else(|| {
            let hint = nearest(&normalised(&written), KEYS);
            let hint = hint.map(|near| format!("; did you mean `{near}`?"));
            let problem = format!("unknown key `{written}`{}", hint.unwrap_or_default());
            Failure::usage(attempted(), problem).hint(format!("the keys are {}", KEYS.join(", ")))
        })?;
        let value = setting(&value).ok_or_else(|| {
            let problem = format!("`{written}` is no text: write {key} = \"…\"");
            Failure::usage(attempted(), problem)
        })?;
        if settings.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(attempted(), format!("`{key}` is given twice")).into());
        }
    }
    Ok(settings)
}

/// A text, or true and false as one.
fn setting(value: &toml::Value) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.as_bool().map(|is_so| is_so.to_string()))
}

fn normalised(written: &str) -> String {
    let name = written.strip_prefix(PREFIX).unwrap_or(written);
    name.to_lowercase().replace('_', "-")
}

fn canonical(written: &str) -> Option<&'static str> {
    let normalised = normalised(written);
    KEYS.into_iter().find(|key| *key == normalised)
}
