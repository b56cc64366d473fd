//! Ids that machines make: envelopes and module digests.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteArray;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Names one envelope for ever: a UUID v7, or one derived (v8) from a parent and a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvelopeId(Uuid);

impl EnvelopeId {
    /// A new id, ordered by the time of its making.
    #[expect(
        clippy::new_without_default,
        reason = "every call gives another id: no default"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that `parent` and `key` always give: publishing it again changes nothing (B15).
    pub fn derived(parent: Self, key: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(parent.0.as_bytes());
        hasher.update(key.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(Uuid::new_v8(bytes))
    }

    /// The id that is so many behind this one: of the same kind, and as random.
    pub fn plus(self, steps: u64) -> Self {
        const COUNTED: u128 = u64::MAX as u128 >> 2;
        let bits = self.0.as_u128();
        let next = bits.wrapping_add(u128::from(steps)) & COUNTED;
        Self(Uuid::from_u128(bits & !COUNTED | next))
    }

    /// Whether brokers remember this id for 7 days after its envelope has gone (B15).
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// The 16 bytes that stores keep.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id kept as these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no envelope id: expected a UUID such as 0198c5a2-7d30-7c3e-8f43-0123456789ab")]
pub struct IdError(String);

impl FromStr for EnvelopeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| IdError(text.chars().take(64).flat_map(char::escape_debug).collect()))
    }
}

/// The SHA-256 of a module's bytes: what the module is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes that stores keep.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest kept as these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a module digest is 64 hexadecimal digits")]
pub struct DigestError;

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(DigestError);
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

/// Digits where people read it; the bytes themselves in what stores keep, as every attempt's record names its module.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return Self::try_from(text).map_err(D::Error::custom);
        }
        let bytes = ByteArray::deserialize(deserializer)?;
        Ok(Self(bytes.into_array()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B15
    #[test]
    fn a_derived_id_depends_on_parent_and_key_and_on_nothing_else() {
        let (parent, other) = (EnvelopeId::new(), EnvelopeId::new());
        let id = EnvelopeId::derived(parent, "a");
        assert_eq!(id, EnvelopeId::derived(parent, "a"));
        assert_ne!(id, EnvelopeId::derived(parent, "b"));
        assert_ne!(id, EnvelopeId::derived(other, "a"));
        assert!(id.is_derived() && !parent.is_derived());
    }

    /// B15: never another version or variant, also where it counts over the end.
    #[test]
    fn ids_are_counted_on_from_one() {
        let last = EnvelopeId::from_bytes([0x7f; 16]).plus(u64::MAX >> 2);
        for id in [EnvelopeId::new(), last] {
            let next = id.plus(7);
            assert_eq!((id.plus(0), id.plus(3).plus(4)), (id, next));
            assert_ne!(next, id);
            assert_eq!(next.0.get_version_num(), id.0.get_version_num());
            assert_eq!(next.0.get_variant(), id.0.get_variant());
        }
    }

    #[test]
    fn a_digest_reads_what_it_writes() {
        let digest = Digest::of(b"module");
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        assert_eq!(Digest::try_from("zz".repeat(32)), Err(DigestError));
    }

    #[test]
    fn a_digest_is_digits_for_people_and_bytes_in_stores() {
        let digest = Digest::of(b"module");
        let text = serde_json::to_string(&digest).expect("JSON");
        assert_eq!(text, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&text).ok(), Some(digest));
        let bytes = rmp_serde::to_vec(&digest).expect("MessagePack");
        assert_eq!(bytes.len(), 2 + 32);
        assert_eq!(rmp_serde::from_slice::<Digest>(&bytes).ok(), Some(digest));
    }
}
