//! What a guest is built from, in one word: it changes when anything of it does.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::root;

/// What else a guest is made by: the encoder with the crates that it is built from, and the compilers' versions.
const VERSIONS: [&str; 6] = [
    "Cargo.lock",
    "xtask/componentize/Cargo.toml",
    "tasks-examples/c/requirements.txt",
    "tasks-examples/python/requirements.txt",
    "tasks-examples/report-go/requirements.txt",
    "tasks-examples/javascript/package-lock.json",
];

/// The key of an example: its own files, the contract, and how and by what it is built.
pub fn key(folder: &Path) -> Result<String> {
    let root = root();
    let mut hasher = DefaultHasher::new();
    let folders = ["wit", "xtask/src/languages", "xtask/componentize/src"];
    hash_files(folder, &mut hasher)?;
    for folder in folders {
        hash_files(&root.join(folder), &mut hasher)?;
    }
    for file in VERSIONS {
        hash_file(&root.join(file), &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Every file of a folder and of those within it, but documents.
fn hash_files(folder: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let reading = || format!("reading {}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(reading)? {
        paths.push(entry.with_context(reading)?.path());
    }
    paths.sort();
    for path in paths {
        let is_document = path.extension().is_some_and(|ending| ending == "md");
        if path.is_dir() {
            hash_files(&path, hasher)?;
        } else if !is_document {
            hash_file(&path, hasher)?;
        }
    }
    Ok(())
}

fn hash_file(file: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    file.file_name().hash(hasher);
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    content.hash(hasher);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_have_keys_that_stay() {
        let of = |name: &str| key(&root().join("tasks-examples").join(name)).expect("readable");
        assert_eq!(of("c"), of("c"));
        assert_ne!(of("c"), of("python"));
    }

    #[test]
    fn a_change_in_a_folder_within_is_a_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("it can be made");
        let with = |text: &str| {
            fs::write(inner.join("file.c"), text).expect("it can be written");
            key(folder.path()).expect("readable")
        };
        assert_ne!(with("one"), with("other"));
    }
}
