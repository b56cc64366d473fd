//! `new`: a task project that builds, tests and deploys as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use crate::errors::Failure;
use crate::output::Output;

include!(concat!(env!("OUT_DIR"), "/project_files.rs"));

/// Where a project keeps its copy of the SDK.
const VENDORED: &str = "vendor/stem-guest";

/// Names that a package may not have: words of the language, and the packages that the project uses.
const TAKEN: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "log",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "static",
    "std",
    "stem_guest",
    "stem_guest_macros",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "yield",
];

/// What the project is called
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's name, and its folder's: letters, digits, - and _
    #[arg(value_parser = package_name)]
    name: String,
}

/// Writes a project into a new folder.
pub fn run(args: &Args, output: &Output) -> Result<()> {
    let folder = PathBuf::from(&args.name);
    let attempted = format!("make the project `{}`", args.name);
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        let problem = "something of this name is here already, and it is not empty";
        return Err(Failure::usage(attempted, problem).into());
    }
    let files = files(&args.name);
    for (path, text) in &files {
        write(&folder.join(path), text).map_err(|error| {
            Failure::usage(format!("{attempted}: write `{}`", path.display()), error)
        })?;
    }
    if output.is_json {
        let paths: Vec<&PathBuf> = files.iter().map(|(path, _)| path).collect();
        return output.json(&json!({"project": args.name, "files": paths}));
    }
    output.line(format!("made `{}`; next:", args.name))?;
    let module = format!(
        "target/wasm32-wasip2/release/{}.wasm",
        crate_name(&args.name)
    );
    output.line(format!("  cd {}", args.name))?;
    output.line("  cargo test                                # natively")?;
    output.line(
        "  cargo module                              # once: rustup target add wasm32-wasip2",
    )?;
    output.line(format!("  stem-host deploy {module}"))
}

/// Every file of a project of this name.
fn files(name: &str) -> Vec<(PathBuf, String)> {
    let template = TEMPLATE.iter().map(|(path, text)| {
        // Cargo would take a manifest in the template for one of this workspace.
        let path = path.strip_suffix(".in").unwrap_or(path);
        (PathBuf::from(path), fill_in(text, name))
    });
    let sdk = SDK
        .iter()
        .map(|(path, text)| (Path::new(VENDORED).join(path), (*text).to_owned()));
    template.chain(sdk).collect()
}

fn fill_in(text: &str, name: &str) -> String {
    text.replace("{{name}}", name)
        .replace("{{crate}}", &crate_name(name))
}

fn crate_name(name: &str) -> String {
    name.replace('-', "_")
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

fn package_name(name: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !starts_well || name.len() > 64 || !name.chars().all(is_allowed) {
        return Err("use 1 to 64 letters, digits, - and _, a letter first".to_owned());
    }
    if TAKEN.contains(&crate_name(name).to_lowercase().as_str()) {
        return Err("a package cannot have this name: it means something else".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(path: &str) -> String {
        let files = files("my-tasks");
        let found = files.into_iter().find(|(of, _)| of == Path::new(path));
        found.expect("it is there").1
    }

    const EXPECTED: [&str; 11] = [
        "Cargo.toml",
        "README.md",
        "stem.toml",
        ".gitignore",
        ".cargo/config.toml",
        "src/lib.rs",
        "vendor/stem-guest/Cargo.toml",
        "vendor/stem-guest/src/lib.rs",
        "vendor/stem-guest/wit/task.wit",
        "vendor/stem-guest/macros/Cargo.toml",
        "vendor/stem-guest/macros/src/lib.rs",
    ];

    #[test]
    fn a_project_has_its_source_its_settings_and_the_sdk() {
        let files = files("my-tasks").into_iter();
        let paths: Vec<PathBuf> = files.map(|(path, _)| path).collect();
        for path in EXPECTED {
            let is_there = paths.contains(&PathBuf::from(path));
            assert!(is_there, "{path} is missing in {paths:?}");
        }
        let is_raw = |path: &PathBuf| path.extension() == Some("in".as_ref());
        assert!(!paths.iter().any(is_raw), "{paths:?}");
    }

    #[test]
    fn the_name_stands_wherever_the_template_asks_for_it() {
        assert!(text_of("Cargo.toml").contains("name = \"my-tasks\""));
        assert!(text_of("README.md").contains("my_tasks.wasm"));
        assert!(
            files("my-tasks")
                .iter()
                .all(|(_, text)| !text.contains("{{name}}"))
        );
    }

    #[test]
    fn a_name_that_cargo_would_refuse_is_refused_first() {
        for bad in ["", "1st", "a b", "../up", "fn", "serde", "stem-guest", "ü"] {
            assert!(package_name(bad).is_err(), "{bad}");
        }
        assert!(package_name("word-count_2").is_ok());
    }
}
