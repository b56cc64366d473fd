//! A module's file, and the policy that lies beside it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bytes::Bytes;
use stem_core::names::DeploymentName;
use stem_core::policy::PolicyError;
use stem_core::units::ByteSize;

use crate::errors::Failure;
use crate::output::Output;
use crate::sandbox::{DeployError, Inspected, LARGEST_MODULE, Overrides};

const POLICY: &str = "stem.toml";

/// What the operator says about a module's tasks.
pub struct Policy {
    /// File and flags, joined.
    pub overrides: Overrides,
    /// The file that was used, if there was one.
    pub file: Option<PathBuf>,
}

impl Policy {
    /// What the operator should know of a module with this policy, and may accept.
    pub fn warn(&self, inspected: &Inspected, output: &Output) {
        for warning in &inspected.warnings {
            output.note(format!("warning: {warning}"));
        }
        if let Some(file) = &self.file {
            output.note(format!("policy: {}", file.display()));
        }
    }
}

/// Reads a module; a file that no module could be as large as is not read at all.
pub fn read(file: &Path) -> Result<Bytes> {
    let attempted = format!("read the module `{}`", file.display());
    let size = std::fs::metadata(file).map_err(|error| Failure::usage(&attempted, error))?;
    let size = ByteSize(size.len());
    if size > LARGEST_MODULE {
        return Err(Failure::refused(attempted, DeployError::TooLarge { size }).into());
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::usage(attempted, error))?;
    Ok(bytes.into())
}

/// A setting that was given as a flag.
pub struct Flag<'a> {
    /// Its name in stem.toml.
    pub key: &'static str,
    /// What somebody typed.
    pub flag: &'static str,
    /// Its value.
    pub value: &'a str,
}

/// The policy of a module: the named file, or the one found near it, and then the flags of this command.
pub fn policy<'a>(
    module: &Path,
    named: Option<&Path>,
    (verb, flags): (&str, impl IntoIterator<Item = Flag<'a>>),
) -> Result<Policy> {
    let file = named.map(Path::to_owned).or_else(|| find(module));
    let mut overrides = match &file {
        Some(file) => parse(file)?,
        None => Overrides::default(),
    };
    for Flag { key, flag, value } in flags {
        overrides.set(key, value).map_err(|error| {
            let problem = match error {
                PolicyError::BadValue { problem, .. } => problem,
                PolicyError::UnknownKey { .. } => error.to_string(),
            };
            let attempted = format!("{verb} `{}`", module.display());
            Failure::usage(attempted, format!("bad value for `{flag}`: {problem}"))
        })?;
    }
    Ok(Policy { overrides, file })
}

fn parse(file: &Path) -> Result<Overrides> {
    let attempted = format!("read the policy `{}`", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(&attempted, error))?;
    Overrides::parse(&text).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let problem = format!("{error}{}", cause.unwrap_or_default());
        Failure::usage(attempted, problem.trim_end()).into()
    })
}

/// `stem.toml` beside the module or, where that lies in a build's `target` folder, up to the project's own folder.
fn find(module: &Path) -> Option<PathBuf> {
    let module = module.canonicalize().ok()?;
    let folder = module.parent()?;
    let is_target = |folder: &&Path| folder.file_name() == Some("target".as_ref());
    let project = folder.ancestors().find(is_target).and_then(Path::parent);
    let topmost = project.unwrap_or(folder);
    folder
        .ancestors()
        .take_while(|folder| folder.starts_with(topmost))
        .map(|folder| folder.join(POLICY))
        .find(|policy| policy.is_file())
}

/// The deployment's name where nobody gives one: the file's.
pub fn name_of(file: &Path) -> Result<DeploymentName> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy());
    DeploymentName::new(stem.unwrap_or_default().as_ref()).map_err(|error| {
        Failure::usage(format!("deploy `{}`", file.display()), error)
            .hint("name the deployment with --name, or with `name` in stem.toml")
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = folder.path().join(file);
            let parent = path.parent().expect("below the folder");
            std::fs::create_dir_all(parent).expect("made");
            std::fs::write(path, "").expect("written");
        }
        folder
    }

    fn found(files: &[&str]) -> Option<PathBuf> {
        let folder = project(files);
        let root = folder.path().canonicalize().expect("there");
        let policy = find(&root.join(files[0]))?;
        Some(policy.strip_prefix(&root).expect("below").to_owned())
    }

    /// M4
    #[test]
    fn the_policy_lies_beside_the_module_or_at_the_top_of_its_project() {
        let module = "p/target/wasm32-wasip2/release/m.wasm";
        assert_eq!(found(&[module, "p/stem.toml"]), Some("p/stem.toml".into()));
        let beside = "p/target/wasm32-wasip2/release/stem.toml";
        assert_eq!(found(&[module, "p/stem.toml", beside]), Some(beside.into()));
        assert_eq!(
            found(&["p/m.wasm", "p/stem.toml"]),
            Some("p/stem.toml".into())
        );
    }

    /// M4
    #[test]
    fn a_policy_beyond_the_project_is_none_of_the_modules() {
        assert_eq!(found(&["p/target/release/m.wasm", "stem.toml"]), None);
        assert_eq!(found(&["p/m.wasm", "stem.toml"]), None);
    }
}
