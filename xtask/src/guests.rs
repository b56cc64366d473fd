//! Builds the example tasks for the sandbox, and sees to it that the compiler can.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{self, capture, cargo, program, root};

const TARGET: &str = "wasm32-wasip2";

/// Where a built guest lies.
pub fn built(example: &str) -> PathBuf {
    let file = format!("{}.wasm", example.replace('-', "_"));
    root().join("target").join(TARGET).join("guest").join(file)
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

/// Builds the guests, and renews the one that `stem-host` carries for its benchmarks.
///
/// Compilers on different machines give different bytes: so only this command writes it, and no test compares it.
pub fn build_and_keep() -> Result<()> {
    command::run(build_command()?)?;
    let kept = root().join("cli").join("assets").join("noop.wasm");
    if let Some(folder) = kept.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(built("noop"), &kept).context("renewing cli/assets/noop.wasm")?;
    for example in examples()? {
        let file = built(&example);
        let bytes = fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?;
        let shown = file.strip_prefix(root()).unwrap_or(&file).display();
        println!("{:>6} KiB  {shown}", bytes.len() / 1024);
    }
    Ok(())
}

/// Adds the target that guests are built for, where it is missing.
pub fn install_target() -> Result<()> {
    let sysroot = capture(program("rustc", &["--print", "sysroot"]))?;
    let libraries = PathBuf::from(sysroot.text.trim())
        .join("lib")
        .join("rustlib");
    if libraries.join(TARGET).exists() {
        return Ok(());
    }
    println!("installing the compiler's target {TARGET}");
    let installed = capture(program("rustup", &["target", "add", TARGET]));
    match installed {
        Ok(printed) if printed.is_success => Ok(()),
        Ok(printed) => bail!(
            "adding the target {TARGET}: rustup failed: {}\nwith a network, try `rustup target add {TARGET}`",
            printed.text.trim()
        ),
        Err(_) => bail!(
            "adding the target {TARGET}: there is no rustup: install the target as your toolchain's source says, or Rust by https://rustup.rs"
        ),
    }
}
