//! Bytes and what they are: what a task is given, and what it gives back.

use std::fmt;

use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::interruption::Interruption;

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of MessagePack.
pub const MSGPACK: &str = "application/msgpack";

/// Bytes, and what they are.
///
/// A task that takes a `Payload` gets the bytes as they are, whatever their media type; one that
/// returns a `Payload` has them stored as they are. Every other type goes through `serde`, see
/// [`decode`](Self::decode).
///
/// ```
/// use stem_guest::{Context, Interruption, Payload};
///
/// /// Gives back what it is given.
/// #[stem_guest::task]
/// fn echo(_ctx: &Context, payload: Payload) -> Result<Payload, Interruption> {
///     Ok(payload)
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// An IANA media type, such as `application/json`.
    pub content_type: String,
    /// The bytes themselves.
    pub body: Vec<u8>,
}

/// How a value becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `application/json`, and any `+json`.
    Json,
    /// `application/msgpack`; structs as maps with named fields.
    #[cfg(feature = "msgpack")]
    MessagePack,
}

impl Payload {
    /// A payload of this media type.
    pub fn new(content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// A JSON payload.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::new(JSON, value.to_string())
    }

    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", text.into())
    }

    /// The media type without its parameters: `text/csv` of `text/csv; header=present`.
    pub fn media_type(&self) -> &str {
        self.content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_ascii()
    }

    /// How the body is encoded, if it is something that [`decode`](Self::decode) reads.
    pub fn format(&self) -> Option<Format> {
        let media_type = self.media_type();
        let is = |other: &str| media_type.eq_ignore_ascii_case(other);
        #[cfg(feature = "msgpack")]
        if is(MSGPACK) || is("application/vnd.msgpack") || is("application/x-msgpack") {
            return Some(Format::MessagePack);
        }
        let suffix = media_type.rsplit_once('+').map_or("", |(_, suffix)| suffix);
        (is(JSON) || suffix.eq_ignore_ascii_case("json")).then_some(Format::Json)
    }

    /// The body as text; a body that is no UTF-8 is rejected as `invalid-payload`.
    pub fn as_text(&self) -> Result<&str, Interruption> {
        std::str::from_utf8(&self.body)
            .map_err(|error| invalid(format!("the payload is no UTF-8 text: {error}")))
    }

    /// The value that the body holds: of JSON, of MessagePack, or of any `text/…`, which reads as one string.
    ///
    /// A body that does not fit is rejected as `invalid-payload`, and the message says where.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Interruption> {
        match self.format() {
            Some(Format::Json) => {
                serde_json::from_slice(&self.body).map_err(|error| misfit(&error))
            }
            #[cfg(feature = "msgpack")]
            Some(Format::MessagePack) => {
                let mut rest = self.body.as_slice();
                let mut decoder = rmp_serde::Deserializer::new(&mut rest);
                let value = serde_path_to_error::deserialize(&mut decoder)
                    .map_err(|error| misplaced(&error))?;
                match rest.is_empty() {
                    true => Ok(value),
                    false => Err(misfit(&"trailing bytes")),
                }
            }
            None if self.is_text() => {
                let text: StrDeserializer<'_, serde_json::Error> =
                    self.as_text()?.into_deserializer();
                T::deserialize(text).map_err(|error| misfit(&error))
            }
            None => Err(invalid(format!(
                "the task does not read {:?}",
                self.content_type
            ))),
        }
    }

    fn is_text(&self) -> bool {
        self.media_type()
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("text/"))
    }

    /// This value as bytes; one that the format cannot hold is rejected as `invalid-output`.
    pub fn encode<T: Serialize + ?Sized>(value: &T, format: Format) -> Result<Self, Interruption> {
        let refused = |error: &dyn fmt::Display| {
            Interruption::reject(
                "invalid-output",
                format!("the value cannot be encoded: {error}"),
            )
        };
        match format {
            Format::Json => serde_json::to_vec(value)
                .map(|body| Self::new(JSON, body))
                .map_err(|error| refused(&error)),
            #[cfg(feature = "msgpack")]
            Format::MessagePack => rmp_serde::to_vec_named(value)
                .map(|body| Self::new(MSGPACK, body))
                .map_err(|error| refused(&error)),
        }
    }
}

fn invalid(message: String) -> Interruption {
    Interruption::reject("invalid-payload", message)
}

fn misfit(cause: &dyn fmt::Display) -> Interruption {
    invalid(format!("the payload does not fit: {cause}"))
}

#[cfg(feature = "msgpack")]
fn misplaced(error: &serde_path_to_error::Error<rmp_serde::decode::Error>) -> Interruption {
    let (path, cause) = (error.path(), error.inner());
    match path.iter().next() {
        Some(_) => misfit(&format_args!("{cause} at `{path}`")),
        None => misfit(cause),
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::json(&value)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let start = &self.body[..self.body.len().min(SHOWN)];
        let more = if self.body.len() > SHOWN { "…" } else { "" };
        write!(
            f,
            "{} ({} bytes) \"{}\"{more}",
            self.content_type,
            self.body.len(),
            start.escape_ascii()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message(refused: Result<Vec<u8>, Interruption>) -> String {
        refused.expect_err("no fit").to_string()
    }

    #[test]
    fn json_is_known_by_its_media_type_whatever_its_parameters() {
        for media_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
        ] {
            assert_eq!(
                Payload::new(media_type, "1").format(),
                Some(Format::Json),
                "{media_type}"
            );
        }
        assert_eq!(Payload::new("text/csv", "a,b").format(), None);
    }

    #[test]
    fn a_misfit_is_rejected_with_its_place() {
        let json = Payload::new(JSON, "[1, true]").decode::<Vec<u8>>();
        assert_eq!(
            message(json),
            "rejected: invalid-payload: the payload does not fit: invalid type: boolean `true`, expected u8 at line 1 column 8"
        );
        let png = Payload::new("image/png", "").decode::<Vec<u8>>();
        assert_eq!(
            message(png),
            "rejected: invalid-payload: the task does not read \"image/png\""
        );
    }

    #[test]
    fn a_text_reads_as_one_string() {
        assert_eq!(
            Payload::new("text/csv", "a,b").decode(),
            Ok("a,b".to_owned())
        );
        let number = Payload::text("12").decode::<Vec<u8>>();
        assert!(message(number).contains("invalid type: string \"12\", expected a sequence"));
        let broken = Payload::new("text/plain", [0xff])
            .decode::<String>()
            .expect_err("no UTF-8");
        assert!(broken.to_string().contains("no UTF-8 text"), "{broken}");
    }

    #[cfg(feature = "msgpack")]
    #[test]
    fn message_pack_goes_in_and_out_with_named_fields() {
        let value = json!({"list": [{"n": 1}]});
        let packed = Payload::encode(&value, Format::MessagePack).expect("encoded");
        assert_eq!(packed.content_type, MSGPACK);
        assert_eq!(packed.decode::<Value>().expect("decoded"), value);
        let misfit = packed
            .decode::<std::collections::BTreeMap<String, Vec<u8>>>()
            .expect_err("no fit");
        assert!(misfit.to_string().ends_with("at `list[0]`"), "{misfit}");
        let trailing = Payload::new(MSGPACK, [1, 2]).decode::<u8>();
        let trailing = trailing.expect_err("two values").to_string();
        assert!(trailing.ends_with("trailing bytes"), "{trailing}");
    }

    #[test]
    fn a_value_that_json_cannot_hold_is_rejected() {
        let odd = std::collections::BTreeMap::from([(vec![1], 1)]);
        let refused = Payload::encode(&odd, Format::Json).expect_err("no JSON");
        assert_eq!(
            refused.failure().map(|failure| failure.kind.as_str()),
            Some("invalid-output")
        );
    }
}
