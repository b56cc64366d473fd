//! What the values of the attribute may be: the same grammar that a deployment's policy has.

/// Reads `value` as the setting takes it, or says what it takes.
pub type Check = fn(&str) -> Result<(), &'static str>;

/// How a value is written in the attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string literal.
    Text,
    /// A number literal.
    Number,
    /// A string or a number literal.
    TextOrNumber,
    /// `true` or `false`.
    Bool,
}

/// One key of the attribute that is a default of the task's policy.
pub struct Setting {
    /// As the attribute has it; the policy has `-` for `_`.
    pub key: &'static str,
    pub form: Form,
    pub check: Check,
}

const fn setting(key: &'static str, form: Form, check: Check) -> Setting {
    Setting { key, form, check }
}

pub const SETTINGS: [Setting; 18] = [
    setting("queue", Form::Text, name),
    setting("priority", Form::Number, |v| {
        whole(v, 0, 9, "a whole number from 0 to 9")
    }),
    setting("max_attempts", Form::Number, |v| {
        whole(v, 1, 1_000, "a whole number from 1 to 1000")
    }),
    setting("retry", Form::Text, backoff),
    setting("retry_base", Form::Text, duration),
    setting("retry_factor", Form::Number, factor),
    setting("retry_cap", Form::Text, duration),
    setting("retry_jitter", Form::Bool, |_| Ok(())),
    setting("soft_time_limit", Form::Text, positive),
    setting("hard_time_limit", Form::Text, positive),
    setting("cpu_time_limit", Form::Text, positive),
    setting("memory_limit", Form::TextOrNumber, memory),
    setting("fuel_limit", Form::Number, |v| {
        whole(v, 1, u64::MAX, "a whole number from 1")
    }),
    setting("output_limit", Form::TextOrNumber, size),
    setting("log_limit", Form::TextOrNumber, size),
    setting("enqueue_limit", Form::Number, |v| {
        whole(v, 0, 1_000_000, "a whole number from 0 to 1000000")
    }),
    setting("enqueue_size_limit", Form::TextOrNumber, size),
    setting("result_retention", Form::Text, duration),
];

/// The rule for the names of tasks and queues.
pub fn name(value: &str) -> Result<(), &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte);
    if (1..=128).contains(&value.len()) && value.bytes().all(is_allowed) {
        return Ok(());
    }
    Err("a name of 1 to 128 of A-Z a-z 0-9 . _ - : /")
}

fn whole(value: &str, low: u64, high: u64, wanted: &'static str) -> Result<(), &'static str> {
    match value.parse::<u64>() {
        Ok(number) if (low..=high).contains(&number) => Ok(()),
        _ => Err(wanted),
    }
}

fn factor(value: &str) -> Result<(), &'static str> {
    match value.parse::<f64>() {
        Ok(number) if (1.0..=1_000.0).contains(&number) => Ok(()),
        _ => Err("a number from 1 to 1000"),
    }
}

fn backoff(value: &str) -> Result<(), &'static str> {
    match value {
        "exponential" | "linear" | "fixed" => Ok(()),
        _ => Err("\"exponential\", \"linear\" or \"fixed\""),
    }
}

const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZES: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Addresses of a task have 32 bits.
const MOST_MEMORY: u64 = 4 << 30;

fn duration(value: &str) -> Result<(), &'static str> {
    in_units(value, &DURATIONS)
        .map(|_| ())
        .ok_or("a duration such as \"250ms\", \"30s\", \"5m\" or \"7d\"")
}

fn positive(value: &str) -> Result<(), &'static str> {
    duration(value)?;
    match in_units(value, &DURATIONS) {
        Some(0) => Err("a duration longer than zero"),
        _ => Ok(()),
    }
}

fn size(value: &str) -> Result<(), &'static str> {
    in_units(value, &SIZES)
        .map(|_| ())
        .ok_or("a size such as \"64MiB\", \"500KiB\" or a number of bytes")
}

fn memory(value: &str) -> Result<(), &'static str> {
    size(value)?;
    match in_units(value, &SIZES) {
        Some(bytes) if bytes > MOST_MEMORY => Err("a size of at most 4GiB"),
        _ => Ok(()),
    }
}

/// The number in the smallest unit; nothing where it is none, or more than can be counted.
fn in_units(value: &str, units: &[(&str, u64)]) -> Option<u64> {
    let value = value.trim();
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(key: &str, value: &str) -> bool {
        SETTINGS
            .iter()
            .any(|setting| setting.key == key && (setting.check)(value).is_ok())
    }

    #[test]
    fn good_values_are_taken() {
        for (key, value) in [
            ("queue", "reports.daily"),
            ("priority", "9"),
            ("max_attempts", "1"),
            ("retry", "linear"),
            ("retry_factor", "1.5"),
            ("retry_base", "0s"),
            ("soft_time_limit", "5 m"),
            ("cpu_time_limit", "10s"),
            ("memory_limit", "64 MiB"),
            ("log_limit", "1024"),
        ] {
            assert!(takes(key, value), "{key} = {value}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (key, value) in [
            ("queue", "two words"),
            ("priority", "10"),
            ("max_attempts", "0"),
            ("retry", "sometimes"),
            ("retry_factor", "0.5"),
            ("retry_base", "2"),
            ("soft_time_limit", "0s"),
            ("cpu_time_limit", "0s"),
            ("memory_limit", "64 elephants"),
        ] {
            assert!(!takes(key, value), "{key} = {value}");
        }
    }
}
