//! Compiles the clock of servers under test: a library that a server loads before all others.

use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

const SOURCE: &str = "src/server_clock.c";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where things are by its environment"
)]
fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={SOURCE}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return Ok(());
    }
    let library = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("server_clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]);
    compiler.arg("-o").arg(library).arg(SOURCE);
    match compiler.status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            "`cc` does not compile the clock of servers under test",
        )),
    }
}
