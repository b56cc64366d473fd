//! Which tasks a pattern means: `mail.*`, where `*` stands for any run of characters.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::TaskName;

const LONGEST: usize = 128;

/// A pattern of task names: every character stands for itself, `*` for any number of any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskGlob(String);

/// A pattern that no task's name could ever fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no pattern of task names: use 1 to {LONGEST} of A-Z a-z 0-9 . _ - : / and * for any number of characters"
)]
pub struct TaskGlobError(String);

impl TaskGlob {
    /// Whether it means this task.
    pub fn matches(&self, task: &TaskName) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == task.as_str();
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let name = task.as_str().strip_prefix(head);
        let Some(mut left) = name.and_then(|name| name.strip_suffix(tail)) else {
            return false;
        };
        // Where each part is found first, most is left for those after it.
        middle.split('*').all(|part| match left.find(part) {
            Some(place) => {
                left = &left[place + part.len()..];
                true
            }
            None => false,
        })
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskGlob {
    type Err = TaskGlobError;

    fn from_str(text: &str) -> Result<Self, TaskGlobError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/*".contains(&byte);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_allowed) {
            return Ok(Self(text.to_owned()));
        }
        let shown = text.chars().take(64).flat_map(char::escape_debug);
        Err(TaskGlobError(shown.collect()))
    }
}

impl fmt::Display for TaskGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for TaskGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S2
    #[test]
    fn a_star_stands_for_any_number_of_characters_and_everything_else_for_itself() {
        for (glob, fits, does_not) in [
            ("mail", &["mail"][..], &["mails", "email"][..]),
            ("mail.*", &["mail.", "mail.send.now"], &["mail", "email.x"]),
            ("*.send", &["mail.send", ".send"], &["mail.sends", "send"]),
            ("*", &["a", "a/b:c"], &[]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["acb", "ab", "bc"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("*ab*ab*", &["abab", "xabyabz"], &["aab", "ab"]),
            ("a**b", &["ab", "axb"], &["a"]),
        ] {
            let glob: TaskGlob = glob.parse().expect("a pattern");
            let matches = |name: &&str| glob.matches(&TaskName::new(name).expect("a name"));
            assert!(fits.iter().all(matches), "{glob}");
            assert!(!does_not.iter().any(matches), "{glob}");
        }
    }

    /// E5
    #[test]
    fn a_pattern_that_no_name_could_fit_is_refused_and_shown_harmlessly() {
        let longest = "x".repeat(LONGEST + 1);
        for bad in ["", "two words", "mail.?", "[a]", longest.as_str()] {
            assert!(bad.parse::<TaskGlob>().is_err(), "{bad}");
        }
        let error = "\u{1b}[2J*".parse::<TaskGlob>().expect_err("refused");
        assert!(error.to_string().starts_with("`\\u{1b}[2J*` is no pattern"));
        let read = serde_json::from_str::<TaskGlob>(r#""a b""#).expect_err("refused");
        assert!(read.to_string().contains("is no pattern of task names"));
    }
}
