//! Files that only some may read or write: keys and certificates, refused where others could do more than they may.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Result;

use crate::errors::Failure;
use crate::secrets;

/// What others may not do with a file.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    mode: u32,
    danger: &'static str,
    remedy: &'static str,
}

/// Nobody but its owner may do anything with a file of private keys.
pub const PRIVATE: Guard = Guard {
    mode: 0o077,
    danger: "others may read it",
    remedy: "chmod go-rwx",
};
/// Everybody may read public keys and certificates.
pub const PUBLIC: Guard = Guard {
    mode: 0o022,
    danger: "others may write to it",
    remedy: "chmod go-w",
};

impl Guard {
    /// A file's text; refused where others may do with it what they must not.
    pub fn read(&self, path: &Path, attempted: &str) -> Result<String> {
        let read = || -> std::io::Result<(Metadata, String)> {
            let (mut file, mut text) = (File::open(path)?, String::new());
            file.read_to_string(&mut text)?;
            Ok((file.metadata()?, text))
        };
        let (file, text) = read().map_err(|error| Failure::usage(attempted, error))?;
        match self.check(file.uid(), file.mode()) {
            Ok(()) => Ok(text),
            Err((danger, remedy)) => Err(Failure::usage(attempted, danger)
                .hint(format!("`{remedy} {}` mends it", path.display()))
                .into()),
        }
    }

    /// What is wrong with a file of this owner and this mode, and what mends it.
    fn check(&self, owner: u32, mode: u32) -> Result<(), (&'static str, &'static str)> {
        if !secrets::is_trusted(owner) {
            return Err(("another user owns it", "chown"));
        }
        match mode & self.mode {
            0 => Ok(()),
            _ => Err((self.danger, self.remedy)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M2, X4: an owner can always change a file, and what others may do with it.
    #[test]
    fn a_file_of_keys_that_another_user_owns_is_refused() {
        let own = rustix::process::geteuid().as_raw();
        for (guard, mode) in [(PRIVATE, 0o600), (PUBLIC, 0o644)] {
            assert_eq!(guard.check(own, mode), Ok(()));
            assert_eq!(guard.check(0, mode), Ok(()));
            let refused = Err(("another user owns it", "chown"));
            assert_eq!(guard.check(own + 1, mode), refused);
        }
        assert_eq!(
            PUBLIC.check(own, 0o666),
            Err(("others may write to it", "chmod go-w"))
        );
    }
}
