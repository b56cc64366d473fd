//! Where a payload comes from, and what its bytes are taken for.

use std::io::Read;
use std::path::Path;

use anyhow::Result;
use stem_core::client::EnqueueError;
use stem_core::envelope::EnvelopeError;
use stem_core::payload::{JSON, MSGPACK, Payload, is_json};
use stem_core::units::ByteSize;

use crate::arguments;
use crate::errors::Failure;

const OCTETS: &str = "application/octet-stream";
const ENDINGS: [(&str, &str); 18] = [
    ("json", JSON),
    ("msgpack", MSGPACK),
    ("md", "text/markdown"),
    ("markdown", "text/markdown"),
    ("csv", "text/csv"),
    ("tsv", "text/tab-separated-values"),
    ("txt", "text/plain"),
    ("html", "text/html"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("pdf", "application/pdf"),
];

/// The payload, as `enqueue` and `run` take it
#[derive(Debug, clap::Args)]
pub struct Given {
    /// What it is given: JSON, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The payload's media type [default: by the file's ending, or application/json]
    #[arg(long, value_name = "TYPE", value_parser = arguments::media_type)]
    pub content_type: Option<String>,
}

impl Given {
    /// Reads the payload.
    pub fn read(&self, limit: ByteSize) -> Result<Payload> {
        read(self.payload.as_deref(), self.content_type.as_deref(), limit)
    }
}

/// Reads `--payload`: JSON, `@FILE`, or `-` for standard input; `null` where nothing is given.
fn read(given: Option<&str>, content_type: Option<&str>, limit: ByteSize) -> Result<Payload> {
    let (body, guess) = match given {
        None => (b"null".to_vec(), None),
        Some("-") => {
            let body = read_all(std::io::stdin().lock(), "standard input", limit)?;
            (body, None)
        }
        Some(text) => match text.strip_prefix('@') {
            Some(path) => read_file(Path::new(path), limit)?,
            None => (text.as_bytes().to_vec(), None),
        },
    };
    let content_type = content_type.or(guess).unwrap_or(JSON);
    Ok(Payload::new(content_type, body))
}

/// Refuses a payload that says it is JSON and is none, with the place where it goes wrong.
pub fn check(payload: &Payload, attempted: &str) -> Result<()> {
    if !is_json(&payload.content_type) {
        return Ok(());
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&payload.body)
        .map(|_| ())
        .map_err(|error| {
            Failure::usage(attempted, format!("the payload is no valid JSON: {error}"))
                .hint("JSON text needs quotes of its own: '\"text\"'; say what else it is with --content-type")
                .into()
        })
}

fn read_file(path: &Path, limit: ByteSize) -> Result<(Vec<u8>, Option<&'static str>)> {
    let name = format!("`{}`", path.display());
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::usage(format!("read the payload from {name}"), error))?;
    let body = read_all(file, &name, limit)?;
    let ending = path.extension().and_then(|ending| ending.to_str());
    let guess = ending.and_then(of_ending).unwrap_or_else(|| {
        match serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
            Ok(_) => JSON,
            Err(_) => OCTETS,
        }
    });
    Ok((body, Some(guess)))
}

fn of_ending(ending: &str) -> Option<&'static str> {
    let ending = ending.to_lowercase();
    ENDINGS
        .into_iter()
        .find(|(known, _)| *known == ending)
        .map(|(_, content_type)| content_type)
}

fn read_all(mut source: impl Read, name: &str, limit: ByteSize) -> Result<Vec<u8>> {
    let attempted = || format!("read the payload from {name}");
    let mut body = Vec::new();
    let mut begin = source.by_ref().take(limit.0.saturating_add(1));
    begin
        .read_to_end(&mut body)
        .map_err(|error| Failure::usage(attempted(), error))?;
    let kept = body.len() as u64;
    if kept <= limit.0 {
        return Ok(body);
    }
    // What is over the limit is counted, and not kept.
    let rest = std::io::copy(&mut source, &mut std::io::sink())
        .map_err(|error| Failure::usage(attempted(), error))?;
    Err(too_large(kept + rest, limit).context(attempted()))
}

/// A payload of so many bytes is over the limit (E3).
pub fn too_large(bytes: u64, limit: ByteSize) -> anyhow::Error {
    let actual = ByteSize(bytes);
    EnqueueError::Envelope(EnvelopeError::PayloadTooLarge { actual, limit }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ByteSize = ByteSize(16);

    #[test]
    fn a_literal_is_json_unless_something_else_is_said() {
        assert_eq!(
            read(Some("[1]"), None, LIMIT).expect("read").content_type,
            JSON
        );
        let text = read(Some("hello"), Some("text/plain"), LIMIT).expect("read");
        assert_eq!(text, Payload::new("text/plain", "hello"));
        assert_eq!(
            read(None, None, LIMIT).expect("read"),
            Payload::new(JSON, "null")
        );
    }

    #[test]
    fn a_file_is_what_its_ending_says() {
        assert_eq!(of_ending("MD"), Some("text/markdown"));
        assert_eq!(of_ending("jpg"), Some("image/jpeg"));
        assert_eq!(of_ending("unheard-of"), None);
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let payload = read(Some("{\"a\":\n ]}"), None, LIMIT).expect("read");
        let error = check(&payload, "enqueue").expect_err("refused").to_string();
        assert!(error.contains("line 2 column 2"), "{error}");
    }

    /// E3
    #[test]
    fn what_is_over_the_limit_is_refused_with_its_whole_size_and_never_cut() {
        let whole = read_all(&[b'x'; 16][..], "a test", LIMIT).expect("read");
        assert_eq!(whole.len(), 16);
        let error = read_all(&[b'x'; 500][..], "a test", LIMIT).expect_err("refused");
        let said = format!("{error:#}");
        let expected =
            "read the payload from a test: the payload has 500 bytes, over the limit of 16 bytes";
        assert_eq!(said, expected);
    }
}
