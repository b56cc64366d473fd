//! Ed25519 signatures over bytes as they are stored, by keys that have ids: several are accepted at once, and one signs
//! (M2, X4).

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use ed25519_dalek::{SECRET_KEY_LENGTH, SIGNATURE_LENGTH, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::names::KeyId;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// RFC 8032.
    Ed25519,
}

/// What is signed: a signature over one kind of bytes is none over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The manifest of a deployment.
    Manifest,
}

impl Purpose {
    /// What stands before the bytes that are signed.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Manifest => b"stem manifest 1\0",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.prefix(), bytes].concat()
    }
}

/// A signature with the id of the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Whose.
    pub key: KeyId,
    /// How it was made.
    pub algorithm: Algorithm,
    #[serde(with = "serde_bytes")]
    bytes: [u8; SIGNATURE_LENGTH],
}

/// Text that holds no keys. It never repeats what it read: that may be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An entry is not `id:base64`.
    #[error(
        "entry {0} is no key: write id:base64, where base64 is 32 bytes; `stem-host keys generate` makes one"
    )]
    Entry(usize),
    /// The bytes are no public key, or one under which anybody can sign.
    #[error("entry {0} is no Ed25519 public key that can be trusted")]
    Point(usize),
    /// One id, two keys.
    #[error("entry {0} has the id of an earlier one: every key has an id of its own")]
    Twice(usize),
}

/// A key that signs. It is shown by nothing but [`PrivateKey::reveal`].
#[derive(Clone)]
pub struct PrivateKey {
    id: KeyId,
    key: SigningKey,
}

impl PrivateKey {
    /// The key of this seed: 32 bytes that nobody can guess.
    pub fn from_seed(id: KeyId, seed: [u8; SECRET_KEY_LENGTH]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        Self { id, key }
    }

    /// Reads `id:base64,…`, or one a line; a line that begins with `#` is a comment.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        let entries = entries(text)?.into_iter();
        Ok(entries
            .map(|(id, seed)| Self::from_seed(id, seed))
            .collect())
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What tells its signatures from others'.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            id: self.id.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// Signs bytes as they are.
    pub fn sign(&self, purpose: Purpose, bytes: &[u8]) -> Signature {
        Signature {
            key: self.id.clone(),
            algorithm: Algorithm::Ed25519,
            bytes: self.key.sign(&purpose.message(bytes)).to_bytes(),
        }
    }

    /// The key itself, as `id:base64`.
    pub fn reveal(&self) -> String {
        format!("{}:{}", self.id, BASE64.encode(self.key.as_bytes()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.id)
    }
}

/// A key that tells whether a signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads `id:base64,…`, or one a line; a line that begins with `#` is a comment.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        let entries = entries(text)?.into_iter().enumerate();
        let key = |(index, (id, bytes)): (usize, (KeyId, [u8; SECRET_KEY_LENGTH]))| {
            let key = VerifyingKey::from_bytes(&bytes).ok();
            let key = key.filter(|key| !key.is_weak());
            key.map(|key| Self { id, key })
                .ok_or(KeyError::Point(index + 1))
        };
        entries.map(key).collect()
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        &self.id
    }
}

impl fmt::Display for PublicKey {
    /// As `id:base64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, BASE64.encode(self.key.as_bytes()))
    }
}

/// Why a signature is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Nobody here knows the key.
    #[error("it is signed with the key `{0}`, which is not among the public keys of this machine")]
    UnknownKey(KeyId),
    /// The bytes, or the signature, are not what they were.
    #[error("it is not what was signed with the key `{0}`")]
    Mismatch(KeyId),
}

/// The keys whose signatures are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys(BTreeMap<KeyId, VerifyingKey>);

impl PublicKeys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of this id.
    pub fn get(&self, id: &KeyId) -> Option<PublicKey> {
        let key = *self.0.get(id)?;
        Some(PublicKey {
            id: id.clone(),
            key,
        })
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = PublicKey> {
        self.0.iter().map(|(id, key)| PublicKey {
            id: id.clone(),
            key: *key,
        })
    }

    /// Whether these bytes are what the key of the signature has signed for this purpose.
    pub fn verify(
        &self,
        purpose: Purpose,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let id = &signature.key;
        let key = self.0.get(id);
        let key = key.ok_or_else(|| SignatureError::UnknownKey(id.clone()))?;
        // Strict: no signature that another implementation would judge otherwise, and none under a weak key.
        let signature = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        key.verify_strict(&purpose.message(bytes), &signature)
            .map_err(|_| SignatureError::Mismatch(id.clone()))
    }
}

impl FromIterator<PublicKey> for PublicKeys {
    fn from_iter<K: IntoIterator<Item = PublicKey>>(keys: K) -> Self {
        Self(keys.into_iter().map(|key| (key.id, key.key)).collect())
    }
}

type Entry = (KeyId, [u8; SECRET_KEY_LENGTH]);

fn entries(text: &str) -> Result<Vec<Entry>, KeyError> {
    let lines = text.lines().map(str::trim);
    let written = lines.filter(|line| !line.starts_with('#'));
    let written = written.flat_map(|line| line.split(',')).map(str::trim);
    let mut entries: Vec<Entry> = Vec::new();
    for (index, text) in written.filter(|entry| !entry.is_empty()).enumerate() {
        let place = index + 1;
        let (id, key) = entry(text).ok_or(KeyError::Entry(place))?;
        if entries.iter().any(|(known, _)| *known == id) {
            return Err(KeyError::Twice(place));
        }
        entries.push((id, key));
    }
    Ok(entries)
}

fn entry(text: &str) -> Option<Entry> {
    let (id, key) = text.rsplit_once(':')?;
    let key = BASE64.decode(key.as_bytes()).ok()?;
    Some((KeyId::new(id).ok()?, key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(id: &str, seed: u8) -> PrivateKey {
        PrivateKey::from_seed(KeyId::new(id).expect("a name"), [seed; 32])
    }

    fn trusting(keys: &[&PrivateKey]) -> PublicKeys {
        keys.iter().map(|key| key.public()).collect()
    }

    /// M2
    #[test]
    fn a_signature_holds_for_the_bytes_that_were_signed_and_for_no_others() {
        let key = private("ci", 1);
        let signature = key.sign(Purpose::Manifest, b"bytes");
        let keys = trusting(&[&private("old", 2), &key]);
        let verify =
            |bytes: &[u8], signature: &Signature| keys.verify(Purpose::Manifest, bytes, signature);
        assert_eq!(verify(b"bytes", &signature), Ok(()));
        let mismatch = Err(SignatureError::Mismatch(key.id().clone()));
        assert_eq!(verify(b"bytez", &signature), mismatch);
        for at in [0, 31, 32, 63] {
            let mut forged = signature.clone();
            forged.bytes[at] ^= 1;
            assert_eq!(verify(b"bytes", &forged), mismatch, "{at}");
        }
    }

    /// M2: an id is no key.
    #[test]
    fn a_signature_of_a_key_that_is_not_trusted_is_not_taken() {
        let signature = private("ci", 1).sign(Purpose::Manifest, b"bytes");
        let verify = |keys: &PublicKeys| keys.verify(Purpose::Manifest, b"bytes", &signature);
        let id = signature.key.clone();
        let unknown = Err(SignatureError::UnknownKey(id.clone()));
        assert_eq!(verify(&trusting(&[&private("other", 1)])), unknown);
        let mismatch = Err(SignatureError::Mismatch(id));
        assert_eq!(verify(&trusting(&[&private("ci", 2)])), mismatch);
    }

    /// X4
    #[test]
    fn keys_are_read_as_they_are_shown() {
        let (one, two) = (private("a:1", 1), private("b", 2));
        let text = format!("# mine\n{},{}\n\n", one.reveal(), two.reveal());
        let read = PrivateKey::parse_all(&text).expect("keys");
        let shown: Vec<String> = read.iter().map(PrivateKey::reveal).collect();
        assert_eq!(shown, [one.reveal(), two.reveal()]);
        let text = format!("{}\n{}", one.public(), two.public());
        let read = PublicKey::parse_all(&text).expect("keys");
        assert_eq!(read, [one.public(), two.public()]);
    }

    /// X4
    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let good = private("a", 1).reveal();
        let weak = format!("w:{}", BASE64.encode(&[0; 32]));
        for bad in ["secret", "secret:!", "a b:c2VjcmV0", "secret:c2VjcmV0"] {
            let error = PrivateKey::parse_all(&format!("{good},{bad}")).expect_err("no key");
            assert_eq!(error, KeyError::Entry(2), "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let twice = PrivateKey::parse_all(&format!("{good},{good}"));
        assert_eq!(twice.err(), Some(KeyError::Twice(2)));
        assert_eq!(PublicKey::parse_all(&weak), Err(KeyError::Point(1)));
        assert_eq!(format!("{:?}", private("a", 1)), "PrivateKey(a)");
    }
}
