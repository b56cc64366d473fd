//! Which envelopes run on a new version first: a share of them, by a hash of their ids (M3).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::ids::EnvelopeId;

/// Parts in a whole.
const WHOLE: u32 = 10_000;

/// A share of envelopes, in steps of a hundredth of one percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// Text that is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no share: write 5% or 0.25%, above 0% and up to 100%", .0.escape_debug())]
pub struct ShareError(String);

impl Share {
    /// So many parts in ten thousand, of which a share has one at least.
    pub fn from_parts(parts: u32) -> Option<Self> {
        (1..=WHOLE).contains(&parts).then_some(Self(parts))
    }

    /// How many parts in ten thousand.
    pub fn parts(self) -> u32 {
        self.0
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether this envelope is in the share. Always the same answer: a retry stays where it was, and whoever is in a
    /// share is in every larger one.
    pub fn takes(self, id: EnvelopeId) -> bool {
        let hash = Sha256::digest(id.as_bytes());
        let drawn = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        u64::from(drawn) * u64::from(WHOLE) < u64::from(self.0) << 32
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let refused = || ShareError(text.chars().take(64).collect());
        let number = text.strip_suffix('%').ok_or_else(refused)?;
        let (whole, hundredths) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str, most| {
            digits.len() <= most && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if whole.is_empty() || !is_number(whole, 3) || !is_number(hundredths, 2) {
            return Err(refused());
        }
        let parts = format!("{whole}{hundredths:0<2}").parse();
        let parts = parts.map_err(|_| refused())?;
        Self::from_parts(parts).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_it_is_shown() {
        for text in ["5%", "0.25%", "0.01%", "12.5%", "100%"] {
            let share: Share = text.parse().expect("a share");
            assert_eq!(share.to_string(), text);
        }
        for bad in [
            "", "%", "5", "0%", "101%", "-5%", "1.234%", "5 %", ".5%", "+5%", "1e1%",
        ] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }

    /// M3: the bounds are six deviations from the mean of a fair draw.
    #[test]
    fn a_share_takes_as_many_as_it_says_and_keeps_them_when_it_grows() {
        let share = |text: &str| text.parse::<Share>().expect("a share");
        let ids: Vec<EnvelopeId> = (0..20_000).map(|_| EnvelopeId::new()).collect();
        let taken = ids.iter().filter(|id| share("5%").takes(**id));
        let taken: Vec<&EnvelopeId> = taken.collect();
        assert!((815..=1_185).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|id| share("7%").takes(**id)));
        assert!(ids.iter().all(|id| share("100%").takes(*id)));
    }
}
