//! What a guest is built from, in one word: it changes when anything of it does.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::root;

/// The key of an example: its own files, the contract, and how it is built.
pub fn key(folder: &Path) -> Result<String> {
    let root = root();
    let recipes = root.join("xtask").join("src").join("languages");
    let encoder = root.join("xtask").join("componentize").join("src");
    let mut hasher = DefaultHasher::new();
    for folder in [folder, &root.join("wit"), &recipes, &encoder] {
        hash_files(folder, &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_files(folder: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let reading = || format!("reading {}", folder.display());
    let entries = fs::read_dir(folder).with_context(reading)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(reading)?.path();
        let is_document = path.extension().is_some_and(|ending| ending == "md");
        if path.is_file() && !is_document {
            files.push(path);
        }
    }
    files.sort();
    for file in files {
        file.file_name().hash(hasher);
        fs::read(&file).with_context(reading)?.hash(hasher);
    }
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
}
