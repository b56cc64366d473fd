//! The headers of a request as it goes out, and of an answer as it comes in: what the operator adds, which no guest sees
//! (S6).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use stem_core::origin::Origin;
use stem_core::secrets::{Secret, SecretName};
use stem_core::sent_header::{SentName, Template};
use wasmtime_wasi_http::Error;

use super::most;
use super::target::Target;

const USER_AGENT: &str = concat!("stem/", env!("CARGO_PKG_VERSION"));
/// What a line costs beside its text.
const LINE: usize = 32;

/// What the operator adds for each origin, with one attempt's secrets in it; of two origins that cover a request the
/// one that says more comes later.
#[derive(Debug)]
pub(crate) struct Added(Vec<(Origin, HeaderMap)>);

impl Added {
    /// Puts the secrets in; none where nothing is added. A value that no header can carry is the operator's to mend.
    pub(crate) fn fill(
        templates: &BTreeMap<Origin, BTreeMap<SentName, Template>>,
        secrets: &BTreeMap<SecretName, Secret>,
    ) -> Result<Option<Arc<Self>>, String> {
        let mut added = Vec::with_capacity(templates.len());
        for (origin, templates) in templates {
            let headers = templates
                .iter()
                .map(|(name, template)| fill(name, template, secrets));
            added.push((origin.clone(), headers.collect::<Result<_, String>>()?));
        }
        added.sort_by_key(|(origin, _)| (!origin.is_pattern(), origin.to_string().len()));
        Ok((!added.is_empty()).then(|| Arc::new(Self(added))))
    }

    /// Sets what is for this target, in place of what the guest set.
    fn set(&self, headers: &mut HeaderMap, target: &Target) {
        let covering = self
            .0
            .iter()
            .filter(|(origin, _)| target.is_covered_by(origin));
        for (name, value) in covering.flat_map(|(_, added)| added) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

fn fill(
    name: &SentName,
    template: &Template,
    secrets: &BTreeMap<SecretName, Secret>,
) -> Result<(HeaderName, HeaderValue), String> {
    let filled = template.fill(|name| secrets.get(name).cloned());
    let value = filled.and_then(|filled| HeaderValue::from_bytes(filled.reveal().as_bytes()).ok());
    let named = HeaderName::from_bytes(name.as_str().as_bytes()).ok();
    let (Some(named), Some(mut value)) = (named, value) else {
        return Err(format!(
            "the secret in the header `{}` cannot be sent: its value has a line break or another control character",
            name.as_str()
        ));
    };
    value.set_sensitive(true);
    Ok((named, value))
}

/// Puts in what the operator adds for this target, and says who asks.
pub(super) fn complete(headers: &mut HeaderMap, target: &Target, added: Option<&Added>) {
    headers.remove(header::HOST);
    let agent = HeaderValue::from_static(USER_AGENT);
    headers.entry(header::USER_AGENT).or_insert(agent);
    if let Some(added) = added {
        added.set(headers, target);
    }
}

/// Bytes that a request's headers have on the wire.
pub(super) fn size(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum()
}

/// A copy in memory of its own: what is read from a connection keeps the whole buffer that it was read into.
pub(super) fn copied(headers: &HeaderMap) -> Result<HeaderMap, Error> {
    let cost =
        |(name, value): (&HeaderName, &HeaderValue)| LINE + name.as_str().len() + value.len();
    let size: usize = headers.iter().map(cost).sum();
    if size > most::HEADERS {
        let size = u32::try_from(size).ok();
        return Err(Error::HttpResponseHeaderSectionSize(size));
    }
    let mut copies = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        let copy = HeaderValue::from_bytes(value.as_bytes()).expect("it was a value before");
        copies.append(name.clone(), copy);
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use stem_core::grants::Grants;

    use super::*;

    const GRANTS: &str = r#"{
        "http-headers": {
            "https://*.example.com": {"authorization": "all", "x-all": "${secret:A}"},
            "https://api.example.com": {"Authorization": "Bearer ${secret:B}"}
        }
    }"#;

    fn filled(grants: &str, secrets: &[(&str, &str)]) -> Result<Option<Arc<Added>>, String> {
        let grants: Grants = serde_json::from_str(grants).expect("grants");
        let secret = |(name, value): &(&str, &str)| {
            (SecretName::new(*name).expect("a name"), Secret::new(*value))
        };
        Added::fill(&grants.http_headers, &secrets.iter().map(secret).collect())
    }

    fn sent(uri: &str, set: &[(&'static str, &'static str)]) -> Vec<String> {
        let target = Target::of(&uri.parse().expect("a URI")).expect("a target");
        let set = set.iter();
        let mut headers: HeaderMap = set
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let added = filled(GRANTS, &[("A", "a"), ("B", "b")]).expect("filled");
        complete(&mut headers, &target, added.as_deref());
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// S6: by a guest they can neither be set nor kept away, and they go nowhere else.
    #[test]
    fn an_operators_headers_go_to_their_origin_in_place_of_the_guests() {
        let guests = [
            ("authorization", "mine"),
            ("host", "evil"),
            ("user-agent", "me"),
        ];
        let api = sent("https://api.example.com/", &guests);
        assert_eq!(
            api,
            ["authorization: Bearer b", "user-agent: me", "x-all: a"]
        );
        let elsewhere = sent("https://api.example.com:8443/", &guests);
        assert_eq!(elsewhere, ["authorization: mine", "user-agent: me"]);
    }

    /// S6
    #[test]
    fn headers_for_a_pattern_go_to_what_it_covers() {
        let other = sent("https://www.example.com/", &[]);
        assert!(
            other.contains(&"authorization: all".to_owned()),
            "{other:?}"
        );
    }

    /// S6: neither its text nor that of the value is in what is said.
    #[test]
    fn a_secret_that_no_header_can_carry_is_refused() {
        let refused = filled(GRANTS, &[("A", "two\nlines"), ("B", "b")]).expect_err("a line break");
        assert!(
            refused.contains("`x-all`") && !refused.contains("two"),
            "{refused}"
        );
        assert!(filled("{}", &[]).expect("nothing").is_none());
    }

    /// S6
    #[test]
    fn a_secret_may_have_other_letters_than_ascii() {
        let added = filled(GRANTS, &[("A", "größe"), ("B", "b")]).expect("filled");
        let target = Target::of(&"https://www.example.com/".parse().expect("a URI"));
        let mut headers = HeaderMap::new();
        complete(&mut headers, &target.expect("a target"), added.as_deref());
        assert_eq!(headers["x-all"].as_bytes(), "größe".as_bytes());
    }

    /// S6
    #[test]
    fn what_is_added_shows_itself_to_nobody_who_prints_it() {
        let added = filled(GRANTS, &[("A", "hunter2"), ("B", "hunter2")]).expect("filled");
        let shown = format!("{added:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    /// S6
    #[test]
    fn headers_over_the_limit_are_refused() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&"v".repeat(most::HEADERS - 40));
        headers.insert("x", value.expect("a value"));
        assert_eq!(copied(&headers).expect("small enough"), headers);
        headers.append("x", HeaderValue::from_static("more"));
        assert!(copied(&headers).is_err());
    }
}
