//! Whether the list of promises is complete, and whether each promise reads as one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The longest body that a test may have.
const LONGEST_BODY: usize = 15;

/// The promises by name: what the macro stamps out.
macro_rules! names {
    ($argument:expr, $($suite:ident { $($promise:ident $(: $($ability:ident)+)?,)* })*) => {
        [$($(concat!(stringify!($suite), "::", stringify!($promise))),*),*]
    };
}

/// The source of every suite, by its name.
fn sources() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/suites");
    let files = fs::read_dir(folder).expect("the suites are there");
    let paths = files.map(|file| file.expect("a file").path());
    let suites = paths.filter(|path| path.file_stem().is_some_and(|name| name != "mod"));
    let source = |path: PathBuf| {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(path).expect("source text"))
    };
    suites.map(source).collect()
}

/// The promises of a source text: the line above each, its name, and its body.
fn promises(source: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let lines: Vec<&str> = source.lines().collect();
    let promise = |index: usize| {
        let signature = lines[index].strip_prefix("pub async fn ")?;
        let (name, _) = signature.split_once('(')?;
        let body = lines[index + 1..].iter().take_while(|line| **line != "}");
        Some((lines[index - 1], name, body.copied().collect()))
    };
    (1..lines.len()).filter_map(promise).collect()
}

#[test]
fn no_promise_is_forgotten() {
    let listed = stem_testkit::each_promise!([names], ());
    let mut written = BTreeSet::new();
    for (suite, source) in sources() {
        for (_, name, _) in promises(&source) {
            written.insert(format!("{suite}::{name}"));
        }
    }
    let listed: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(listed, written);
}

#[test]
fn every_promise_carries_its_number() {
    for (suite, source) in sources() {
        for (above, name, _) in promises(&source) {
            let text = above.strip_prefix("/// ").unwrap_or_default();
            let number = text.split([',', ':']).next().unwrap_or_default();
            let (letter, digits) = number.split_at(number.len().min(1));
            let is_number =
                letter.chars().all(|c| c.is_ascii_uppercase()) && digits.parse::<u8>().is_ok();
            assert!(is_number, "{suite}::{name}: `{above}`");
        }
    }
}

#[test]
fn every_promise_is_short() {
    let mut long = Vec::new();
    for (suite, source) in sources() {
        for (_, name, body) in promises(&source) {
            if body.len() > LONGEST_BODY {
                long.push(format!("{suite}::{name} has {} lines", body.len()));
            }
        }
    }
    assert_eq!(long, <[String; 0]>::default());
}
