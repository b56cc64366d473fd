//! A checkpoint without a store: in a file from one run to the next, or only as long as its attempt.
//!
//! The file is JSON with the media type beside the body, so that a checkpoint of any type comes back as it was saved.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use stem_core::payload::Payload;

use crate::errors::Failure;

/// What was saved last, and where it goes on being saved.
#[derive(Debug, Default)]
pub struct Checkpoint {
    saved: Option<Payload>,
    file: Option<PathBuf>,
}

/// A checkpoint as its file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    content_type: String,
    #[serde(flatten)]
    body: Body,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    Text(String),
    Base64(String),
}

impl Checkpoint {
    /// What an earlier attempt saved; what this one saves is forgotten with it.
    pub fn read_only(saved: Option<Payload>) -> Self {
        Self { saved, file: None }
    }

    /// What a file has, and will have; there may be no file yet.
    pub fn in_file(file: PathBuf) -> Result<Self> {
        let saved = read(&file)?;
        Ok(Self {
            saved,
            file: Some(file),
        })
    }

    pub(super) fn load(&self) -> Option<Payload> {
        self.saved.clone()
    }

    pub(super) fn save(&mut self, checkpoint: Payload) -> std::io::Result<()> {
        if let Some(file) = &self.file {
            write(file, &checkpoint)?;
        }
        self.saved = Some(checkpoint);
        Ok(())
    }
}

fn read(file: &Path) -> Result<Option<Payload>> {
    let attempted = || format!("read the checkpoint `{}`", file.display());
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::usage(attempted(), error).into()),
    };
    let unread = |problem: String| {
        Failure::usage(attempted(), problem)
            .hint("an earlier `run --checkpoint` writes it; remove it to begin anew")
    };
    let written: Written =
        serde_json::from_slice(&text).map_err(|error| unread(error.to_string()))?;
    let body = match written.body {
        Body::Text(text) => text.into_bytes(),
        Body::Base64(text) => BASE64
            .decode(text.as_bytes())
            .map_err(|error| unread(error.to_string()))?,
    };
    Ok(Some(Payload::new(&written.content_type, body)))
}

/// Replaces the file in one step: a run that is killed leaves the old checkpoint or the new one.
fn write(file: &Path, checkpoint: &Payload) -> std::io::Result<()> {
    let body = match std::str::from_utf8(&checkpoint.body) {
        Ok(text) => Body::Text(text.to_owned()),
        Err(_) => Body::Base64(BASE64.encode(&checkpoint.body)),
    };
    let written = Written {
        content_type: checkpoint.content_type.clone(),
        body,
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut new, &written)?;
    new.write_all(b"\n")?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_any_type_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("checkpoint.json");
        for body in [&b"{\"done\": 3}"[..], &[0x89, 0xff, 0]] {
            let checkpoint = Payload::new("application/x-own", body.to_vec());
            let mut kept = Checkpoint::in_file(file.clone()).expect("read");
            kept.save(checkpoint.clone()).expect("saved");
            let again = Checkpoint::in_file(file.clone()).expect("read");
            assert_eq!(again.load(), Some(checkpoint));
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "my notes").expect("written");
        let error = Checkpoint::in_file(file.clone()).expect_err("refused");
        assert!(error.to_string().starts_with("read the checkpoint `"));
        assert_eq!(std::fs::read_to_string(file).expect("there"), "my notes");
    }

    #[test]
    fn a_checkpoint_that_is_only_read_is_seen_by_its_own_attempt() {
        let first = Payload::new("text/plain", "first");
        let mut kept = Checkpoint::read_only(Some(first.clone()));
        assert_eq!(kept.load(), Some(first));
        let second = Payload::new("text/plain", "second");
        kept.save(second.clone()).expect("kept in memory");
        assert_eq!(kept.load(), Some(second));
    }
}
