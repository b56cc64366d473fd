//! One column: its values tallied as they come by, and what they amount to.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

/// What one column holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Column {
    name: String,
    r#type: Type,
    /// Values that are there.
    count: u64,
    /// Values that are empty.
    missing: u64,
    /// Different values.
    distinct: usize,
    /// The least number, or the first text in order.
    min: Value,
    /// The greatest number, or the last text in order.
    max: Value,
    /// The mean of numbers.
    mean: Option<f64>,
}

/// The narrowest type that all values of a column have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// No value at all.
    Empty,
    /// `true` and `false`.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Anything.
    Text,
}

/// The values of a column so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    values: BTreeSet<String>,
    missing: u64,
    booleans: u64,
    integers: Range<i64>,
    numbers: Range<f64>,
    count: u64,
    sum: f64,
}

/// How many numbers there were, and the least and the greatest of them.
#[derive(Debug, Clone, Default)]
struct Range<N> {
    count: u64,
    ends: Option<(N, N)>,
}

impl<N: Copy + PartialOrd> Range<N> {
    fn add(&mut self, number: N) {
        let (min, max) = self.ends.unwrap_or((number, number));
        let ends = (
            if number < min { number } else { min },
            if number > max { number } else { max },
        );
        self.count += 1;
        self.ends = Some(ends);
    }
}

impl Tally {
    /// Takes one value into account.
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            self.missing += 1;
            return;
        }
        self.count += 1;
        self.booleans += u64::from(
            ["true", "false"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word)),
        );
        if let Ok(integer) = value.parse() {
            self.integers.add(integer);
        }
        if let Some(number) = value
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
        {
            self.numbers.add(number);
            self.sum += number;
        }
        if !self.values.contains(value) {
            self.values.insert(value.to_owned());
        }
    }

    fn r#type(&self) -> Type {
        match self.count {
            0 => Type::Empty,
            all if self.booleans == all => Type::Boolean,
            all if self.integers.count == all => Type::Integer,
            all if self.numbers.count == all => Type::Number,
            _ => Type::Text,
        }
    }

    /// What the values amount to.
    pub fn column(self, name: &str) -> Column {
        let r#type = self.r#type();
        let is_numeric = matches!(r#type, Type::Integer | Type::Number);
        let (min, max) = match r#type {
            Type::Integer => ends(self.integers.ends),
            Type::Number => ends(self.numbers.ends),
            Type::Empty | Type::Boolean | Type::Text => {
                (json!(self.values.first()), json!(self.values.last()))
            }
        };
        Column {
            name: name.trim().to_owned(),
            r#type,
            count: self.count,
            missing: self.missing,
            distinct: self.values.len(),
            min,
            max,
            mean: is_numeric.then(|| self.sum / self.count as f64),
        }
    }
}

fn ends<N: Serialize>(ends: Option<(N, N)>) -> (Value, Value) {
    ends.map_or((Value::Null, Value::Null), |(min, max)| {
        (json!(min), json!(max))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(values: &[&str]) -> Type {
        let mut tally = Tally::default();
        values.iter().for_each(|value| tally.add(value));
        tally.r#type()
    }

    #[test]
    fn a_column_has_the_narrowest_type_of_all_its_values() {
        assert_eq!(type_of(&["", " "]), Type::Empty);
        assert_eq!(type_of(&["true", "FALSE", ""]), Type::Boolean);
        assert_eq!(type_of(&["1", "-20"]), Type::Integer);
        assert_eq!(type_of(&["1", "2.5e3"]), Type::Number);
        assert_eq!(type_of(&["1", "NaN"]), Type::Text);
    }

    #[test]
    fn large_integers_keep_every_digit() {
        let mut tally = Tally::default();
        ["9007199254740993", "3"]
            .iter()
            .for_each(|value| tally.add(value));
        assert_eq!(tally.column("n").max, json!(9_007_199_254_740_993_i64));
    }
}
