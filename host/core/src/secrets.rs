//! Secrets by name: their values are on the workers' machines alone, in no store, policy, record or log (M4).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a secret: 1 to 64 of `A-Z a-z 0-9 _`, as an environment variable can carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// A name that breaks the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name of a secret: use 1 to 64 of A-Z a-z 0-9 _", .0.escape_debug())]
pub struct SecretNameError(String);

impl SecretName {
    /// Checks the rule.
    pub fn new(name: impl Into<String>) -> Result<Self, SecretNameError> {
        let name = name.into();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
            true => Ok(Self(name)),
            false => Err(SecretNameError(shown(&name))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Somebody may have written `NAME=VALUE`: the value is not repeated.
fn shown(name: &str) -> String {
    match name.split_once('=') {
        Some((name, _)) => format!("{name}=…"),
        None => name.chars().take(64).collect(),
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = SecretNameError;

    fn try_from(name: String) -> Result<Self, SecretNameError> {
        Self::new(name)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

/// A secret's value: shown by nothing but [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A secret that is there, and cannot be given. It never says a part of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the secret `{name}`: {problem}")]
pub struct SecretError {
    name: SecretName,
    problem: String,
    is_transient: bool,
}

impl SecretError {
    /// It stays so until somebody mends it, as the problem says.
    pub fn refused(name: &SecretName, problem: impl Into<String>) -> Self {
        Self {
            name: name.clone(),
            problem: problem.into(),
            is_transient: false,
        }
    }

    /// The machine failed: another time it may be read.
    pub fn unreadable(name: &SecretName, problem: impl Into<String>) -> Self {
        Self {
            is_transient: true,
            ..Self::refused(name, problem)
        }
    }

    /// Whether to try again.
    pub fn is_transient(&self) -> bool {
        self.is_transient
    }
}

/// Where a worker finds the values of secrets.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The value as it is now, if there is one here: whoever starts an attempt asks anew.
    fn value(&self, name: &SecretName) -> Result<Option<Secret>, SecretError>;
}

/// A machine without secrets.
#[derive(Debug, Clone, Copy)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn value(&self, _: &SecretName) -> Result<Option<Secret>, SecretError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M4
    #[test]
    fn a_secret_shows_itself_to_nobody_who_prints_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn a_secrets_name_can_be_an_environment_variable() {
        assert!(SecretName::new("CRM_TOKEN_2").is_ok());
        for bad in ["", "A-B", "A B", "Ä", "../x"] {
            assert!(SecretName::new(bad).is_err(), "{bad}");
        }
        let error = SecretName::new("TOKEN=hunter2").expect_err("no name");
        assert!(
            error.to_string().starts_with("`TOKEN=…` is no name"),
            "{error}"
        );
    }
}
