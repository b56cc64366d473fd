//! What a module was granted, ready for its attempts: one file a grant (S2).
//!
//! Everything is linked for every module, and each call asks what was granted: what was not is refused by its own
//! interface's error, or ends the guest where the interface has none.

use std::sync::Arc;

use stem_core::grants::Grants;
use stem_core::outcome::{Failure, FailureKind};
use stem_core::secrets::{NoSecrets, Secrets};

/// What the attempts of one deployment may use.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) grants: Grants,
    pub(crate) secrets: Arc<dyn Secrets>,
}

impl Granted {
    /// These grants, with secrets from here.
    pub(crate) fn new(grants: Grants, secrets: &Arc<dyn Secrets>) -> Arc<Self> {
        let secrets = Arc::clone(secrets);
        Arc::new(Self { grants, secrets })
    }

    /// Why an attempt cannot start: a secret that was granted has no value on this machine (M4).
    pub(crate) fn refusal(&self) -> Option<Failure> {
        let mut secrets = self.grants.secrets.iter();
        let missing = secrets.find(|name| self.secrets.value(name).is_none())?;
        let message = format!(
            "the secret `{missing}` has no value on this worker: set STEM_SECRET_{missing}, or put a file `{missing}` into its directory of secrets"
        );
        Some(Failure::permanent(FailureKind::NotPermitted, message))
    }

    /// Nothing.
    pub(crate) fn nothing() -> Arc<Self> {
        Arc::new(Self {
            grants: Grants::default(),
            secrets: Arc::new(NoSecrets),
        })
    }
}
