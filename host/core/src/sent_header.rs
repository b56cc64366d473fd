//! Headers that the host adds to requests on their way out: their names, and their values with secrets in them (S6).

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::secrets::{Secret, SecretName};

const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 4 << 10;
/// What frames a message, or belongs to one connection: the host's own.
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// A header that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SentHeaderError {
    /// No header has such a name.
    #[error("`{}` is no name of a header: use 1 to 64 of A-Z a-z 0-9 - _", .0.escape_debug())]
    Name(String),
    /// It is not the operator's to set.
    #[error("the header `{0}` is the host's own: it cannot be set")]
    Reserved(String),
    /// Its value is not what a line of text can carry.
    #[error("a header's value is at most 4 KiB of visible ASCII and spaces")]
    Value,
    /// A `${` that begins nothing.
    #[error("in a header's value, `${{` begins `${{secret:NAME}}` and nothing else")]
    Placeholder,
}

/// The name of a header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SentName(String);

impl SentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SentName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SentName {
    type Error = SentHeaderError;

    fn try_from(name: String) -> Result<Self, SentHeaderError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(is_allowed) {
            return Err(SentHeaderError::Name(name.chars().take(64).collect()));
        }
        let name = name.to_ascii_lowercase();
        match RESERVED.contains(&name.as_str()) {
            true => Err(SentHeaderError::Reserved(name)),
            false => Ok(Self(name)),
        }
    }
}

impl From<SentName> for String {
    fn from(name: SentName) -> Self {
        name.0
    }
}

/// A header's value: text in which `${secret:NAME}` stands for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Secret(SecretName),
}

impl Template {
    /// The secrets that stand in it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name),
            Part::Text(_) => None,
        })
    }

    /// The value with its secrets in it; none where one of them has no value.
    pub fn fill(&self, mut value: impl FnMut(&SecretName) -> Option<Secret>) -> Option<Secret> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Secret(name) => filled.push_str(value(name)?.reveal()),
            }
        }
        Some(Secret::new(filled))
    }
}

impl TryFrom<String> for Template {
    type Error = SentHeaderError;

    fn try_from(text: String) -> Result<Self, SentHeaderError> {
        let is_visible = |byte: u8| (b' '..=b'~').contains(&byte);
        if text.len() > LONGEST_VALUE || !text.bytes().all(is_visible) {
            return Err(SentHeaderError::Value);
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let inner = after
                .strip_prefix("secret:")
                .and_then(|after| after.split_once('}'));
            let (name, behind) = inner.ok_or(SentHeaderError::Placeholder)?;
            let name = SecretName::new(name).map_err(|_| SentHeaderError::Placeholder)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Secret(name));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Secret(name) => write!(f, "${{secret:{name}}}"),
        })
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template, SentHeaderError> {
        Template::try_from(text.to_owned())
    }

    fn filled(text: &str) -> Option<String> {
        let value = |name: &SecretName| {
            (name.as_str() != "NONE").then(|| Secret::new(name.as_str().to_lowercase()))
        };
        let filled = template(text).expect("a template").fill(value);
        filled.map(|secret| secret.reveal().to_owned())
    }

    /// S6
    #[test]
    fn secrets_stand_in_a_value_by_name() {
        for (text, value) in [
            ("Bearer ${secret:CRM_TOKEN}", "Bearer crm_token"),
            ("${secret:A}:${secret:B}", "a:b"),
            ("plain, $5 {x}", "plain, $5 {x}"),
            ("", ""),
        ] {
            assert_eq!(filled(text).as_deref(), Some(value));
            assert_eq!(template(text).expect("a template").to_string(), text);
        }
        assert_eq!(filled("x ${secret:NONE}"), None);
    }

    /// S6
    #[test]
    fn a_bad_value_is_refused() {
        for text in [
            "${A}",
            "${secret:A",
            "${secret:}",
            "${secret:A-B}",
            "x ${",
            "${SECRET:A}",
        ] {
            assert_eq!(template(text), Err(SentHeaderError::Placeholder), "{text}");
        }
        for text in ["a\r\nhost: b", "ä", "a\tb"] {
            assert_eq!(template(text), Err(SentHeaderError::Value), "{text}");
        }
    }

    /// S6
    #[test]
    fn a_name_that_frames_the_message_is_refused() {
        let name = |text: &str| SentName::try_from(text.to_owned());
        assert_eq!(
            name("Authorization").expect("a name").as_str(),
            "authorization"
        );
        for reserved in ["Host", "content-length", "Transfer-Encoding"] {
            assert!(
                matches!(name(reserved), Err(SentHeaderError::Reserved(_))),
                "{reserved}"
            );
        }
        for bad in ["", "a b", "a:b", "ä"] {
            assert!(matches!(name(bad), Err(SentHeaderError::Name(_))), "{bad}");
        }
    }
}
