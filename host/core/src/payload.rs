//! Bytes and what they are: payloads and results, compressed where that helps (E3).

use std::io::Read;

use bytes::Bytes;
use serde::de::IgnoredAny;
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

/// Bytes of a media type that are taken.
const LONGEST_MEDIA_TYPE: usize = 255;
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

    /// What the media type says about the body.
    pub fn format(&self) -> Format {
        Format::of(&self.content_type)
    }

    /// Whether the media type is JSON: `application/json` or any `+json`, whatever its parameters.
    pub fn is_json(&self) -> bool {
        is_json(&self.content_type)
    }

    /// Whether the content type could be a media type at all.
    pub fn has_media_type(&self) -> bool {
        let is_plain = |byte| matches!(byte, b' '..=b'~');
        self.content_type.len() <= LONGEST_MEDIA_TYPE && self.content_type.bytes().all(is_plain)
    }

    /// Whether the body is what the media type says, for the types that the host can check.
    pub fn is_well_formed(&self) -> bool {
        match self.format() {
            Format::Json => serde_json::from_slice::<IgnoredAny>(&self.body).is_ok(),
            Format::MessagePack => is_one_value(&self.body),
            Format::Text | Format::Other => true,
        }
    }
}

/// What a body is, as far as the host and the SDKs can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`, and any `+json`.
    Json,
    /// `application/msgpack`, by whichever of its names.
    MessagePack,
    /// Any `text/…`.
    Text,
    /// Bytes.
    Other,
}

impl Format {
    /// What this media type says; parameters and case say nothing.
    pub fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim_ascii().to_ascii_lowercase();
        match essence.as_str() {
            MSGPACK | "application/vnd.msgpack" | "application/x-msgpack" => Self::MessagePack,
            JSON => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            other if other.starts_with("text/") => Self::Text,
            _ => Self::Other,
        }
    }
}

/// Whether this media type is JSON.
pub fn is_json(content_type: &str) -> bool {
    Format::of(content_type) == Format::Json
}

/// Whether these bytes are one MessagePack value, and nothing after it.
fn is_one_value(body: &[u8]) -> bool {
    let mut rest = body;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    IgnoredAny::deserialize(&mut decoder).is_ok() && rest.is_empty()
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
        assert!(!Payload::new("application/X-MsgPack", vec![0xc1]).is_well_formed());
        assert!(Payload::new(MSGPACK, vec![0x01]).is_well_formed());
        assert!(!Payload::new(MSGPACK, vec![0x01, 0x02]).is_well_formed());
        assert!(Payload::new("image/png", vec![0xc1]).is_well_formed());
    }
}
