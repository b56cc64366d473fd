//! README does what it shows: its `console` blocks are typed into a shell, one after another, in an empty folder.
//!
//! Blocks marked `text` are not run: the commands of the first two build everything once more (`cargo xtask demo` and
//! `test` have this test inside them), those for many machines need a server that the reader names (`redis.rs` types
//! the same on one of its own), and the last is a picture.

use std::process::{Command, Stdio};

use stem_tests::host::TestHost;
use stem_tests::worker::Worker;
use stem_tests::workspace;

/// A command of README, and what it shows below it.
#[derive(Debug)]
struct Shown {
    command: String,
    output: Vec<String>,
    /// Whether the text above says that it keeps running in another terminal.
    is_background: bool,
}

fn shown_in(readme: &str) -> Vec<Shown> {
    let mut blocks = readme.split("```");
    let mut shown = Vec::new();
    let mut above = blocks.next().unwrap_or_default();
    while let (Some(block), Some(below)) = (blocks.next(), blocks.next()) {
        let is_background = above
            .trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.contains("another terminal"));
        if let Some(console) = block.strip_prefix("console\n") {
            shown.extend(commands(console, is_background));
        }
        above = below;
    }
    shown
}

fn commands(console: &str, is_background: bool) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for line in console.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push(Shown {
                command: command.to_owned(),
                output: Vec::new(),
                is_background,
            }),
            (None, Some(last)) => last.output.push(line.to_owned()),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    found
}

/// A shell in the test's folder, with the built command first on its path and the built guests where README has them.
fn shell(host: &TestHost, command: &str) -> Command {
    let built = host.command(&[]);
    let folder = std::path::Path::new(built.get_program())
        .parent()
        .expect("a folder");
    let path = format!("{}:{}", folder.display(), env!("PATH"));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", command])
        .current_dir(host.path(""))
        .env_clear();
    shell.envs(
        built
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    shell.env("PATH", path).stdin(Stdio::null());
    shell
}

fn assert_shows(host: &TestHost, shown: &Shown) {
    let output = shell(host, &shown.command).output().expect("a shell");
    assert!(output.status.success(), "{shown:?}: {output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), shown.output.len(), "{shown:?}: {said:?}");
    for (said, shown) in said.iter().zip(&shown.output) {
        assert!(
            fits(said, shown),
            "said {said:?} where README shows {shown:?}"
        );
    }
}

/// `…` stands for anything.
fn fits(said: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        let Some(found) = rest.find(part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
        is_open = part.is_empty();
    }
    rest.is_empty() || is_open
}

/// The default store is in the user's data directory: here, in the test's folder.
#[test]
fn the_commands_of_readme_do_what_it_shows() {
    let host = TestHost::new().with("STEM_BROKER_URL", "");
    let target = workspace::root().join("target");
    std::os::unix::fs::symlink(target, host.path("target")).expect("a link to the guests");
    let shown = shown_in(&workspace::read("README.md"));
    assert!(shown.len() >= 3, "{shown:?}");
    let mut background = Vec::new();
    for shown in &shown {
        let in_its_place = format!("exec {}", shown.command);
        match shown.is_background {
            true => background.push(Worker::start(shell(&host, &in_its_place))),
            false => assert_shows(&host, shown),
        }
    }
    assert!(!background.is_empty(), "README starts no worker");
}

#[test]
fn every_block_of_readme_says_whether_it_runs() {
    let readme = workspace::read("README.md");
    let openings = readme
        .lines()
        .filter(|line| line.starts_with("```"))
        .step_by(2);
    let unknown: Vec<&str> = openings
        .filter(|line| !["```console", "```text", "```rust", "```toml"].contains(line))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(fits(
        "deployed word-count@1 (0123)",
        "deployed word-count@1 (…)"
    ));
    assert!(fits("deployed word-count@1 (0123)", "deployed …"));
    assert!(!fits(
        "deployed word-count@2 (0123)",
        "deployed word-count@1 (…)"
    ));
    assert!(!fits("a and more", "a"));
}
