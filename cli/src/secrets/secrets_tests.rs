//! Secrets of a machine: which source wins, what a directory of them must be like, and that none is shown.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A directory with these secrets, each its owner's alone.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    set_mode(folder.path(), 0o700);
    for (name, value) in files {
        put(&folder.path().join(name), value);
    }
    folder
}

fn put(path: &Path, value: &str) {
    fs::write(path, value).expect("written");
    set_mode(path, 0o600);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("allowed");
}

fn settings(folder: &TempDir) -> SecretSettings {
    SecretSettings {
        directory: Some(folder.path().to_owned()),
        ..SecretSettings::default()
    }
}

fn name(name: &str) -> SecretName {
    SecretName::new(name).expect("a name")
}

fn value(source: &Arc<dyn Secrets>, wanted: &str) -> Option<String> {
    let value = source.value(&name(wanted)).expect("readable");
    value.map(|value| value.reveal().to_owned())
}

/// What opening says of a directory; nothing where it is taken.
fn problem(folder: &TempDir) -> Option<String> {
    open(&settings(folder))
        .err()
        .map(|error| format!("{error:#}"))
}

#[track_caller]
fn assert_refused(folder: &TempDir, said: &str) {
    let problem = problem(folder).expect("refused");
    assert!(problem.contains(said), "{problem}");
    assert!(!problem.contains("hunter2"), "{problem}");
}

/// M4
#[test]
fn the_environment_goes_before_the_directory() {
    let folder = directory(&[("A", "file"), ("B", "file")]);
    let mut settings = settings(&folder);
    settings.variables.insert(name("A"), Secret::new("hunter2"));
    let source = open(&settings).expect("safe");
    assert_eq!(value(&source, "A").as_deref(), Some("hunter2"));
    assert_eq!(value(&source, "B").as_deref(), Some("file"));
    assert_eq!(value(&source, "C"), None);
    assert!(!format!("{source:?}").contains("hunter2"));
}

/// M4
#[test]
fn one_line_break_at_the_end_is_none_of_the_secrets_and_an_empty_file_is_none() {
    let files = [
        ("A", "x\n"),
        ("B", "x\r\n"),
        ("C", "x\n\n"),
        ("D", " x "),
        ("E", "\n"),
    ];
    let folder = directory(&files);
    let source = open(&settings(&folder)).expect("safe");
    let values = ["A", "B", "C", "D", "E"].map(|one| value(&source, one));
    let values = values.each_ref().map(Option::as_deref);
    assert_eq!(
        values,
        [Some("x"), Some("x"), Some("x\n"), Some(" x "), None]
    );
}

/// M4
#[test]
fn a_file_that_is_replaced_written_anew_or_removed_counts_from_the_next_look() {
    let folder = directory(&[("A", "one")]);
    let (file, new) = (folder.path().join("A"), folder.path().join(".new"));
    let source = open(&settings(&folder)).expect("safe");
    put(&new, "two");
    fs::rename(&new, &file).expect("replaced");
    assert_eq!(value(&source, "A").as_deref(), Some("two"));
    put(&file, "six");
    assert_eq!(value(&source, "A").as_deref(), Some("six"));
    fs::remove_file(&file).expect("removed");
    assert_eq!(value(&source, "A"), None);
}

/// M4: as directories are kept up to date that an orchestrator mounts.
#[test]
fn a_link_within_the_directory_is_followed_and_a_swapped_folder_seen() {
    let folder = directory(&[]);
    let path = |name: &str| folder.path().join(name);
    for (generation, value) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(path(generation)).expect("made");
        put(&path(generation).join("A"), value);
    }
    symlink("..1", path("..data")).expect("linked");
    symlink("..data/A", path("A")).expect("linked");
    let source = open(&settings(&folder)).expect("safe");
    assert_eq!(value(&source, "A").as_deref(), Some("one"));
    symlink("..2", path(".next")).expect("linked");
    fs::rename(path(".next"), path("..data")).expect("swapped");
    assert_eq!(value(&source, "A").as_deref(), Some("two"));
}

/// M4
#[test]
fn a_link_out_of_the_directory_is_refused() {
    let (folder, elsewhere) = (directory(&[]), directory(&[("A", "hunter2")]));
    symlink(elsewhere.path().join("A"), folder.path().join("A")).expect("linked");
    assert_refused(&folder, "it leads out of the directory, to `");
}

/// M4
#[test]
fn what_others_can_read_or_change_is_refused() {
    for mode in [0o604, 0o640, 0o620, 0o602, 0o601] {
        let folder = directory(&[("A", "hunter2")]);
        set_mode(&folder.path().join("A"), mode);
        assert_refused(&folder, "A`: others can read or change it: `chmod 600 ");
    }
    for mode in [0o702, 0o720, 0o777] {
        let folder = directory(&[("A", "hunter2")]);
        set_mode(folder.path(), mode);
        assert_refused(&folder, "others can put files into it: `chmod 700 ");
    }
}

/// M4: also where it becomes so while the worker runs.
#[test]
fn a_file_that_others_may_read_meanwhile_is_refused_and_is_no_fault_of_the_machine() {
    let folder = directory(&[("A", "hunter2")]);
    let source = open(&settings(&folder)).expect("safe");
    set_mode(&folder.path().join("A"), 0o644);
    let error = source.value(&name("A")).expect_err("refused");
    assert!(
        !error.is_transient()
            && error
                .to_string()
                .contains("read the secret `A`: the file `")
    );
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

/// M4
#[test]
fn what_is_no_ordinary_file_or_no_text_or_too_long_is_refused() {
    let folder = directory(&[("A", &"x".repeat(65_537))]);
    assert_refused(&folder, "more than 65536 bytes");
    let folder = directory(&[]);
    fs::write(folder.path().join("A"), [0xff]).expect("written");
    set_mode(&folder.path().join("A"), 0o600);
    assert_refused(&folder, "it is no UTF-8");
    let folder = directory(&[]);
    fs::create_dir(folder.path().join("A")).expect("made");
    assert_refused(&folder, "it is no ordinary file");
    let folder = directory(&[]);
    symlink("A", folder.path().join("A")).expect("linked");
    assert_refused(&folder, "its links lead in a circle");
}

/// M4
#[test]
fn a_directory_that_is_not_there_or_is_none_is_refused() {
    let folder = directory(&[("A", "hunter2")]);
    for (path, said) in [("A", "it is no directory"), ("B", "No such file")] {
        let settings = SecretSettings {
            directory: Some(folder.path().join(path)),
            ..SecretSettings::default()
        };
        let error = open(&settings).expect_err("refused");
        assert!(format!("{error:#}").contains(said), "{error:#}");
    }
}

/// What orchestrators and editors leave there does not stop a start.
#[test]
fn files_whose_names_are_no_secrets_names_are_left_alone() {
    let folder = directory(&[("A", "x"), (".hidden", "y"), ("read-me.txt", "z")]);
    set_mode(&folder.path().join("read-me.txt"), 0o644);
    assert_eq!(problem(&folder), None);
}
