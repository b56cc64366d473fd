//! Names that people choose: tasks, queues, workers, namespaces, deployments, buckets, headers, all under one rule (E5).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that breaks the rule: 1–128 of `A–Z a–z 0–9 . _ - : /`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {what} name: use 1 to 128 of A-Z a-z 0-9 . _ - : /")]
pub struct NameError {
    what: &'static str,
    value: String,
}

fn check(what: &'static str, value: &str) -> Result<(), NameError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte);
    if (1..=128).contains(&value.len()) && value.bytes().all(is_allowed) {
        return Ok(());
    }
    let shown = value
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect();
    Err(NameError { what, value: shown })
}

/// Text that is read where it lies, if it lies there in one piece: names are read and written with every attempt.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the rule of E5.
            pub fn new(value: impl AsRef<str>) -> Result<Self, NameError> {
                let value = value.as_ref();
                check($what, value)?;
                Ok(Self(value.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let Text(text) = Text::deserialize(deserializer)?;
                Self::new(text).map_err(D::Error::custom)
            }
        }
    };
}

name!(
    /// A key among several: what a signature says of who made it.
    KeyId,
    "key"
);
name!(
    /// A named kind of work, exported by a module.
    TaskName,
    "task"
);
name!(
    /// A named line of envelopes.
    QueueName,
    "queue"
);
name!(
    /// Separates systems that share a server: two namespaces never see each other (B14).
    Namespace,
    "namespace"
);
name!(
    /// A worker process: unique for each start.
    WorkerName,
    "worker"
);
name!(
    /// What a module's versions are counted under (M3).
    DeploymentName,
    "deployment"
);
name!(
    /// A bucket of keys and values that an operator grants by this name.
    BucketName,
    "bucket"
);
name!(
    /// The name of a header that a producer attached.
    HeaderName,
    "header"
);

/// The longest word that is compared with others: a longer one is no slip of the pen, and comparing takes long.
const LONGEST_WORD: usize = 256;

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E5
    #[test]
    fn a_name_outside_the_rule_is_refused() {
        let longest = "x".repeat(128);
        for good in ["a", "word-count", "a.b_c-d:e/F9", longest.as_str()] {
            assert!(TaskName::new(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(129);
        for bad in ["", "a b", "ü", "a\n", "a*", too_long.as_str()] {
            assert!(TaskName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_control_character_in_a_refused_name_is_escaped_in_the_message() {
        let message = QueueName::new("a\u{1b}[2J")
            .expect_err("not allowed")
            .to_string();
        assert!(message.contains("\\u{1b}"), "{message}");
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let tasks = ["word-count", "markdown"];
        assert_eq!(nearest("word-cuont", tasks), Some("word-count"));
        assert_eq!(nearest("thumbnail", tasks), None);
        let long = ["x".repeat(LONGEST_WORD), "x".repeat(LONGEST_WORD + 1)];
        let found = long.each_ref().map(|word| nearest(word, [word.as_str()]));
        assert_eq!(found, [Some(long[0].as_str()), None]);
    }
}
