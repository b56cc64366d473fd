//! Counts words: text in, a count for each word out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use stem_guest::{Context, Interruption};

/// What is counted.
#[derive(Debug, Deserialize, JsonSchema)]
struct Input {
    /// The text whose words are counted.
    text: String,
}

/// Counts how often each word occurs; words are runs of letters and digits, in lower case.
#[stem_guest::task(max_attempts = 3, hard_time_limit = "10s")]
fn word_count(ctx: &Context, input: Input) -> Result<BTreeMap<String, u64>, Interruption> {
    let mut counts = BTreeMap::new();
    let words = input
        .text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    for word in words {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    ctx.progress(1.0, format!("{} different words", counts.len()));
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use stem_guest::testing;
    use stem_guest::{Context, Payload};

    use super::*;

    fn counted(text: &str) -> Vec<(String, u64)> {
        let input = Input {
            text: text.to_owned(),
        };
        word_count(&Context::for_test(), input)
            .expect("counted")
            .into_iter()
            .collect()
    }

    #[test]
    fn words_are_counted_whatever_their_case() {
        assert_eq!(
            counted("a b A, ünter-Ünter!"),
            [("a".into(), 2), ("b".into(), 1), ("ünter".into(), 2)]
        );
    }

    #[test]
    fn a_text_without_words_has_no_counts() {
        assert_eq!(counted(" -- !"), []);
    }

    #[test]
    fn json_goes_in_and_comes_out() {
        let result = testing::run(
            "word-count",
            Payload::new(stem_guest::JSON, r#"{"text":"a b a"}"#),
        );
        assert_eq!(
            result,
            Ok(Payload::new(stem_guest::JSON, r#"{"a":2,"b":1}"#))
        );
    }

    #[test]
    fn a_payload_without_text_is_rejected() {
        let refused =
            testing::run("word-count", Payload::new(stem_guest::JSON, "{}")).expect_err("no text");
        assert_eq!(
            refused.to_string(),
            "rejected: invalid-payload: the payload does not fit: missing field `text` at line 1 column 2"
        );
    }
}
