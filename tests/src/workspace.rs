//! The workspace as it lies on disk: its packages, their dependencies on each other, and every file that is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
}

/// The text of a file, named from the root.
///
/// # Panics
/// Where it cannot be read.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What cargo knows of the workspace's own packages.
pub struct Packages {
    metadata: Metadata,
}

impl Packages {
    /// Asks cargo.
    ///
    /// # Panics
    /// Where cargo cannot be run.
    pub fn load() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .no_deps()
            .exec()
            .expect("`cargo metadata` reads the workspace");
        Self { metadata }
    }

    /// Every package of the workspace.
    pub fn all(&self) -> &[Package] {
        &self.metadata.packages
    }

    /// The names of everything that each package depends on, in the given way.
    pub fn dependencies(&self, kind: DependencyKind) -> BTreeMap<String, BTreeSet<String>> {
        let names = |package: &Package| {
            let of_kind = package.dependencies.iter().filter(|dep| dep.kind == kind);
            of_kind.map(|dep| dep.name.clone()).collect()
        };
        self.all()
            .iter()
            .map(|package| (package.name.to_string(), names(package)))
            .collect()
    }

    /// The same, with the workspace's own packages only.
    pub fn own_dependencies(&self, kind: DependencyKind) -> BTreeMap<String, BTreeSet<String>> {
        let mut dependencies = self.dependencies(kind);
        let own: BTreeSet<String> = dependencies.keys().cloned().collect();
        for names in dependencies.values_mut() {
            names.retain(|name| own.contains(name));
        }
        dependencies
    }
}

/// Every Rust file of a package, named from the root: what it is made of (`src`) and its tests.
pub fn rust_files(package: &Package) -> Vec<PathBuf> {
    let folder = package
        .manifest_path
        .parent()
        .expect("a manifest lies in a folder");
    let own = |path: &PathBuf| {
        let nested = path
            .ancestors()
            .skip(1)
            .take_while(|above| *above != folder.as_std_path())
            .any(|above| above.join("Cargo.toml").exists());
        !nested && path.extension().is_some_and(|extension| extension == "rs")
    };
    files_below(folder.as_std_path())
        .into_iter()
        .filter(own)
        .collect()
}

/// Every file that is kept: what git tracks, or whatever lies here where this is no repository.
pub fn kept_files() -> Vec<PathBuf> {
    let asked = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let listed = asked.ok().filter(|answer| answer.status.success());
    let Some(listed) = listed else {
        return files_below(root());
    };
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = names.split_terminator('\0').map(|name| root().join(name));
    paths.filter(|path| path.is_file()).collect()
}

/// A path named from the root.
pub fn name_of(path: &Path) -> String {
    let relative = path.strip_prefix(root()).unwrap_or(path);
    relative.to_string_lossy().replace('\\', "/")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder of the workspace can be listed");
        for entry in entries {
            let path = entry
                .expect("a folder of the workspace can be listed")
                .path();
            let name = path.file_name().unwrap_or_default();
            if !path.is_dir() {
                found.push(path);
            } else if name != "target" && name != ".git" {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
