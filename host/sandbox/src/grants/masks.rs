//! Hides the values of secrets in what an attempt leaves for people: log lines, failures, notes (M4).
//!
//! It catches what slips out, not what is meant to get out: a guest that has a secret can write it in another form.

use std::borrow::Cow;
use std::sync::Arc;

use stem_core::outcome::{Failure, FailureKind, Outcome};
use stem_core::secrets::Secret;

use crate::log::{CUT, escape};

/// What stands in the place of a secret.
const MASK: &str = "***";
/// Shorter values occur in ordinary words.
const SHORTEST: usize = 4;

/// The values of one attempt's secrets, as its log would write them; the longest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Masks(Arc<[Secret]>);

impl Masks {
    /// Hides these: each whole, and each of its lines, since logs are kept by the line.
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Self {
        let mut hidden: Vec<String> = Vec::new();
        for secret in secrets {
            let whole = secret.reveal();
            let pieces = std::iter::once(whole).chain(whole.lines()).map(str::trim);
            let long = pieces.filter(|piece| piece.len() >= SHORTEST);
            hidden.extend(long.map(escape));
        }
        hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        hidden.dedup();
        Self(hidden.into_iter().map(Secret::new).collect())
    }

    /// The text, as it was escaped and cut, without them. Where it was cut within one, what is left of it goes too.
    pub(crate) fn hide(&self, text: &mut String) {
        if self.0.is_empty() {
            return;
        }
        let (body, end) = match text.strip_suffix(CUT) {
            Some(body) => (body, CUT),
            None => (text.as_str(), ""),
        };
        let mut hidden = Cow::Borrowed(body);
        for secret in self.0.iter().map(Secret::reveal) {
            if hidden.contains(secret) {
                hidden = hidden.replace(secret, MASK).into();
            }
        }
        if !end.is_empty() {
            let begun = self.0.iter().map(|secret| begun(&hidden, secret.reveal()));
            let kept = hidden.len() - begun.max().unwrap_or_default();
            hidden = format!("{}{MASK}", &hidden[..kept]).into();
        }
        *text = format!("{hidden}{end}");
    }

    /// The same for a failure's texts.
    pub(crate) fn hide_in(&self, outcome: &mut Outcome) {
        if let Outcome::Failed(failure) = outcome
            && !self.0.is_empty()
        {
            self.hide_in_failure(failure);
        }
    }

    fn hide_in_failure(&self, failure: &mut Failure) {
        self.hide(&mut failure.message);
        match &mut failure.kind {
            FailureKind::Returned { code, details } => {
                self.hide(code);
                self.hide_in_pairs(details);
            }
            FailureKind::Trapped { trap, backtrace } => {
                self.hide(trap);
                backtrace.iter_mut().for_each(|frame| self.hide(frame));
            }
            FailureKind::Limit { .. }
            | FailureKind::InvalidPayload
            | FailureKind::InvalidOutput
            | FailureKind::UnknownTask
            | FailureKind::ModuleUnavailable
            | FailureKind::NotPermitted
            | FailureKind::BadSignature
            | FailureKind::Undecryptable
            | FailureKind::Undecodable
            | FailureKind::Poison => {}
        }
    }

    /// The same for names and their values.
    pub(crate) fn hide_in_pairs(&self, pairs: &mut [(String, String)]) {
        for (name, value) in pairs {
            self.hide(name);
            self.hide(value);
        }
    }
}

/// How many bytes at the end of a text are the beginning of a secret.
fn begun(text: &str, secret: &str) -> usize {
    let starts = secret.char_indices().map(|(at, _)| at);
    let ends_so = |at: &usize| text.ends_with(&secret[..*at]);
    starts.rev().find(ends_so).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hidden(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|one| Secret::new(*one)).collect();
        let mut text = escape(text);
        Masks::of(secrets.iter()).hide(&mut text);
        text
    }

    /// M4
    #[test]
    fn a_secret_is_hidden_wherever_it_stands_and_the_longer_one_first() {
        let secrets = ["hunter2", "hunter2-and-more"];
        let said = hidden(&secrets, "a hunter2, hunter2-and-more; hunter");
        assert_eq!(said, "a ***, ***; hunter");
        assert_eq!(hidden(&[], "hunter2"), "hunter2");
    }

    /// M4
    #[test]
    fn a_secret_of_several_lines_is_hidden_line_by_line_and_an_escaped_one_as_it_is_written() {
        let key = "-----BEGIN KEY-----\nc2VjcmV0\n-----END KEY-----";
        assert_eq!(hidden(&[key], "c2VjcmV0"), "***");
        assert_eq!(hidden(&[key], key), "***");
        assert_eq!(hidden(&["a\u{1b}bcd"], "x a\u{1b}bcd"), "x ***");
    }

    /// M4
    #[test]
    fn what_is_left_of_a_secret_at_a_cut_is_hidden_too() {
        assert_eq!(
            hidden(&["hunter2"], &format!("x hun{CUT}")),
            format!("x ***{CUT}")
        );
        assert_eq!(hidden(&["hunter2"], "x hun"), "x hun");
    }

    #[test]
    fn what_is_too_short_to_be_told_from_words_stays() {
        assert_eq!(hidden(&["a", "is", "\n"], "a is"), "a is");
    }

    proptest! {
        /// M4: wherever a secret stands, and whatever stands round it, nobody reads it; nor does anything that holds
        /// it print it.
        #[test]
        fn no_text_and_no_debug_form_shows_a_secret(
            before in ".{0,40}", secret in "[A-Za-z0-9+/=-]{8,60}", after in ".{0,40}"
        ) {
            let masks = Masks::of([Secret::new(secret.clone())].iter());
            let mut text = escape(&format!("{before}{secret}{after}"));
            masks.hide(&mut text);
            prop_assert!(!text.contains(&secret));
            let shown = format!("{masks:?}");
            prop_assert!(!shown.contains(&secret));
        }
    }
}
