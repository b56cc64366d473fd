//! Compiled code on disk: a folder of the user's own, whose files are taken only with the right MAC (S5).

use std::fs::{DirBuilder, DirEntry, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
use stem_core::ids::Digest;
use stem_core::units::ByteSize;
use wasmtime::Engine;

use crate::engine::Class;
use crate::native::NativeCode;
use crate::native::child::compatibility;
use crate::native::seal::Key;

/// The end of every file that is ours to remove.
const SUFFIX: &str = ".stem-code";
/// Digits of a digest that name its lock: 4,096 files at most, and hardly ever two modules that wait for one another.
const LOCK_DIGITS: usize = 3;
/// What others may not do with the folder.
const OTHERS_WRITE: u32 = 0o022;

/// Where compiled code is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// A folder that nobody else can write to; made where there is none.
    pub folder: PathBuf,
    /// The key that the files' MACs are made with; not in the folder, so that a copy of the folder brings no trust.
    pub key: PathBuf,
    /// The most that the files take; those that were used least recently go first.
    pub size: ByteSize,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} `{path}`: {problem}", path = path.display())]
pub(crate) struct CacheError {
    action: &'static str,
    path: PathBuf,
    problem: io::Error,
}

/// An open folder of compiled code.
pub(crate) struct Cache {
    folder: PathBuf,
    key: Key,
    size: u64,
}

/// What a file is called: everything that its code depends on.
#[derive(Debug, Clone)]
pub(crate) struct Name(String);

impl Name {
    /// A module for this engine, on this kind of machine.
    pub(crate) fn new(engine: &Engine, class: Class, digest: Digest) -> Self {
        let (class, version) = (class.as_str(), compatibility(engine));
        let target = [std::env::consts::ARCH, std::env::consts::OS].join("-");
        Self(format!("{digest}-{class}-{version}-{target}{SUFFIX}"))
    }
}

impl Cache {
    /// Opens the folder, if it is the user's own.
    pub(crate) fn open(options: &CacheOptions) -> Result<Self, CacheError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |problem| CacheError {
                action,
                path,
                problem,
            }
        };
        let folder = &options.folder;
        let mut made = DirBuilder::new();
        made.recursive(true).mode(0o700);
        made.create(folder)
            .map_err(failed("create the folder", folder))?;
        let metadata = folder.metadata();
        metadata
            .and_then(|metadata| check_owner(&metadata))
            .map_err(failed("trust the folder", folder))?;
        Ok(Self {
            folder: folder.clone(),
            key: Key::open(&options.key).map_err(failed("open the key", &options.key))?,
            size: options.size.0,
        })
    }

    /// The code of this name, if it is here; a file that is not as it was written is thrown away.
    pub(crate) fn find(&self, name: &Name) -> Option<NativeCode> {
        let sealed = match read(&self.path(name)) {
            Ok(sealed) => sealed,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    self.discard(name, &error.to_string());
                }
                return None;
            }
        };
        let code = self.key.unseal(&name.0, sealed);
        if code.is_none() {
            self.discard(name, "it is not as it was written");
        }
        code
    }

    /// Throws a file away, and says why.
    pub(crate) fn discard(&self, name: &Name, problem: &str) {
        let path = self.path(name);
        tracing::warn!(path = %path.display(), problem, "compiled code is thrown away, and made anew");
        // Where it cannot be removed, it is replaced.
        let _ = std::fs::remove_file(path);
    }

    /// Writes the code down, and makes room for it.
    pub(crate) fn keep(&self, name: &Name, code: &NativeCode) {
        if u64::try_from(code.len()).is_ok_and(|length| length > self.size) {
            return;
        }
        let kept = self.write(name, code).and_then(|()| self.tidy(name));
        if let Err(error) = kept {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "compiled code is not kept: the next start compiles anew");
        }
    }

    fn write(&self, name: &Name, code: &NativeCode) -> io::Result<()> {
        // A name of its own until it is whole; only its owner may read it.
        let mut file = tempfile::Builder::new()
            .prefix("new-")
            .suffix(SUFFIX)
            .tempfile_in(&self.folder)?;
        self.key.seal(&name.0, code, &mut file)?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what was used least recently until the rest is small enough; never this file.
    fn tidy(&self, name: &Name) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // Another process may have removed it since it was listed.
            files.extend(file_of_ours(&entry?));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.size {
                break;
            }
            if path != self.path(name) && std::fs::remove_file(path).is_ok() {
                total -= size;
            }
        }
        Ok(())
    }

    /// Waits until no other process compiles what this one is about to; not for ever, since one that is stopped must
    /// not hold up the others. The turn ends with the value.
    pub(crate) fn turn(&self, name: &Name, patience: Duration) -> Option<File> {
        // A bounded number of files for all modules: they are never removed, or two could hold the lock of one name.
        let lock = self.folder.join(format!("lock-{}", &name.0[..LOCK_DIGITS]));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(lock).ok()?;
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::Error(_)) => return None,
            Err(TryLockError::WouldBlock) => {}
        }
        let (sender, receiver) = channel();
        let waiting = std::thread::Builder::new().name("cache-lock".to_owned());
        let waiting = waiting.spawn(move || {
            // Where nobody waits any more, the lock is given back with the file.
            let _ = sender.send(file.lock().is_ok().then_some(file));
        });
        waiting.ok()?;
        receiver.recv_timeout(patience).ok().flatten()
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.folder.join(&name.0)
    }
}

fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let denied = |problem| Err(io::Error::new(ErrorKind::PermissionDenied, problem));
    if !metadata.is_dir() {
        return denied("it is no folder");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return denied("it belongs to another user");
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return denied("others may write to it: take that from them with `chmod go-w`");
    }
    Ok(())
}

/// Reads a file, and remembers that it was used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    // Where it cannot be written, it is still good to read.
    let _ = futimens(&file, &times);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file_of_ours(entry: &DirEntry) -> Option<(SystemTime, u64, PathBuf)> {
    let is_ours = entry.file_name().to_str()?.ends_with(SUFFIX);
    let metadata = entry
        .metadata()
        .ok()
        .filter(|found| is_ours && found.is_file())?;
    Some((metadata.modified().ok()?, metadata.len(), entry.path()))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
