//! The folder of compiled code: what is taken from it, what is thrown away, and whose it may be.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A folder in a folder of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn options(&self) -> CacheOptions {
        CacheOptions {
            folder: self.0.path().join("cache/stem"),
            key: self.0.path().join("data/key"),
            size: ByteSize::mib(64),
        }
    }

    fn open(&self) -> Cache {
        Cache::open(&self.options()).expect("opened")
    }

    fn refusal(&self) -> String {
        Cache::open(&self.options())
            .err()
            .expect("refused")
            .to_string()
    }

    fn set_mode(&self, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.options().folder, permissions).expect("changed");
    }
}

fn compiled(engine: &Engine) -> NativeCode {
    NativeCode::compile(engine, COMPONENT).expect("compiled")
}

fn name(text: &str) -> Name {
    Name(format!("{text}{SUFFIX}"))
}

fn files(cache: &Cache) -> Vec<String> {
    let entries = std::fs::read_dir(&cache.folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

// === what is in it ===

/// S5
#[test]
fn what_was_kept_is_found_by_another_process_under_its_own_name_only() {
    let (place, engine) = (Place::new(), Engine::default());
    place.open().keep(&name("a"), &compiled(&engine));
    let cache = place.open();
    let found = cache.find(&name("a")).expect("kept");
    assert!(found.load(&engine).is_ok());
    assert!(cache.find(&name("b")).is_none());
    std::fs::copy(cache.path(&name("a")), cache.path(&name("b"))).expect("copied");
    assert!(cache.find(&name("b")).is_none());
    assert_eq!(files(&cache), ["a.stem-code"]);
}

const DAMAGES: [fn(&mut Vec<u8>); 3] = [
    |bytes| bytes[40] ^= 1,
    |bytes| bytes.truncate(20),
    Vec::clear,
];

/// S5
#[test]
fn a_tampered_or_truncated_file_is_thrown_away() {
    let (place, engine) = (Place::new(), Engine::default());
    let cache = place.open();
    let path = cache.path(&name("a"));
    for damage in DAMAGES {
        cache.keep(&name("a"), &compiled(&engine));
        let mut bytes = std::fs::read(&path).expect("kept");
        damage(&mut bytes);
        std::fs::write(&path, bytes).expect("written");
        assert!(cache.find(&name("a")).is_none());
        assert!(!path.exists());
    }
}

/// S5
#[test]
fn code_that_was_sealed_with_another_key_is_thrown_away() {
    let (place, engine) = (Place::new(), Engine::default());
    place.open().keep(&name("a"), &compiled(&engine));
    std::fs::remove_file(place.options().key).expect("removed");
    let cache = place.open();
    assert!(cache.find(&name("a")).is_none());
    assert!(files(&cache).is_empty());
}

/// An engine that says to be of this version.
fn engine_of(version: &str) -> Engine {
    let mut config = wasmtime::Config::new();
    let version = wasmtime::ModuleVersionStrategy::Custom(version.to_owned());
    config.module_version(version).expect("a short version");
    Engine::new(&config).expect("an engine")
}

/// S5
#[test]
fn a_name_tells_module_class_and_version_apart() {
    let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
    let (old, new) = (engine_of("1"), engine_of("2"));
    let names = [
        Name::new(&old, Class::Unmetered, one),
        Name::new(&old, Class::Unmetered, other),
        Name::new(&old, Class::Fuel, one),
        Name::new(&new, Class::Unmetered, one),
    ];
    let different: BTreeSet<&str> = names.iter().map(|name| name.0.as_str()).collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    let again = Name::new(&engine_of("1"), Class::Unmetered, one);
    assert_eq!(again.0, names[0].0);
}

// === its bound ===

/// S5
#[test]
fn what_was_used_least_recently_goes_first_and_strangers_stay() {
    let (place, engine) = (Place::new(), Engine::default());
    let mut cache = place.open();
    std::fs::write(cache.folder.join("a.txt"), [0; 9_000]).expect("written");
    for (text, age) in [("a", 100), ("b", 300), ("c", 200)] {
        cache.keep(&name(text), &compiled(&engine));
        let file = File::options().write(true).open(cache.path(&name(text)));
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000 - age);
        file.and_then(|file| file.set_modified(used)).expect("aged");
    }
    assert!(cache.find(&name("b")).is_some());
    let one = cache.path(&name("a")).metadata().expect("kept").len();
    cache.size = 2 * one;
    cache.keep(&name("d"), &compiled(&engine));
    assert_eq!(files(&cache), ["a.txt", "b.stem-code", "d.stem-code"]);
}

/// S5
#[test]
fn code_larger_than_the_whole_folder_may_be_is_not_kept() {
    let (place, engine) = (Place::new(), Engine::default());
    let mut cache = place.open();
    cache.size = 100;
    cache.keep(&name("a"), &compiled(&engine));
    assert!(files(&cache).is_empty());
}

// === whose it is ===

/// S5
#[test]
fn the_folder_is_made_for_its_owner_alone() {
    let place = Place::new();
    place.open();
    let mode = |path: &Path| path.metadata().expect("made").mode() & 0o777;
    assert_eq!(mode(&place.options().folder), 0o700);
    place.set_mode(0o755);
    place.open();
}

/// S5
#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let place = Place::new();
    place.open();
    for mode in [0o770, 0o702] {
        place.set_mode(mode);
        let refusal = place.refusal();
        assert!(refusal.contains("others may write to it"), "{refusal}");
    }
}

/// S5
#[test]
fn a_folder_of_somebody_else_is_refused() {
    let place = Place::new();
    place.open();
    let mut options = place.options();
    let is_root = rustix::process::geteuid().is_root();
    match is_root {
        // Root's own folders are all that others would be refused; root needs one that is not its own.
        true => std::os::unix::fs::chown(&options.folder, Some(12_345), None).expect("given away"),
        false => options.folder = "/".into(),
    }
    let refusal = Cache::open(&options).err().expect("refused").to_string();
    assert!(refusal.contains("belongs to another user"), "{refusal}");
}

/// S5
#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let place = Place::new();
    std::fs::write(place.0.path().join("cache"), "a file").expect("written");
    let refusal = place.refusal();
    assert!(refusal.contains("create the folder"), "{refusal}");
}

// === turns ===

/// S5
#[test]
fn a_turn_is_waited_for_but_not_for_ever() {
    let place = Place::new();
    let (cache, soon) = (place.open(), Duration::from_millis(20));
    let turn = cache.turn(&name("a"), soon).expect("nobody has it");
    assert!(place.open().turn(&name("a"), soon).is_none());
    assert!(cache.turn(&name("b"), soon).is_some());
    std::thread::scope(|scope| {
        let next = scope.spawn(|| cache.turn(&name("a"), Duration::from_secs(60)));
        drop(turn);
        assert!(next.join().expect("no panic").is_some());
    });
}
