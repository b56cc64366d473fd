//! Durations and sizes as people write them: `30s`, `5m`, `64MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Text that is no duration or no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {what}: write {example}")]
pub struct UnitError {
    what: &'static str,
    value: String,
    example: &'static str,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many KiB.
    pub const fn kib(number: u64) -> Self {
        Self(number << 10)
    }

    /// So many MiB.
    pub const fn mib(number: u64) -> Self {
        Self(number << 20)
    }

    /// As a length in memory; the largest there is where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("bytes", 1),
    ("B", 1),
];

/// In the largest unit that holds it exactly: two sizes never look the same, and `FromStr` reads what this writes.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_exact = |(_, factor): &(_, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let binary = SIZES.into_iter().take(3).find(is_exact);
        let (unit, factor) = binary.unwrap_or(("bytes", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError {
            what: "size",
            value: text.to_owned(),
            example: "64MiB, 500KiB or a number of bytes",
        };
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" => 1,
            unit => {
                SIZES
                    .into_iter()
                    .find(|(name, _)| *name == unit)
                    .ok_or_else(error)?
                    .1
            }
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(error)
    }
}

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads `250ms`, `30s`, `5m`, `2h` or `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError {
        what: "duration",
        value: text.to_owned(),
        example: "250ms, 30s, 5m, 2h or 7d",
    };
    let (number, unit) = split_unit(text);
    let (_, factor) = DURATIONS
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(error)?;
    let number = number.parse::<u64>().map_err(|_| error())?;
    number
        .checked_mul(factor)
        .map(Duration::from_millis)
        .ok_or_else(error)
}

/// The shortest form that `parse_duration` reads.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = DURATIONS
        .into_iter()
        .rev()
        .find(|(_, factor)| millis >= *factor && millis % factor == 0)
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", millis / factor)
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5 m", 300_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "3000000000000000h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1 KiB", 1024),
            ("2kB", 2000),
            ("17", 17),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert!("64 elephants".parse::<ByteSize>().is_err());
    }

    #[test]
    fn a_duration_is_written_in_the_largest_whole_unit() {
        for text in ["250ms", "90s", "5m", "2h", "7d", "0s"] {
            assert_eq!(
                format_duration(parse_duration(text).expect("a duration")),
                text
            );
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_holds_it_exactly() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (512, "512 bytes"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "1048577 bytes"),
            (3 << 19, "1536 KiB"),
            (u64::MAX, "18446744073709551615 bytes"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_size_is_read_as_it_was_written(number: u64, shift in 0_u32..64) {
            let size = ByteSize(number >> shift << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
