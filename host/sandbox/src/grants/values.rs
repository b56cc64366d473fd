//! The values of one attempt's secrets: read when it starts, so that a rotated one counts from the next attempt on (M4).

use std::collections::BTreeMap;
use std::sync::Arc;

use stem_core::executor::ExecutorError;
use stem_core::grants::Grants;
use stem_core::module_store::Deployment;
use stem_core::outcome::{Failure, FailureKind};
use stem_core::secrets::{Secret, SecretName, Secrets};

use super::http::Added;
use super::masks::Masks;

/// Secrets by name. Nothing is allocated where there are none.
#[derive(Debug, Default)]
pub(crate) struct Values {
    by_name: BTreeMap<SecretName, Secret>,
    /// What the host adds to requests, with them in it; none where it adds nothing.
    pub(crate) added: Option<Arc<Added>>,
    /// What hides them from whoever reads logs and failures.
    pub(crate) masks: Masks,
}

impl Values {
    /// Whether these grants name any.
    pub(super) fn are_needed(grants: &Grants) -> bool {
        !(grants.secrets.is_empty() && grants.http_headers.is_empty())
    }

    /// What these grants name. A missing one, or one that may not be used, is the attempt's failure; a machine that
    /// cannot read one is a fault of the host.
    pub(super) fn read(
        grants: &Grants,
        secrets: &dyn Secrets,
    ) -> Result<Result<Self, Failure>, ExecutorError> {
        let mut values = BTreeMap::new();
        for name in grants.needed_secrets() {
            match secrets.value(name) {
                Ok(Some(value)) => drop(values.insert(name.clone(), value)),
                Ok(None) => return Ok(Err(refused(missing(name)))),
                Err(error) if error.is_transient() => {
                    return Err(ExecutorError::new("open the task's secrets").because(error));
                }
                Err(error) => return Ok(Err(refused(error.to_string()))),
            }
        }
        let added = match Added::fill(&grants.http_headers, &values) {
            Ok(added) => added,
            Err(problem) => return Ok(Err(refused(problem))),
        };
        let masks = Masks::of(values.values());
        Ok(Ok(Self {
            by_name: values,
            added,
            masks,
        }))
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        let name = SecretName::new(name).ok()?;
        self.by_name.get(&name)
    }
}

fn refused(message: String) -> Failure {
    Failure::permanent(FailureKind::NotPermitted, message)
}

fn missing(name: &SecretName) -> String {
    format!(
        "the secret `{name}` has no value on this worker: set STEM_SECRET_{name}, or put a file `{name}` into its directory of secrets"
    )
}

/// Says by name which secrets of a deployment this machine does not have: its attempts will be refused here.
pub(crate) fn warn_of_missing(deployment: &Deployment, secrets: &dyn Secrets) {
    for name in deployment.grants.needed_secrets() {
        let problem = match secrets.value(name) {
            Ok(Some(_)) => continue,
            Ok(None) => missing(name),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            deployment = %deployment.name,
            version = deployment.version,
            secret = %name,
            "attempts will be refused here: {problem}"
        );
    }
}
