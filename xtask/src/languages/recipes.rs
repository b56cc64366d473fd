//! How each example in another language is built: the commands that its author would type.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::toolchains::Toolchains;
use crate::command::{cargo, program, quietly, root, target};

/// One guest.
pub struct Recipe {
    /// What its file is called.
    pub name: &'static str,
    /// Its folder in `tasks-examples`.
    pub folder: &'static str,
    /// Builds it into a file.
    pub build: fn(&mut Toolchains, &Path) -> Result<()>,
}

/// All of them.
pub const RECIPES: [Recipe; 5] = [
    Recipe {
        name: "word_count_js",
        folder: "javascript",
        build: javascript,
    },
    Recipe {
        name: "word_count_python",
        folder: "python",
        build: python,
    },
    Recipe {
        name: "word_count_c",
        folder: "c",
        build: c,
    },
    Recipe {
        name: "report_c",
        folder: "report-c",
        build: c_command,
    },
    Recipe {
        name: "report_go",
        folder: "report-go",
        build: go_command,
    },
];

/// A stack that is small, and lies below everything else: a guest's memory is cleared between attempts.
const STACK: &str = "-Wl,-z,stack-size=65536";

fn example(folder: &str) -> PathBuf {
    root().join("tasks-examples").join(folder)
}

fn wit() -> PathBuf {
    root().join("wit")
}

fn javascript(toolchains: &mut Toolchains, file: &Path) -> Result<()> {
    let (mut node, folder) = toolchains.javascript(&example("javascript"))?;
    node.arg(folder.join("build.mjs"))
        .arg(example("javascript").join("word-count.js"))
        .arg(wit())
        .arg(file);
    quietly(node)
}

fn python(toolchains: &mut Toolchains, file: &Path) -> Result<()> {
    // What lies beside the source goes into the module, and what is compiled of it is written there.
    let source = target().join("toolchains").join("python-source");
    fs::create_dir_all(&source).context("making a folder for the source")?;
    let own = example("python").join("word_count.py");
    fs::copy(own, source.join("word_count.py")).context("copying the source")?;
    let mut componentize = Command::new(toolchains.python_program("componentize-py")?);
    componentize
        .arg("--wit-path")
        .arg(wit())
        .args(["--world", "task", "componentize", "word_count"])
        .arg("--python-path")
        .arg(source)
        .arg("--output")
        .arg(file);
    quietly(componentize)
}

fn c(toolchains: &mut Toolchains, file: &Path) -> Result<()> {
    let bindings = target().join("toolchains").join("c-bindings");
    let mut write = componentize()?;
    write.arg("bindings").arg(wit()).arg("task").arg(&bindings);
    quietly(write)?;
    let mut zig = toolchains.zig()?;
    zig.arg("-mexec-model=reactor")
        .arg("-I")
        .arg(&bindings)
        .arg(example("c").join("word_count.c"))
        .arg(bindings.join("task.c"))
        .arg(bindings.join("task_component_type.o"));
    link(zig, "handler", file)
}

fn c_command(toolchains: &mut Toolchains, file: &Path) -> Result<()> {
    let mut zig = toolchains.zig()?;
    zig.arg(example("report-c").join("report.c"));
    link(zig, "command", file)
}

/// Compiles with these arguments, and makes a component of what came of it.
fn link(mut zig: Command, kind: &str, file: &Path) -> Result<()> {
    let core = core_module(file);
    zig.args([STACK, "-o"]).arg(&core);
    quietly(zig)?;
    encode(kind, &core, file)
}

fn go_command(toolchains: &mut Toolchains, file: &Path) -> Result<()> {
    let core = core_module(file);
    let mut go = toolchains.go()?;
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&core)
        .current_dir(example("report-go"));
    quietly(go)?;
    encode("command", &core, file)
}

fn core_module(file: &Path) -> PathBuf {
    file.with_extension("core.wasm")
}

fn encode(kind: &str, core: &Path, file: &Path) -> Result<()> {
    let mut encode = componentize()?;
    encode.args(["encode", kind]).arg(core).arg(file);
    quietly(encode)
}

/// The program of `xtask/componentize`.
fn componentize() -> Result<Command> {
    quietly(cargo(&["build", "--workspace", "--bin", "componentize"]))?;
    let built = target().join("debug").join("componentize");
    Ok(program(&built.to_string_lossy(), &[]))
}
