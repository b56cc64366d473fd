//! Builds the example tasks for the sandbox, and sees to it that the compiler can.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{self, answer, capture, cargo, has_cargo, program, root, target};
use crate::languages;
use crate::packages::Consent;

const TARGET: &str = "wasm32-wasip2";

/// Where a built guest lies.
pub fn built(example: &str) -> PathBuf {
    let file = format!("{}.wasm", example.replace('-', "_"));
    target().join(TARGET).join("guest").join(file)
}

/// The example tasks: every folder of `tasks-examples` that is a package.
pub fn examples() -> Result<Vec<String>> {
    let folder = root().join("tasks-examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).context("listing tasks-examples")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The command that builds every example, with the target that it needs installed.
pub fn build_command() -> Result<std::process::Command> {
    install_target()?;
    let mut command = cargo(&["build", "--profile", "guest", "--target", TARGET]);
    for example in examples()? {
        command.arg("-p").arg(format!("example-{example}"));
    }
    Ok(command)
}

/// What becomes of the built guests.
#[derive(clap::Args)]
pub struct Arguments {
    /// Renew cli/assets/noop.wasm, the guest that `stem-host bench` carries.
    #[arg(long)]
    renew: bool,
    /// Build those in other languages too: JavaScript, Python, C and Go
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Builds the guests and shows them.
///
/// Compilers on different machines give different bytes: so the kept guest is written on purpose only, and no test
/// compares it.
pub fn run(arguments: &Arguments) -> Result<()> {
    command::run(build_command()?)?;
    if arguments.renew {
        let kept = root().join("cli").join("assets").join("noop.wasm");
        fs::copy(built("noop"), &kept).context("renewing cli/assets/noop.wasm")?;
    }
    let mut files: Vec<PathBuf> = examples()?.iter().map(|example| built(example)).collect();
    if arguments.all {
        languages::build(arguments.consent)?;
        files.extend(languages::names().map(languages::built));
    }
    for file in files {
        let bytes = fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?;
        let shown = file.strip_prefix(root()).unwrap_or(&file).display();
        println!("{:>6} KiB  {shown}", bytes.len() / 1024);
    }
    Ok(())
}

/// Adds the target that guests are built for, where it is missing.
pub fn install_target() -> Result<()> {
    let sysroot = answer(program("rustc", &["--print", "sysroot"]))?;
    let libraries = PathBuf::from(sysroot.trim()).join("lib").join("rustlib");
    if libraries.join(TARGET).exists() {
        return Ok(());
    }
    add("target", TARGET)
}

/// Adds a component of the toolchain that cargo calls by this subcommand, where it is missing.
pub fn install_component(subcommand: &str, component: &str) -> Result<()> {
    match has_cargo(subcommand) {
        true => Ok(()),
        false => add("component", component),
    }
}

/// Adds a part of the toolchain.
fn add(kind: &str, name: &str) -> Result<()> {
    println!("installing the compiler's {kind} {name}");
    match capture(program("rustup", &[kind, "add", name])) {
        Ok(printed) if printed.is_success => Ok(()),
        Ok(printed) => bail!(
            "adding the {kind} {name}: rustup failed: {}\nwith a network, try `rustup {kind} add {name}`",
            printed.text.trim()
        ),
        Err(_) => bail!(
            "adding the {kind} {name}: there is no rustup: install it as your toolchain's source says, or Rust by https://rustup.rs"
        ),
    }
}
