//! What the attribute says: its keys and values, each checked where it stands.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, Lit, LitBool, LitStr, Token};

use crate::settings::{self, Form, SETTINGS};

const OWN_KEYS: [&str; 3] = ["name", "description", "schema"];

/// The attribute, read.
#[derive(Default)]
pub struct Options {
    pub name: Option<LitStr>,
    pub description: Option<LitStr>,
    pub has_no_schema: bool,
    /// Keys and values of the task's policy.
    pub defaults: Vec<(String, String)>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        let mut seen: Vec<String> = Vec::new();
        while !input.is_empty() {
            let key = Ident::parse_any(input)?;
            if seen.iter().any(|other| key == other) {
                return Err(Error::new(key.span(), format!("`{key}` is set twice")));
            }
            seen.push(key.to_string());
            options.read_value(&key, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn read_value(&mut self, key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        let setting = SETTINGS.iter().find(|setting| key == setting.key);
        if setting.is_none() && !OWN_KEYS.iter().any(|own| key == own) {
            return Err(unknown(key));
        }
        input.parse::<Token![=]>()?;
        match setting {
            Some(setting) => {
                let value: Lit = input.parse()?;
                let text =
                    text_of(&value, setting.form).ok_or_else(|| mistyped(&value, setting.form))?;
                (setting.check)(&text).map_err(|wanted| misfit(value.span(), key, wanted))?;
                self.defaults.push((setting.key.replace('_', "-"), text));
            }
            None if key == "schema" => self.has_no_schema = !input.parse::<LitBool>()?.value,
            None if key == "description" => self.description = Some(input.parse()?),
            None => {
                let name: LitStr = input.parse()?;
                settings::name(&name.value()).map_err(|wanted| misfit(name.span(), key, wanted))?;
                self.name = Some(name);
            }
        }
        Ok(())
    }
}

fn text_of(value: &Lit, form: Form) -> Option<String> {
    match (value, form) {
        (Lit::Str(text), Form::Text | Form::TextOrNumber) => Some(text.value()),
        (Lit::Int(number), Form::Number | Form::TextOrNumber) => {
            Some(number.base10_digits().to_owned())
        }
        (Lit::Float(number), Form::Number) => Some(number.base10_digits().to_owned()),
        (Lit::Bool(value), Form::Bool) => Some(value.value.to_string()),
        _ => None,
    }
}

fn mistyped(value: &Lit, form: Form) -> Error {
    let wanted = match form {
        Form::Text => "a string, in quotes",
        Form::Number => "a number",
        Form::TextOrNumber => "a string or a number",
        Form::Bool => "`true` or `false`",
    };
    Error::new(value.span(), format!("expected {wanted}"))
}

fn misfit(span: Span, key: &Ident, wanted: &str) -> Error {
    Error::new(span, format!("`{key}` takes {wanted}"))
}

fn unknown(key: &Ident) -> Error {
    let known = || {
        OWN_KEYS
            .into_iter()
            .chain(SETTINGS.iter().map(|setting| setting.key))
    };
    let given = key.to_string();
    let message = match known().min_by_key(|other| distance(&given, other)) {
        Some(near) if distance(&given, near) <= given.len().max(4) / 2 => {
            format!("unknown key `{given}`; did you mean `{near}`?")
        }
        _ => format!(
            "unknown key `{given}`; there are: {}",
            known().collect::<Vec<_>>().join(", ")
        ),
    };
    Error::new(key.span(), message)
}

/// Levenshtein's distance: insertions, deletions and replacements from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(attribute: &str) -> String {
        syn::parse_str::<Options>(attribute)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn settings_become_the_words_of_the_policy() {
        let options: Options = syn::parse_str(
            r#"name = "a/b", max_attempts = 5, retry_jitter = false, memory_limit = "64MiB","#,
        )
        .expect("a good attribute");
        assert_eq!(
            options.name.map(|name| name.value()).as_deref(),
            Some("a/b")
        );
        let defaults = options
            .defaults
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>();
        assert_eq!(
            defaults,
            ["max-attempts=5", "retry-jitter=false", "memory-limit=64MiB"]
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        assert_eq!(
            refusal("max_atempts = 5"),
            "unknown key `max_atempts`; did you mean `max_attempts`?"
        );
        assert_eq!(
            refusal("timeout = 5").split(';').next(),
            Some("unknown key `timeout`")
        );
        assert!(refusal("xyzzy_plugh_abc = 5").contains("there are: name, description"));
    }

    #[test]
    fn a_bad_value_is_refused_with_what_is_taken() {
        assert_eq!(
            refusal("priority = 10"),
            "`priority` takes a whole number from 0 to 9"
        );
        assert_eq!(
            refusal("soft_time_limit = 20"),
            "expected a string, in quotes"
        );
        assert_eq!(
            refusal("queue = \"a\", queue = \"b\""),
            "`queue` is set twice"
        );
    }
}
