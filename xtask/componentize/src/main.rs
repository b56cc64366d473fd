//! Makes components of what compilers for core modules write: bindings of the contract for C, and the last step of a
//! build.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use wasi_preview1_component_adapter_provider as adapter;
use wit_bindgen_core::Files;
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

/// Makes components of what compilers for core modules write.
#[derive(Parser)]
#[command(name = "componentize")]
enum Componentize {
    /// Writes what a task in C includes and is linked with.
    Bindings {
        /// The folder of the contract
        wit: PathBuf,
        /// The world that the task is written against
        world: String,
        /// Where to write
        folder: PathBuf,
    },
    /// Makes a component of a core module.
    Encode {
        /// What it is to be
        kind: Kind,
        /// The core module
        module: PathBuf,
        /// The component
        component: PathBuf,
    },
}

/// What the first version of WASI, where a module uses it, is to be turned into.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A module with a handler.
    Handler,
    /// A program with a `main`.
    Command,
}

impl Kind {
    fn adapter(self) -> &'static [u8] {
        match self {
            Self::Handler => adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            Self::Command => adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        }
    }
}

fn main() -> Result<()> {
    match Componentize::parse() {
        Componentize::Bindings { wit, world, folder } => bindings(&wit, &world, &folder),
        Componentize::Encode {
            kind,
            module,
            component,
        } => encode(kind, &module, &component),
    }
}

fn bindings(wit: &Path, world: &str, folder: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    let mut generator = wit_bindgen_c::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files)?;
    fs::create_dir_all(folder)?;
    for (name, content) in files.iter() {
        let file = folder.join(name);
        fs::write(&file, content).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn encode(kind: Kind, module: &Path, component: &Path) -> Result<()> {
    let core = fs::read(module).with_context(|| format!("read {}", module.display()))?;
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(&core)
        .and_then(|encoder| {
            let name = adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
            encoder.adapter(name, kind.adapter())?.encode()
        })
        .with_context(|| format!("make a component of {}", module.display()))?;
    fs::write(component, encoded).with_context(|| format!("write {}", component.display()))
}
