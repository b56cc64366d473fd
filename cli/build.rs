//! Lists the files that `stem-host new` writes: the template, and the SDK that a project carries with it.
//!
//! A list made here, and not by hand, so that a file added to either can never be forgotten.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What a copy of the SDK needs to build.
const SDK: [&str; 6] = [
    "Cargo.toml",
    "README.md",
    "src",
    "wit",
    "macros/Cargo.toml",
    "macros/src",
];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where things are by its environment"
)]
fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let output = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let sdk = here.join("../guest-sdk/rust").canonicalize()?;
    let parts: Vec<PathBuf> = SDK.iter().map(|part| sdk.join(part)).collect();
    let template = here.join("templates/new");
    let mut source = list("TEMPLATE", &template, std::slice::from_ref(&template))?;
    source.push_str(&list("SDK", &sdk, &parts)?);
    fs::write(output.join("project_files.rs"), source)
}

/// The source of a constant: the path of each file below `base`, and its text.
fn list(name: &str, base: &Path, parts: &[PathBuf]) -> io::Result<String> {
    let mut files = Vec::new();
    for part in parts {
        println!("cargo::rerun-if-changed={}", part.display());
        collect(part, &mut files)?;
    }
    files.sort();
    let mut source = format!("const {name}: &[(&str, &str)] = &[\n");
    for file in files {
        let below = file.strip_prefix(base).unwrap_or(&file);
        let written = writeln!(source, "    ({below:?}, include_str!({file:?})),");
        written.map_err(io::Error::other)?;
    }
    source.push_str("];\n");
    Ok(source)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
