//! What tells our compiled code from anybody else's: a MAC under a key that only the user can read (S5).

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::NativeCode;

const KEY: usize = 32;
const LONGER_THAN_A_KEY: u64 = 33;
const MAC: usize = 32;
/// What nobody but the owner may do with the key: anything.
const OTHERS: u32 = 0o077;

/// The user's key.
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    /// Reads the key; makes it where there is none.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        make(path)?;
        read(path)?.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn of(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("a key of any length is good"))
    }

    /// Writes the code with its MAC before it: it can be opened under this name alone.
    pub(crate) fn seal(
        &self,
        name: &str,
        code: &NativeCode,
        file: &mut impl Write,
    ) -> io::Result<()> {
        file.write_all(&self.mac(name, &code.0).finalize().into_bytes())?;
        file.write_all(&code.0)
    }

    /// The code that was sealed under this name; nothing where a bit of it is another.
    pub(crate) fn unseal(&self, name: &str, mut sealed: Vec<u8>) -> Option<NativeCode> {
        let code = sealed.split_off(sealed.len().min(MAC));
        let is_ours = self.mac(name, &code).verify_slice(&sealed).is_ok();
        is_ours.then_some(NativeCode(code))
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        // A name has no zero byte: nothing of it can be taken for code, or the other way round.
        let mut mac = self.0.clone();
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

fn read(path: &Path) -> io::Result<Option<Key>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & OTHERS != 0 {
        let problem = "others may read it: remove it, and a new one is made";
        return Err(io::Error::new(ErrorKind::PermissionDenied, problem));
    }
    let mut secret = Vec::new();
    file.take(LONGER_THAN_A_KEY).read_to_end(&mut secret)?;
    if secret.len() != KEY {
        let problem = "it is damaged: remove it, and a new one is made";
        return Err(io::Error::new(ErrorKind::InvalidData, problem));
    }
    Ok(Some(Key::of(&secret)))
}

/// Makes a key; where another process is faster, its key stays.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // Whole or not there: nobody reads half of a key. The file is its owner's alone from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&rand::random::<[u8; KEY]>())?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn sealed(key: &Key) -> Vec<u8> {
        let mut sealed = Vec::new();
        let code = NativeCode(b"code".to_vec());
        key.seal("name", &code, &mut sealed).expect("written");
        sealed
    }

    /// S5
    #[test]
    fn what_was_sealed_is_opened_and_anything_else_is_not() {
        let key = Key::of(&[1; KEY]);
        let open = |name: &str, bytes: Vec<u8>| key.unseal(name, bytes).map(|code| code.0);
        assert_eq!(open("name", sealed(&key)), Some(b"code".to_vec()));
        assert_eq!(open("other", sealed(&key)), None);
        for at in 0..sealed(&key).len() {
            let mut changed = sealed(&key);
            changed[at] ^= 1;
            assert_eq!(open("name", changed), None, "{at}");
            assert_eq!(open("name", sealed(&key)[..at].to_vec()), None, "{at}");
        }
        assert_eq!(open("name", sealed(&Key::of(&[2; KEY]))), None);
    }

    /// S5
    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("below/key");
        let first = sealed(&Key::open(&path).expect("made"));
        assert_eq!(sealed(&Key::open(&path).expect("read")), first);
        let mode = path.metadata().expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// S5
    #[test]
    fn a_key_that_others_may_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        Key::open(&path).expect("made");
        let refusal = || Key::open(&path).err().expect("refused").to_string();
        std::fs::write(&path, "short").expect("written");
        assert!(refusal().contains("damaged"), "{}", refusal());
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, open).expect("changed");
        assert!(refusal().contains("others may read it"), "{}", refusal());
    }
}
