//! Where a database may lie: on a disk of this machine, in a folder that is ours, with room to spare (B9).

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stem_core::clock::Clock;
use stem_core::store_error::StoreErrorKind;
use stem_core::units::ByteSize;

use crate::problem::{Problem, Stepped};

/// How long the free space that was seen last counts.
const SPACE_CHECK: Duration = Duration::from_secs(1);

/// Where a store really lies, whatever links led there: two ways to one file must share its locks and its wake-ups.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) database: PathBuf,
    /// The folder with the locks and the topics, `PATH-wake`.
    pub(crate) beside: PathBuf,
}

/// The file of the database and the folder beside it, made where they are missing: for this user alone.
pub(crate) fn prepare(path: &Path) -> Stepped<Location> {
    let is_none = path.as_os_str().is_empty() || path.to_string_lossy().starts_with(":memory:");
    if is_none {
        return Err(Problem::new(
            StoreErrorKind::Refused,
            "the embedded store is a file that several processes open: give the path of one",
        ));
    }
    let folder = folder_of(path);
    make_folder(folder).map_err(|error| not_permitted("create the folder", folder, &error))?;
    make_file(path).map_err(|error| not_permitted("create the file", path, &error))?;
    let database = path
        .canonicalize()
        .map_err(|error| not_permitted("follow the path", path, &error))?;
    refuse_network(folder_of(&database))?;
    let beside = beside(&database);
    make_folder(&beside).map_err(|error| not_permitted("create the folder", &beside, &error))?;
    Ok(Location { database, beside })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wake");
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path).map(drop)
}

fn not_permitted(action: &str, path: &Path, error: &io::Error) -> Problem {
    let message = format!(
        "cannot {action} `{}` ({error}): choose a path that this user may write",
        path.display()
    );
    Problem::new(StoreErrorKind::NotPermitted, message)
}

/// Locks and shared memory do not work over a network: the database would break.
#[cfg(target_os = "linux")]
fn refuse_network(folder: &Path) -> Stepped<()> {
    let kind = rustix::fs::statfs(folder)
        .map_err(|error| not_permitted("look at the disk of", folder, &error.into()))?
        .f_type;
    match network(kind) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "`{}` lies on a network file system ({name}), where a database breaks: \
                 choose a folder on a local disk, or a Redis or Postgres store",
                folder.display()
            );
            Err(Problem::new(StoreErrorKind::NotPermitted, message))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_folder: &Path) -> Stepped<()> {
    Ok(())
}

/// The network file system that has this number: statfs(2), and linux/magic.h.
#[cfg(target_os = "linux")]
fn network(kind: i64) -> Option<&'static str> {
    const NETWORK: [(i64, &str); 14] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB 2"),
        (0x0102_1997, "9P"),
        (0x5346_414f, "AFS"),
        (0x6b41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x00c3_6400, "Ceph"),
        (0x0bd0_0bd0, "Lustre"),
        (0x564c, "NCP"),
        (0x0116_1970, "GFS2"),
        (0x7461_636f, "OCFS2"),
        (0x4750_4653, "GPFS"),
    ];
    // Some platforms give the number with a sign.
    let kind = kind & 0xffff_ffff;
    NETWORK
        .into_iter()
        .find(|(number, _)| *number == kind)
        .map(|(_, name)| name)
}

/// The space on the disk at which publishing stops.
pub(crate) struct Reserve {
    folder: PathBuf,
    reserve: ByteSize,
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<(Duration, ByteSize)>>,
}

impl Reserve {
    pub(crate) fn new(path: &Path, reserve: ByteSize, clock: Arc<dyn Clock>) -> Self {
        Self {
            folder: folder_of(path).to_owned(),
            reserve,
            clock,
            seen: Mutex::new(None),
        }
    }

    /// Whether the disk has more room than the reserve.
    pub(crate) fn is_kept_by_the_disk(&self) -> Stepped<bool> {
        Ok(self.free()? >= self.reserve)
    }

    /// Refuses where the reserve is reached (B9). A file never shrinks: what has been drained is room within it.
    pub(crate) fn check(&self, within: ByteSize) -> Stepped<()> {
        let free = ByteSize(self.free()?.0.saturating_add(within.0));
        if free >= self.reserve {
            return Ok(());
        }
        let message = format!(
            "{free} are free in the database and on its disk, and publishing stops at a reserve of {}: \
             free space there, or let the workers drain the queues",
            self.reserve
        );
        Err(Problem::new(StoreErrorKind::Full, message))
    }

    /// What is free on the disk.
    pub(crate) fn free(&self) -> Stepped<ByteSize> {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *seen
            && now.saturating_sub(at) < SPACE_CHECK
        {
            return Ok(free);
        }
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|error| not_permitted("look at the disk of", &self.folder, &error.into()))?;
        let free = ByteSize(disk.f_bavail.saturating_mul(disk.f_frsize));
        *seen = Some((now, free));
        Ok(free)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[path = "location_tests.rs"]
mod tests;
