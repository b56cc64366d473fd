//! What a deployment's module may do, in the very bytes that are signed and stored (M2).
//!
//! A signature covers these bytes as they are: they are never written anew, and whoever wants to know what they say
//! decodes them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::grants::Grants;
use crate::ids::Digest;
use crate::module_store::DeployedTask;
use crate::names::DeploymentName;
use crate::outcome::{Failure, FailureKind};
use crate::signing::{PrivateKey, PublicKeys, Purpose, Signature};

/// The format that this build writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// Everything that decides what the module of a deployment may do. Its version is given by the store, and is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// A field that changes what must be done comes with a new number; other new fields are hints.
    v: u32,
    /// The deployment's name.
    pub name: DeploymentName,
    /// The module.
    pub digest: Digest,
    /// Its tasks with their policies in force.
    pub tasks: Vec<DeployedTask>,
    /// What the module is given.
    pub grants: Grants,
}

/// Bytes that are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Nothing of ours.
    #[error("its manifest cannot be decoded")]
    Damaged(#[source] rmp_serde::decode::Error),
    /// Made by a newer build.
    #[error(
        "its manifest has format {0}, and this build reads format {FORMAT}: upgrade this program"
    )]
    Newer(u32),
}

/// The first thing that is read of a manifest.
#[derive(Deserialize)]
struct Format {
    v: u32,
}

impl Manifest {
    /// What this module does under this name.
    pub fn new(
        name: DeploymentName,
        digest: Digest,
        tasks: Vec<DeployedTask>,
        grants: Grants,
    ) -> Self {
        Self {
            v: FORMAT,
            name,
            digest,
            tasks,
            grants,
        }
    }

    /// Its bytes, signed if there is a key.
    ///
    /// # Panics
    /// Never: names, numbers and texts can be written.
    pub fn seal(&self, key: Option<&PrivateKey>) -> Sealed {
        let bytes = rmp_serde::to_vec_named(self);
        let manifest = Bytes::from(bytes.expect("names, numbers and texts can be written"));
        Sealed {
            signature: key.map(|key| key.sign(Purpose::Manifest, &manifest)),
            manifest,
        }
    }

    /// What these bytes say.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let Format { v } = rmp_serde::from_slice(bytes).map_err(ManifestError::Damaged)?;
        if v > FORMAT {
            return Err(ManifestError::Newer(v));
        }
        rmp_serde::from_slice(bytes).map_err(ManifestError::Damaged)
    }
}

/// A manifest's bytes and, where it was signed, the signature over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// As they were signed.
    pub manifest: Bytes,
    /// By whom.
    pub signature: Option<Signature>,
}

/// Whose signatures are taken, and whether there must be one.
#[derive(Debug, Clone, Default)]
pub struct SignaturePolicy {
    /// Whose.
    pub keys: PublicKeys,
    /// Whether what is unsigned is refused.
    pub is_required: bool,
}

impl SignaturePolicy {
    /// Whether signatures are looked at.
    pub fn is_in_force(&self) -> bool {
        self.is_required || !self.keys.is_empty()
    }

    /// Refuses what is altered, signed by others or, where signatures are required, unsigned.
    pub fn check(&self, sealed: &Sealed) -> Result<(), Failure> {
        match &sealed.signature {
            None if self.is_required => Err(bad_signature("it is not signed".to_owned())),
            Some(signature) if self.is_in_force() => self
                .keys
                .verify(Purpose::Manifest, &sealed.manifest, signature)
                .map_err(|error| bad_signature(error.to_string())),
            None | Some(_) => Ok(()),
        }
    }
}

/// A deployment that is not what its operator has signed.
pub fn bad_signature(problem: String) -> Failure {
    Failure::permanent(FailureKind::BadSignature, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::KeyId;

    fn manifest() -> Manifest {
        let name = DeploymentName::new("text").expect("a name");
        Manifest::new(name, Digest::of(b"module"), Vec::new(), Grants::default())
    }

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyId::new("ci").expect("a name"), [seed; 32])
    }

    fn policy(seed: u8, is_required: bool) -> SignaturePolicy {
        SignaturePolicy {
            keys: [key(seed).public()].into_iter().collect(),
            is_required,
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let sealed = manifest().seal(None);
        let read = Manifest::decode(&sealed.manifest).expect("a manifest");
        assert_eq!(read, manifest());
    }

    /// E1's rule for what is stored: a newer format is named, not guessed at.
    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let newer = Manifest { v: 2, ..manifest() };
        let error = Manifest::decode(&newer.seal(None).manifest).expect_err("newer");
        assert!(error.to_string().contains("format 2"), "{error}");
        assert!(Manifest::decode(b"\xc1").is_err());
    }

    /// M2
    #[test]
    fn what_was_altered_is_refused_wherever_a_key_is_known() {
        let mut sealed = manifest().seal(Some(&key(1)));
        assert_eq!(policy(1, true).check(&sealed), Ok(()));
        let said = |result: Result<(), Failure>| result.expect_err("refused").message;
        assert!(said(policy(2, false).check(&sealed)).contains("not what was signed"));
        sealed.manifest = [&sealed.manifest[..], b"\0"].concat().into();
        assert!(said(policy(1, false).check(&sealed)).contains("not what was signed"));
        assert_eq!(SignaturePolicy::default().check(&sealed), Ok(()));
    }

    /// M2: otherwise whoever alters a manifest takes its signature away.
    #[test]
    fn what_is_unsigned_is_refused_where_signatures_are_required() {
        let sealed = manifest().seal(None);
        let refused = policy(1, true).check(&sealed).expect_err("refused");
        assert_eq!(refused, bad_signature("it is not signed".to_owned()));
        assert_eq!(policy(1, false).check(&sealed), Ok(()));
    }
}
