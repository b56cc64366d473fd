//! Says when a project's source has changed: once for many files that are written together.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::errors::Failure;

/// Editors write a file in several steps, and version control many files at once: quiet for so long means done.
const QUIET: Duration = Duration::from_millis(200);
/// Folders that building, version control and this program write to.
const IGNORED: [&str; 2] = ["target", "node_modules"];

/// A watched project.
pub struct Watch {
    root: PathBuf,
    /// Watching ends with it.
    watcher: RecommendedWatcher,
    changes: mpsc::UnboundedReceiver<()>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches a project from now on.
    pub fn start(project: &Path) -> Result<Self> {
        let attempted = || format!("watch `{}`", project.display());
        if !project.join("Cargo.toml").is_file() {
            return Err(Failure::usage(attempted(), "there is no Cargo.toml in it")
                .hint("`stem-host new NAME` makes a task project")
                .into());
        }
        let root = project
            .canonicalize()
            .map_err(|error| Failure::usage(attempted(), error))?;
        let (sender, changes) = mpsc::unbounded_channel();
        let below = root.clone();
        let hear = move |event: notify::Result<Event>| {
            // An error means that something may have been missed: better to build once too often.
            if event.map_or(true, |event| is_source(&event, &below)) {
                let _ = sender.send(());
            }
        };
        let mut watcher = notify::recommended_watcher(hear)
            .map_err(|error| Failure::usage(attempted(), error))?;
        watcher
            .watch(&root, RecursiveMode::NonRecursive)
            .map_err(|error| Failure::usage(attempted(), error))?;
        let mut watch = Self {
            root,
            watcher,
            changes,
            folders: BTreeSet::new(),
        };
        watch.watch_folders();
        Ok(watch)
    }

    /// Returns after the next change, when it is quiet again; false where nothing more can come.
    pub async fn changed(&mut self) -> bool {
        if self.changes.recv().await.is_none() {
            return false;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
        self.watch_folders();
        true
    }

    /// Watches every folder of the project that holds source; what a build writes is not even looked at.
    fn watch_folders(&mut self) {
        let entries = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten();
        for folder in entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
        {
            if !is_source_file(&folder, &self.root) || self.folders.contains(&folder) {
                continue;
            }
            match self.watcher.watch(&folder, RecursiveMode::Recursive) {
                Ok(()) => drop(self.folders.insert(folder)),
                Err(error) => {
                    tracing::warn!(%error, folder = %folder.display(), "cannot watch a folder")
                }
            }
        }
    }
}

fn is_source(event: &Event, root: &Path) -> bool {
    let is_change = match event.kind {
        EventKind::Access(_) | EventKind::Other => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
    };
    is_change && event.paths.iter().any(|path| is_source_file(path, root))
}

/// Whether a file is part of the project and not of what is made from it.
fn is_source_file(path: &Path, root: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    let names: Vec<&OsStr> = below.components().map(Component::as_os_str).collect();
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".") && name != ".cargo";
    let is_made = |name: &OsStr| IGNORED.iter().any(|ignored| name == *ignored);
    let is_lock = names.last().is_some_and(|name| *name == "Cargo.lock");
    !names.is_empty() && !is_lock && !names.iter().any(|name| is_hidden(name) || is_made(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [&str; 4] = [
        "src/lib.rs",
        "Cargo.toml",
        "stem.toml",
        ".cargo/config.toml",
    ];
    const MADE: [&str; 5] = ["target/x.d", ".git/index", ".stem/dev.db", "Cargo.lock", ""];

    #[test]
    fn what_a_build_writes_is_no_source() {
        let root = Path::new("/p");
        for source in SOURCES {
            assert!(is_source_file(&root.join(source), root), "{source}");
        }
        for made in MADE {
            assert!(!is_source_file(&root.join(made), root), "{made}");
        }
    }
}
