//! Packages of the system: what is missing is installed by the machine's own package manager, after asking.

use std::io::{self, IsTerminal, Write};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clap::builder::FalseyValueParser;
use rustix::process::geteuid;

use crate::command::{capture, program};

/// Whether anything may be installed.
#[derive(Args, Clone, Copy)]
pub struct Consent {
    /// Install missing packages of the system without asking
    #[arg(long, env = "CI", hide_env_values = true, value_parser = FalseyValueParser::new())]
    yes: bool,
}

/// Something that a package of the system brings.
pub struct Package {
    /// What it is called where people look for it.
    pub name: &'static str,
    /// What Debian calls it.
    pub debian: &'static str,
    /// What Homebrew calls it.
    pub homebrew: &'static str,
    /// What to do on other machines.
    pub elsewhere: &'static str,
}

/// Who installs packages on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installer {
    Apt { is_root: bool },
    Homebrew,
}

/// Installs packages, but starts none of their services, and sees to it that the next start of the machine does not
/// either.
const INSTALL_ON_DEBIAN: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends "$1"
if command -v systemctl >/dev/null; then
    systemctl disable "$1" 2>/dev/null || true
fi
"#;

/// Installs a package that is missing, where that is allowed.
pub fn install(package: &Package, consent: Consent) -> Result<()> {
    let name = package.name;
    let Some(installer) = Installer::find() else {
        bail!(
            "installing {name}: this machine has neither apt-get nor brew: {}",
            package.elsewhere
        );
    };
    let line = installer.line(package);
    ensure!(
        consent.is_given(&format!("{name} is missing. Run `{line}`?"))?,
        "{name} is missing: `{line}` brings it, and --yes does that"
    );
    println!("installing {name}");
    match capture(installer.command(package)) {
        Ok(printed) if printed.is_success => Ok(()),
        Ok(printed) => bail!(
            "installing {name}: `{line}` failed:\n{}",
            printed.text.trim()
        ),
        Err(_) => {
            let line = line.trim_start_matches("sudo ");
            bail!("installing {name}: this machine has no sudo: run `{line}` as root")
        }
    }
}

/// Whether a program can be started.
pub fn has(name: &str) -> bool {
    capture(program(name, &["--version"])).is_ok()
}

impl Consent {
    fn is_given(self, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(false);
        }
        eprint!("{question} [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .context("reading the answer")?;
        Ok(is_yes(&answer))
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

impl Installer {
    fn find() -> Option<Self> {
        if has("apt-get") {
            let is_root = geteuid().is_root();
            return Some(Self::Apt { is_root });
        }
        has("brew").then_some(Self::Homebrew)
    }

    /// What a person would type.
    fn line(self, package: &Package) -> String {
        match self {
            Self::Apt { is_root: true } => format!("apt-get install {}", package.debian),
            Self::Apt { is_root: false } => format!("sudo apt-get install {}", package.debian),
            Self::Homebrew => format!("brew install {}", package.homebrew),
        }
    }

    fn command(self, package: &Package) -> Command {
        let script = ["sh", "-c", INSTALL_ON_DEBIAN, "sh", package.debian];
        match self {
            Self::Apt { is_root: true } => program(script[0], &script[1..]),
            Self::Apt { is_root: false } => program("sudo", &script),
            Self::Homebrew => program("brew", &["install", "--quiet", package.homebrew]),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::command::shown;

    const REDIS: Package = Package {
        name: "redis-server",
        debian: "redis-server",
        homebrew: "redis",
        elsewhere: "install it",
    };

    #[test]
    fn what_is_shown_is_what_each_installer_understands() {
        for (installer, line) in [
            (
                Installer::Apt { is_root: true },
                "apt-get install redis-server",
            ),
            (
                Installer::Apt { is_root: false },
                "sudo apt-get install redis-server",
            ),
            (Installer::Homebrew, "brew install redis"),
        ] {
            assert_eq!(installer.line(&REDIS), line);
        }
    }

    #[test]
    fn only_root_needs_no_sudo_and_homebrew_wants_none() {
        let first = |installer: Installer| {
            let command = shown(&installer.command(&REDIS));
            command.split(' ').next().map(str::to_owned)
        };
        for (installer, expected) in [
            (Installer::Apt { is_root: true }, "sh"),
            (Installer::Apt { is_root: false }, "sudo"),
            (Installer::Homebrew, "brew"),
        ] {
            assert_eq!(first(installer).as_deref(), Some(expected));
        }
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yesterday", false),
        ] {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn nothing_is_asked_where_yes_is_said() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            consent: Consent,
        }
        let command = Command::parse_from(["xtask", "--yes"]);
        assert!(command.consent.is_given("?").expect("nothing is read"));
    }
}
