//! Bytes and what they are: payloads and results, compressed where that helps (E3).

use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of MessagePack.
pub const MSGPACK: &str = "application/msgpack";
/// The largest payload that is taken by default.
pub const DEFAULT_PAYLOAD_LIMIT: ByteSize = ByteSize::mib(1);
/// What an envelope may weigh beyond its payload.
pub const ENVELOPE_OVERHEAD: ByteSize = ByteSize::kib(64);

const COMPRESS_FROM: usize = 4 << 10;
const COMPRESSION_LEVEL: i32 = 3;

/// Bytes, and what they are: what a task takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// An IANA media type, such as `application/json`.
    pub content_type: String,
    /// The bytes themselves.
    pub body: Bytes,
}

impl Payload {
    /// A payload of this media type.
    pub fn new(content_type: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// A JSON payload.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(JSON, value.to_string().into_bytes())
    }

    /// Whether the media type is JSON: `application/json` or any `+json`, whatever its parameters.
    pub fn is_json(&self) -> bool {
        is_json(&self.content_type)
    }

    /// Whether the body is what the media type says, for the types that the host can check.
    pub fn is_well_formed(&self) -> bool {
        match essence(&self.content_type) {
            MSGPACK => rmp_serde::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok(),
            _ if self.is_json() => {
                serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok()
            }
            _ => true,
        }
    }
}

/// Whether this media type is JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == JSON || essence.ends_with("+json")
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// How a stored body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is.
    Identity,
    /// Compressed with Zstandard.
    Zstd,
}

/// A payload as it lies in an envelope or a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPayload {
    /// The media type of the decoded body.
    pub content_type: String,
    /// How `body` is encoded.
    pub encoding: Encoding,
    /// The encoded bytes.
    pub body: Bytes,
}

/// A stored payload that cannot be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The body unpacks to more than is allowed.
    #[error("the payload unpacks to more than {0}")]
    TooLarge(ByteSize),
    /// The body is no Zstandard stream.
    #[error("the payload is not what its encoding says")]
    Corrupt,
}

impl StoredPayload {
    /// Compresses bodies over 4 KiB where that makes them smaller.
    pub fn pack(payload: Payload) -> Self {
        let Payload { content_type, body } = payload;
        if body.len() > COMPRESS_FROM
            && let Ok(packed) = zstd::bulk::compress(&body, COMPRESSION_LEVEL)
            && packed.len() < body.len()
        {
            return Self {
                content_type,
                encoding: Encoding::Zstd,
                body: packed.into(),
            };
        }
        Self {
            content_type,
            encoding: Encoding::Identity,
            body,
        }
    }

    /// The payload again; never more than `limit` bytes of it.
    pub fn unpack(&self, limit: ByteSize) -> Result<Payload, UnpackError> {
        let body = match self.encoding {
            Encoding::Identity => self.body.clone(),
            Encoding::Zstd => self.decompress(limit)?.into(),
        };
        if body.len() > limit.as_usize() {
            return Err(UnpackError::TooLarge(limit));
        }
        Ok(Payload {
            content_type: self.content_type.clone(),
            body,
        })
    }

    fn decompress(&self, limit: ByteSize) -> Result<Vec<u8>, UnpackError> {
        let mut body = Vec::new();
        let decoder = zstd::Decoder::new(self.body.as_ref()).map_err(|_| UnpackError::Corrupt)?;
        let bound = limit.0.saturating_add(1);
        decoder
            .take(bound)
            .read_to_end(&mut body)
            .map_err(|_| UnpackError::Corrupt)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E3
    #[test]
    fn a_long_compressible_payload_is_compressed_and_comes_back() {
        let payload = Payload::new("text/plain", "a".repeat(5_000));
        let stored = StoredPayload::pack(payload.clone());
        assert_eq!(stored.encoding, Encoding::Zstd);
        assert!(stored.body.len() < 200);
        assert_eq!(stored.unpack(ByteSize::mib(1)), Ok(payload));
    }

    /// E3
    #[test]
    fn a_short_payload_stays_as_it_is() {
        let stored = StoredPayload::pack(Payload::new("text/plain", "a".repeat(4_096)));
        assert_eq!(stored.encoding, Encoding::Identity);
    }

    /// E3
    #[test]
    fn what_a_payload_unpacks_to_is_bounded() {
        let stored = StoredPayload::pack(Payload::new("text/plain", vec![0; 10 << 20]));
        assert_eq!(
            stored.unpack(ByteSize::mib(1)),
            Err(UnpackError::TooLarge(ByteSize::mib(1)))
        );
        let corrupt = StoredPayload {
            encoding: Encoding::Zstd,
            ..StoredPayload::pack(Payload::new("a/b", "no zstd"))
        };
        assert_eq!(corrupt.unpack(ByteSize::mib(1)), Err(UnpackError::Corrupt));
    }

    #[test]
    fn a_body_that_is_not_its_media_type_is_found() {
        assert!(Payload::new(JSON, r#"{"a":1}"#).is_well_formed());
        assert!(!Payload::new("application/problem+json; charset=utf-8", "{").is_well_formed());
        assert!(!Payload::new(MSGPACK, vec![0xc1]).is_well_formed());
        assert!(Payload::new("image/png", vec![0xc1]).is_well_formed());
    }
}
