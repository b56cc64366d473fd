//! Builds the example tasks in other languages, with compilers that are installed below `target` where they are
//! missing; what has not changed is not built again.

mod inputs;
mod recipes;
mod toolchains;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{root, target};
use crate::packages::Consent;
use recipes::RECIPES;
use toolchains::Toolchains;

/// Where a guest in another language lies once it is built.
pub fn built(name: &str) -> PathBuf {
    target().join("guests").join(format!("{name}.wasm"))
}

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|recipe| recipe.name)
}

/// Builds all of them; packages of the system are installed only with consent.
pub fn build(consent: Consent) -> Result<()> {
    let mut toolchains = Toolchains::new(consent);
    fs::create_dir_all(target().join("guests")).context("making target/guests")?;
    for recipe in &RECIPES {
        let key = inputs::key(&root().join("tasks-examples").join(recipe.folder))?;
        let file = built(recipe.name);
        let key_file = file.with_extension("key");
        if file.exists() && is_kept(&key_file, &key) {
            continue;
        }
        println!("building {} ({})", recipe.name, recipe.folder);
        (recipe.build)(&mut toolchains, &file).with_context(|| {
            format!(
                "building {} from tasks-examples/{}",
                recipe.name, recipe.folder
            )
        })?;
        fs::write(&key_file, key).context("keeping what a guest was built from")?;
    }
    Ok(())
}

fn is_kept(file: &Path, key: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|kept| kept == key)
}
