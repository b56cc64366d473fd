//! A directory of secrets: one file each, that nobody but its owner and this worker can read (M4).

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use stem_core::secrets::{Secret, SecretError, SecretName};

use crate::errors::Failure;

/// Bytes of a secret: keys and tokens are far shorter.
const LONGEST: u64 = 64 << 10;
const GROUP_READS: u32 = 0o040;
const GROUP_WRITES: u32 = 0o020;
const OTHERS: u32 = 0o007;
const OTHERS_WRITE: u32 = 0o002;
const ROOT: u32 = 0;

/// A directory that was found safe.
#[derive(Debug)]
pub struct Directory(PathBuf);

/// Why a file is not taken.
enum Problem {
    /// Somebody has to mend it.
    Unsafe(String),
    /// The machine failed.
    Fault(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        let problem = match Errno::from_io_error(&error) {
            Some(Errno::ACCESS) => "this worker may not read it: give it to the worker's user",
            Some(Errno::LOOP) => "its links lead in a circle",
            Some(_) | None => return Self::Fault(error),
        };
        Self::Unsafe(problem.to_owned())
    }
}

impl Directory {
    /// Checks the directory and every secret in it.
    pub fn open(path: &Path) -> Result<Self> {
        let attempted = format!("read the directory of secrets `{}`", path.display());
        let refused = |problem: String| Failure::usage(&attempted, problem);
        let absolute = fs::canonicalize(path).and_then(|_| std::path::absolute(path));
        let absolute = absolute.map_err(|error| refused(error.to_string()))?;
        check_directory(&absolute).map_err(refused)?;
        let directory = Self(absolute);
        let entries = fs::read_dir(&directory.0).map_err(|error| refused(error.to_string()))?;
        for entry in entries {
            let entry = entry.map_err(|error| refused(error.to_string()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match SecretName::new(&name) {
                Ok(name) => drop(
                    directory
                        .read(&name)
                        .map_err(|error| refused(error.to_string()))?,
                ),
                // What keeps such a directory up to date has files of its own there.
                Err(_) if name.starts_with('.') => {}
                Err(error) => {
                    tracing::warn!(%error, "a file of the directory of secrets is left alone")
                }
            }
        }
        Ok(directory)
    }

    /// The secret in the file of this name, if there is one; an empty one is as good as none.
    pub fn read(&self, name: &SecretName) -> Result<Option<Secret>, SecretError> {
        let path = self.0.join(name.as_str());
        match read(&path, &self.0) {
            Ok(secret) => Ok(secret.filter(|secret| !secret.reveal().is_empty())),
            Err(Problem::Unsafe(problem)) => Err(SecretError::refused(
                name,
                format!("the file `{}`: {problem}", path.display()),
            )),
            Err(Problem::Fault(error)) => Err(SecretError::unreadable(
                name,
                format!("the file `{}`: {error}", path.display()),
            )),
        }
    }
}

fn check_directory(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    let shown = path.display();
    if !metadata.is_dir() {
        return Err("it is no directory".to_owned());
    }
    if !is_trusted(metadata.uid()) {
        return Err("another user owns it: `chown` it to the worker's user".to_owned());
    }
    if metadata.mode() & (GROUP_WRITES | OTHERS_WRITE) != 0 {
        return Err(format!("others can put files into it: `chmod 700 {shown}`"));
    }
    Ok(())
}

fn read(path: &Path, directory: &Path) -> Result<Option<Secret>, Problem> {
    let Some(path) = within(path, directory)? else {
        return Ok(None);
    };
    // A pipe in the place of a file would hold the worker up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = rustix::fs::open(&path, flags, Mode::empty());
    let file = match opened.map(File::from) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io::Error::from(error).into()),
    };
    check(&path, &file.metadata()?).map_err(Problem::Unsafe)?;
    let mut text = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    secret(text).map(Some).map_err(Problem::Unsafe)
}

/// Where the file really is. A link may lead to another place of the directory, as those that are kept up to date by
/// swapping folders do, and nowhere else.
fn within(path: &Path, directory: &Path) -> Result<Option<PathBuf>, Problem> {
    let found = match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_symlink() => return Ok(Some(path.to_owned())),
        Ok(_) => fs::canonicalize(path),
        Err(error) => Err(error),
    };
    match found {
        Ok(target) if target.starts_with(fs::canonicalize(directory)?) => Ok(Some(target)),
        Ok(target) => Err(Problem::Unsafe(format!(
            "it leads out of the directory, to `{}`: put the file itself there",
            target.display()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn check(path: &Path, file: &Metadata) -> Result<(), String> {
    let shown = path.display();
    if !file.is_file() {
        return Err("it is no ordinary file".to_owned());
    }
    if !is_trusted(file.uid()) {
        return Err("another user owns it: `chown` it to the worker's user".to_owned());
    }
    // Where root owns the file the group is how the worker may read it.
    let denied = match file.uid() == own_id() {
        true => OTHERS | GROUP_WRITES | GROUP_READS,
        false => OTHERS | GROUP_WRITES,
    };
    if file.mode() & denied != 0 {
        return Err(format!("others can read or change it: `chmod 600 {shown}`"));
    }
    Ok(())
}

/// The value: without the line break that editors and `echo` leave at its end.
fn secret(bytes: Vec<u8>) -> Result<Secret, String> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| "it is no UTF-8: store it as text".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

/// Whether what this user owns is as good as one's own: its owner can always change it.
pub fn is_trusted(user: u32) -> bool {
    user == own_id() || user == ROOT
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
