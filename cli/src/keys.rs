//! Signing keys as settings: where they are, and what is asked of signatures. They are read by the commands that need
//! them, and shown by none (X4).

use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_core::manifest::SignaturePolicy;
use stem_core::names::KeyId;
use stem_core::secrets::Secret;
use stem_core::signing::{KeyError, PrivateKey, PublicKey, PublicKeys};

use crate::errors::Failure;
use crate::guarded_file::{PRIVATE, PUBLIC};

/// Private keys come from this variable, or from a file: never from a file of settings.
pub const PRIVATE_KEYS: &str = "STEM_SIGNING_PRIVATE_KEYS";

/// Where keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningSettings {
    /// `id:base64,…`.
    pub private: Option<Secret>,
    /// The same in a file.
    pub private_file: Option<PathBuf>,
    /// `id:base64,…`.
    pub public: Option<String>,
    /// The same in a file.
    pub public_file: Option<PathBuf>,
    /// Which private key signs.
    pub active: Option<KeyId>,
    /// Whether unsigned modules are refused; where nothing is said, they are where there are keys.
    pub is_required: Option<bool>,
}

impl SigningSettings {
    /// All private keys.
    pub fn private_keys(&self) -> Result<Vec<PrivateKey>> {
        let mut keys = Vec::new();
        if let Some(text) = &self.private {
            keys.extend(parsed(PRIVATE_KEYS, PrivateKey::parse_all(text.reveal()))?);
        }
        if let Some(path) = &self.private_file {
            let text = PRIVATE.read(path, &reading(path))?;
            let read = PrivateKey::parse_all(&text);
            keys.extend(parsed(&path.display().to_string(), read)?);
        }
        Ok(keys)
    }

    /// The key that signs, if there is one.
    pub fn signer(&self) -> Result<Option<PrivateKey>> {
        let mut keys = self.private_keys()?;
        let attempted = "choose the key that signs";
        match &self.active {
            None if keys.is_empty() => Ok(None),
            Some(id) => {
                let active = keys.into_iter().find(|key| key.id() == id);
                let problem = format!("`{id}` is not among the private keys");
                Ok(Some(
                    active.ok_or_else(|| Failure::usage(attempted, problem))?,
                ))
            }
            None if keys.len() == 1 => Ok(keys.pop()),
            None => {
                let ids: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
                let problem = format!("there are several: {}", ids.join(", "));
                Err(Failure::usage(attempted, problem)
                    .hint("STEM_SIGNING_ACTIVE_KEY names the one that signs")
                    .into())
            }
        }
    }

    /// What modules are signed with when they are deployed; there must be something where unsigned ones are refused.
    pub fn module_signer(&self) -> Result<Option<PrivateKey>> {
        let key = self.signer()?;
        if key.is_some() || !(self.is_required == Some(true) || self.policy()?.is_required) {
            return Ok(key);
        }
        let problem = "signed modules are required, and there is no private key here";
        Err(Failure::usage("sign the module", problem)
            .hint(
                "STEM_SIGNING_PRIVATE_KEYS or signing-private-keys-file names one; `stem-host keys generate --signing ed25519` makes one",
            )
            .into())
    }

    /// The keys whose signatures are taken: the public ones, and those that belong to the private ones.
    pub fn trusted(&self) -> Result<PublicKeys> {
        let mut keys: Vec<PublicKey> = Vec::new();
        if let Some(text) = &self.public {
            keys.extend(parsed(
                "STEM_SIGNING_PUBLIC_KEYS",
                PublicKey::parse_all(text),
            )?);
        }
        if let Some(path) = &self.public_file {
            let text = PUBLIC.read(path, &reading(path))?;
            keys.extend(parsed(
                &path.display().to_string(),
                PublicKey::parse_all(&text),
            )?);
        }
        keys.extend(self.private_keys()?.iter().map(PrivateKey::public));
        for key in &keys {
            if keys
                .iter()
                .any(|other| other.id() == key.id() && other != key)
            {
                let problem = format!("`{}` is the id of two different keys", key.id());
                return Err(Failure::usage("read the signing keys", problem).into());
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// What a worker asks of signatures.
    pub fn policy(&self) -> Result<SignaturePolicy> {
        let keys = self.trusted()?;
        if self.is_required == Some(true) && keys.is_empty() {
            let problem = "no key is known to verify them with";
            return Err(Failure::usage("require signed modules", problem)
                .hint(
                    "name the public keys in STEM_SIGNING_PUBLIC_KEYS or signing-public-keys-file",
                )
                .into());
        }
        Ok(SignaturePolicy {
            is_required: self.is_required.unwrap_or(!keys.is_empty()),
            keys,
        })
    }
}

fn reading(path: &Path) -> String {
    format!("read the keys in {}", path.display())
}

fn parsed<T>(place: &str, keys: Result<Vec<T>, KeyError>) -> Result<Vec<T>> {
    keys.map_err(|error| Failure::usage(format!("read the keys in {place}"), error).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn private(id: &str, seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyId::new(id).expect("a name"), [seed; 32])
    }

    fn holding(keys: &[&PrivateKey], active: Option<&str>) -> SigningSettings {
        let keys: Vec<String> = keys.iter().map(|key| key.reveal()).collect();
        SigningSettings {
            private: Some(Secret::new(keys.join(","))),
            active: active.map(|id| KeyId::new(id).expect("a name")),
            ..SigningSettings::default()
        }
    }

    fn signer(settings: &SigningSettings) -> Result<Option<String>, String> {
        let signer = settings.signer().map_err(|error| error.to_string())?;
        Ok(signer.map(|key| key.id().to_string()))
    }

    /// X4
    #[test]
    fn one_key_signs_and_where_there_are_several_it_is_named() {
        let (old, new) = (private("old", 1), private("new", 2));
        assert_eq!(signer(&SigningSettings::default()), Ok(None));
        assert_eq!(signer(&holding(&[&old], None)), Ok(Some("old".to_owned())));
        let both = holding(&[&old, &new], Some("new"));
        assert_eq!(signer(&both), Ok(Some("new".to_owned())));
        let unnamed = signer(&holding(&[&old, &new], None)).expect_err("which one?");
        assert!(unnamed.contains("several: old, new"), "{unnamed}");
        let unknown = signer(&holding(&[&old], Some("x"))).expect_err("unknown");
        assert!(unknown.contains("not among the private keys"), "{unknown}");
    }

    /// X4
    #[test]
    fn a_file_of_private_keys_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), private("a", 1).reveal()).expect("written");
        let settings = SigningSettings {
            private_file: Some(file.path().to_owned()),
            ..SigningSettings::default()
        };
        assert_eq!(signer(&settings), Ok(Some("a".to_owned())));
        for mode in [0o640, 0o604] {
            let open = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), open).expect("changed");
            let refused = signer(&settings).expect_err("refused");
            assert!(refused.contains("others may read it"), "{refused}");
        }
    }

    /// M2, X4: whoever can add a key decides what runs.
    #[test]
    fn a_file_of_public_keys_that_others_may_write_to_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), private("a", 1).public().to_string()).expect("written");
        let settings = SigningSettings {
            public_file: Some(file.path().to_owned()),
            ..SigningSettings::default()
        };
        for (mode, is_taken) in [(0o644, true), (0o664, false)] {
            let open = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), open).expect("changed");
            assert_eq!(settings.trusted().is_ok(), is_taken, "{mode:o}");
        }
    }

    /// M2
    #[test]
    fn signatures_are_required_where_there_are_keys_unless_somebody_says_no() {
        let with = |keys: bool, is_required| SigningSettings {
            public: keys.then(|| private("a", 1).public().to_string()),
            is_required,
            ..SigningSettings::default()
        };
        let required =
            |settings: &SigningSettings| settings.policy().ok().map(|one| one.is_required);
        assert_eq!(required(&with(true, None)), Some(true));
        assert_eq!(required(&with(true, Some(false))), Some(false));
        assert_eq!(required(&with(false, None)), Some(false));
        assert_eq!(required(&with(false, Some(true))), None);
    }

    /// Whether a machine without a private key deploys, unsigned.
    fn deploys(has_public: bool, is_required: Option<bool>, active: Option<&str>) -> bool {
        let settings = SigningSettings {
            public: has_public.then(|| private("a", 1).public().to_string()),
            is_required,
            active: active.map(|id| KeyId::new(id).expect("a name")),
            ..SigningSettings::default()
        };
        settings.module_signer().is_ok()
    }

    /// M2: what workers with these settings would refuse is not deployed in the first place.
    #[test]
    fn a_module_is_left_unsigned_only_where_that_is_allowed() {
        assert!(deploys(false, None, None));
        assert!(deploys(true, Some(false), None));
        for (has_public, is_required) in [(true, None), (true, Some(true)), (false, Some(true))] {
            assert!(!deploys(has_public, is_required, None), "{is_required:?}");
        }
        assert!(!deploys(false, None, Some("a")), "the key is missing");
    }

    /// X4
    #[test]
    fn an_id_stands_for_one_key() {
        let settings = SigningSettings {
            public: Some(private("a", 2).public().to_string()),
            ..holding(&[&private("a", 1)], None)
        };
        let error = settings.trusted().expect_err("two keys").to_string();
        assert!(error.contains("two different keys"), "{error}");
    }
}
