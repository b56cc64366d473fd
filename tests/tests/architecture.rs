//! What keeps the house in order: who may depend on whom, how large things may grow, how they are called, and that
//! every promise has a test that names it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Package};
use stem_tests::measure::{Function, Source};
use stem_tests::workspace::{self, Packages};

/// What each package may depend on among the workspace's own: a package that is not listed is not allowed.
const MAY_DEPEND_ON: [(&str, &[&str]); 12] = [
    ("stem-core", &[]),
    ("stem-testkit", &["stem-core"]),
    ("stem-memory", &["stem-core"]),
    ("stem-sqlite", &["stem-core"]),
    ("stem-redis", &["stem-core"]),
    ("stem-sandbox", &["stem-core"]),
    ("stem-worker", &["stem-core"]),
    (
        "stem-host",
        &[
            "stem-core",
            "stem-memory",
            "stem-redis",
            "stem-sqlite",
            "stem-sandbox",
            "stem-worker",
        ],
    ),
    ("stem-guest-macros", &[]),
    ("stem-guest", &["stem-guest-macros"]),
    ("stem-tests", &["stem-core", "stem-redis", "stem-sqlite"]),
    ("xtask", &[]),
];

/// Crates from outside that one room alone may name.
const ONE_ROOM_ALONE: [(&str, &str); 8] = [
    ("wasmtime", "stem-sandbox"),
    ("wasmtime-wasi", "stem-sandbox"),
    ("wasmtime-wasi-http", "stem-sandbox"),
    ("wasmtime-wasi-io", "stem-sandbox"),
    ("rusqlite", "stem-sqlite"),
    ("redis", "stem-redis"),
    ("clap_complete", "stem-host"),
    ("wit-bindgen", "stem-guest"),
];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;
const USUAL_FUNCTION: usize = 25;
const MOST_PARAMETERS: usize = 4;
const DEEPEST_NESTING: usize = 3;

/// Where a size is exceeded on purpose: the file or the function, and the reason.
const EXCEPTIONS: [(&str, &str); 0] = [];

const LONGEST_TEST: usize = 15;

/// How many tests of a file are longer, where they are not shortened yet: a number here only falls.
const LONGER_TESTS: [(&str, usize); 17] = [
    ("guest-sdk/rust/macros/src/expand.rs", 1),
    ("guest-sdk/rust/macros/src/options.rs", 1),
    ("guest-sdk/rust/tests/tasks.rs", 1),
    ("host/core/src/envelope.rs", 1),
    ("host/core/src/outcome_tests.rs", 1),
    ("host/core/src/policy_tests.rs", 2),
    ("host/core/src/units.rs", 1),
    ("host/sandbox/src/overrides.rs", 1),
    ("host/sandbox/tests/sandbox/deploy.rs", 4),
    ("host/sandbox/tests/sandbox/fates.rs", 5),
    ("host/sandbox/tests/sandbox/isolation.rs", 3),
    ("host/sqlite/src/location_tests.rs", 1),
    ("host/sqlite/tests/opening.rs", 1),
    ("host/sqlite/tests/sharing.rs", 1),
    ("host/worker/src/attempt_tests.rs", 2),
    ("host/worker/tests/worker/running.rs", 7),
    ("host/worker/tests/worker/stopping.rs", 2),
];

/// Words that say nothing about a type; `Handler` is the WIT's own.
const EMPTY_WORDS: [&str; 8] = [
    "Manager", "Handler", "Util", "Common", "Helper", "Impl", "Data", "Info",
];

/// The promises that hold by now.
const PROMISES: [&str; 50] = [
    "E1", "E2", "E3", "E4", "E5", "E6", "R1", "R2", "R3", "R4", "R5", "B1", "B2", "B3", "B4", "B5",
    "B6", "B7", "B8", "B9", "B10", "B11", "B12", "B13", "B14", "B15", "B16", "W1", "W2", "W3",
    "W4", "W5", "W6", "W7", "W8", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "M1", "M2",
    "M3", "M4", "M5", "X4",
];

fn sources() -> Vec<Source> {
    let packages = Packages::load();
    packages
        .all()
        .iter()
        .flat_map(workspace::rust_files)
        .map(|path| Source::measure(&path))
        .collect()
}

/// What users run or build on: all but the specifications themselves.
fn product() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| !source.path.contains("tests/"));
    sources
}

fn functions(sources: &[Source]) -> impl Iterator<Item = (String, &Function)> {
    sources.iter().flat_map(|source| {
        let place = |function: &Function| format!("{}:{}", source.path, function.place);
        source
            .functions
            .iter()
            .map(move |function| (place(function), function))
    })
}

fn is_excepted(place: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(excepted, _)| place.starts_with(excepted))
}

fn assert_none<T: std::fmt::Debug>(found: impl IntoIterator<Item = T>, what: &str) {
    let found: Vec<T> = found.into_iter().collect();
    assert!(found.is_empty(), "{what}: {found:#?}");
}

#[test]
fn dependencies_point_down_only() {
    let may = BTreeMap::from(MAY_DEPEND_ON);
    let own = Packages::load().own_dependencies(DependencyKind::Normal);
    let is_allowed = |package: &str, on: &str| match may.get(package) {
        Some(allowed) => allowed.contains(&on),
        None => package.starts_with("example-") && on == "stem-guest",
    };
    let all = own
        .iter()
        .flat_map(|(package, on)| on.iter().map(move |on| (package, on)));
    assert_none(
        all.filter(|(package, on)| !is_allowed(package, on)),
        "not allowed",
    );
}

/// Three packages: what a person runs (or writes), a room, and the words that all share.
#[test]
fn the_longest_chain_of_own_packages_is_three() {
    fn length(package: &str, own: &BTreeMap<String, BTreeSet<String>>) -> usize {
        let below = own[package].iter().map(|on| length(on, own));
        below.max().unwrap_or(0) + 1
    }
    let own = Packages::load().own_dependencies(DependencyKind::Normal);
    let longest = own.keys().map(|package| length(package, &own)).max();
    assert_eq!(longest, Some(3));
}

#[test]
fn the_engine_and_each_database_have_one_room() {
    let packages = Packages::load();
    let all = packages.dependencies(DependencyKind::Normal);
    let named = |foreign: &str| -> Vec<&String> {
        all.iter()
            .filter(|(_, on)| on.contains(foreign))
            .map(|(name, _)| name)
            .collect()
    };
    for (foreign, room) in ONE_ROOM_ALONE {
        assert_eq!(named(foreign), [room], "{foreign}");
    }
}

#[test]
fn only_tests_depend_on_the_testkit() {
    let own = Packages::load().own_dependencies(DependencyKind::Normal);
    assert_none(
        own.iter().filter(|(_, on)| on.contains("stem-testkit")),
        "not for tests alone",
    );
}

#[test]
fn core_does_no_input_or_output_of_its_own() {
    let all = Packages::load().dependencies(DependencyKind::Normal);
    let foreign = [
        "mio", "notify", "reqwest", "redis", "rustix", "socket2", "sqlx", "wasmtime", "rusqlite",
    ];
    assert_none(
        foreign
            .iter()
            .filter(|name| all["stem-core"].contains(**name)),
        "core names",
    );
}

#[test]
fn a_file_has_at_most_400_lines() {
    let product = product();
    let long = product.iter().filter(|source| source.lines > LONGEST_FILE);
    let long = long.filter(|source| !is_excepted(&source.path));
    assert_none(long.map(|source| (&source.path, source.lines)), "too long");
}

#[test]
fn a_function_has_at_most_60_lines() {
    let product = product();
    let long = functions(&product).filter(|(_, function)| function.lines > LONGEST_FUNCTION);
    let long = long.filter(|(place, _)| !is_excepted(place));
    assert_none(
        long.map(|(place, function)| (place, function.lines)),
        "too long",
    );
}

/// Arranged by a builder, one act, asserts.
#[test]
fn the_body_of_a_test_has_at_most_15_lines() {
    let may = BTreeMap::from(LONGER_TESTS);
    let longer = |source: &Source| -> Vec<String> {
        let long = source.tests.iter().filter(|test| test.lines > LONGEST_TEST);
        let place = |test: &Function| format!("{}:{} ({})", source.path, test.place, test.lines);
        long.map(place).collect()
    };
    let sources = sources();
    let crowded = sources.iter().filter_map(|source| {
        let longer = longer(source);
        let allowed = may.get(source.path.as_str()).copied().unwrap_or(0);
        (longer.len() > allowed).then_some((allowed, longer))
    });
    assert_none(crowded, "tests that are too long, and how many may be");
}

#[test]
fn of_a_hundred_functions_95_have_at_most_25_lines() {
    let product = product();
    let all = functions(&product).count();
    let longer: Vec<String> = functions(&product)
        .filter(|(_, function)| function.lines > USUAL_FUNCTION)
        .map(|(place, function)| format!("{place} ({})", function.lines))
        .collect();
    assert!(
        longer.len() * 100 <= all * 5,
        "{} of {all}: {longer:#?}",
        longer.len()
    );
}

#[test]
fn a_function_has_at_most_4_parameters() {
    let product = product();
    let many = functions(&product).filter(|(_, function)| function.parameters > MOST_PARAMETERS);
    let many = many.filter(|(place, _)| !is_excepted(place));
    assert_none(
        many.map(|(place, function)| (place, function.parameters)),
        "too many",
    );
}

#[test]
fn a_function_nests_at_most_3_deep() {
    let product = product();
    let deep = functions(&product).filter(|(_, function)| function.nesting > DEEPEST_NESTING);
    let deep = deep.filter(|(place, _)| !is_excepted(place));
    assert_none(
        deep.map(|(place, function)| (place, function.nesting)),
        "too deep",
    );
}

#[test]
fn no_exception_outlives_its_place() {
    let product = product();
    let known = |place: &str| {
        product.iter().any(|source| source.path == place)
            || functions(&product).any(|(function, _)| function.starts_with(place))
    };
    assert_none(EXCEPTIONS.iter().filter(|(place, _)| !known(place)), "gone");
}

#[test]
fn every_file_says_what_it_answers() {
    let sources = sources();
    let silent = sources
        .iter()
        .filter(|source| !source.first_line.starts_with("//! "));
    assert_none(
        silent.map(|source| &source.path),
        "begins with something else",
    );
}

#[test]
fn no_type_has_a_word_in_its_name_that_says_nothing() {
    let product = product();
    let empty = |name: &&String| {
        words(name)
            .iter()
            .any(|word| EMPTY_WORDS.contains(&word.as_str()))
    };
    let named = product
        .iter()
        .flat_map(|source| source.types.iter().filter(empty));
    assert_none(named, "says nothing");
}

/// `sqlite::Store`, not `sqlite::SqliteStore`.
#[test]
fn no_type_repeats_the_name_of_its_crate() {
    let packages = Packages::load();
    assert_none(
        packages.all().iter().flat_map(repeating),
        "repeats its crate's name",
    );
}

fn repeating(package: &Package) -> Vec<String> {
    let room = package
        .name
        .strip_prefix("stem-")
        .unwrap_or(&package.name)
        .to_owned();
    let sources = workspace::rust_files(package);
    let types = sources.iter().flat_map(|path| Source::measure(path).types);
    types
        .filter(|name| words(name).len() > 1 && words(name)[0].to_lowercase() == room)
        .collect()
}

fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words
}

/// What is generated for guests calls the host, which is unsafe.
const MAY_BE_UNSAFE: [&str; 3] = ["guest-sdk/rust/src/", "tasks-examples/", "cli/templates/"];

/// Loading compiled code is one unsafe call: its room denies what others forbid.
const UNSAFE_ROOM: &str = "host/sandbox/src/lib.rs";
const UNSAFE_FILE: &str = "host/sandbox/src/native/mod.rs";

fn is_guest(path: &str) -> bool {
    MAY_BE_UNSAFE.iter().any(|folder| path.starts_with(folder))
}

fn is_guarded(root: &Source) -> bool {
    let guard = match root.path == UNSAFE_ROOM {
        true => "deny(unsafe_code)",
        false => "forbid(unsafe_code)",
    };
    root.attributes.iter().any(|text| text == guard)
}

#[test]
fn unsafe_code_is_forbidden_outside_of_guests() {
    let sources = product();
    let is_root = |path: &str| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let roots = sources
        .iter()
        .filter(|source| is_root(&source.path) && !is_guest(&source.path));
    let unguarded = roots.filter(|root| !is_guarded(root));
    assert_none(
        unguarded.map(|root| &root.path),
        "`#![forbid(unsafe_code)]` is missing",
    );
}

/// S5: what is denied is allowed in one place, which loads compiled code.
#[test]
fn unsafe_code_is_in_one_file() {
    let sources = product();
    let allows = |source: &&Source| {
        let text = workspace::read(&source.path);
        let opens = |word: &str| text.split(word).skip(1).any(names_unsafe);
        !is_guest(&source.path) && (opens("expect(") || opens("allow("))
    };
    let allowing: Vec<&str> = sources
        .iter()
        .filter(allows)
        .map(|source| source.path.as_str())
        .collect();
    assert_eq!(allowing, [UNSAFE_FILE]);
}

fn names_unsafe(lints: &str) -> bool {
    lints.trim_start().starts_with("unsafe_code")
}

/// W1
#[test]
fn the_life_of_a_delivery_is_one_file_that_tells_its_steps_in_order() {
    let attempt = workspace::read("host/worker/src/attempt.rs");
    let steps = ["open", "resolve", "unpack", "execute", "settle", "report"];
    let told = |(index, step): (usize, &&str)| attempt.find(&format!("//! {} {step}", index + 1));
    let places: Vec<Option<usize>> = steps.iter().enumerate().map(told).collect();
    assert!(places.iter().all(Option::is_some), "{steps:?}: {places:?}");
    assert!(places.is_sorted(), "{steps:?}: {places:?}");
}

#[test]
fn every_promise_is_named_by_a_test() {
    let specifications: Vec<String> = sources()
        .into_iter()
        .flat_map(|source| source.specifications)
        .collect();
    let named: BTreeSet<&str> = specifications
        .iter()
        .flat_map(|text| text.split(|letter: char| !letter.is_ascii_alphanumeric()))
        .collect();
    assert_none(
        PROMISES.iter().filter(|promise| !named.contains(**promise)),
        "no test names",
    );
}

/// R1
#[test]
fn the_table_of_transitions_in_the_documents_is_the_one_in_the_code() {
    let text = workspace::read("ARCHITECTURE.md");
    let (_, after) = text
        .split_once("<!-- transitions -->\n")
        .expect("its beginning is marked");
    let (table, _) = after
        .split_once("<!-- /transitions -->")
        .expect("its end is marked");
    assert_eq!(table.trim(), stem_core::state::render_transitions().trim());
}

#[test]
fn guests_are_built_from_the_contract_that_the_host_has() {
    let contract = workspace::read("wit/task.wit");
    assert_eq!(workspace::read("guest-sdk/rust/wit/task.wit"), contract);
}

/// A root such as `/src` stands in many texts that mean something else.
#[test]
fn no_text_names_a_place_on_the_machine_that_wrote_it() {
    let mut places = vec![format!("/{}/", "work"), format!("/{}/", "root")];
    if workspace::root().components().count() > 2 {
        places.push(format!("{}/", workspace::root().display()));
    }
    let names_one = |path: &std::path::PathBuf| {
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8(text).unwrap_or_default();
        places.iter().any(|place| text.contains(place.as_str()))
    };
    let naming = workspace::kept_files().into_iter().filter(names_one);
    assert_none(naming, "names a place");
}

#[test]
fn every_crate_comes_from_the_public_registry() {
    let lock = workspace::read("Cargo.lock");
    let sources = lock
        .lines()
        .filter_map(|line| line.strip_prefix("source = "));
    let foreign = sources
        .filter(|source| *source != "\"registry+https://github.com/rust-lang/crates.io-index\"");
    assert_none(foreign, "comes from elsewhere");
}

/// One sentence a line: a full stop, then another sentence on the same line, is refused.
#[test]
fn documents_have_one_sentence_a_line() {
    let is_document = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "md");
    let documents = workspace::kept_files().into_iter().filter(is_document);
    let crowded = documents.flat_map(|path| {
        let name = workspace::name_of(&path);
        let text = workspace::read(&name);
        let lines = prose(&text).filter(|line| is_crowded(line));
        lines
            .map(|line| format!("{name}: {line}"))
            .collect::<Vec<_>>()
    });
    assert_none(crowded, "more than one sentence");
}

/// The lines of a document that are sentences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let outside = text.split("```").step_by(2);
    let lines = outside.flat_map(str::lines);
    lines.filter(|line| !line.starts_with(['|', '#']))
}

/// Whether a sentence ends within the line and another begins there.
fn is_crowded(line: &str) -> bool {
    let ends =
        |before: &str| before.ends_with(|last: char| last.is_alphabetic() || "`)".contains(last));
    let begins = |after: &str| after.starts_with(char::is_uppercase);
    line.match_indices(". ")
        .any(|(at, stop)| ends(&line[..at]) && begins(&line[at + stop.len()..]))
}

#[test]
fn a_second_sentence_is_found_wherever_it_begins() {
    for crowded in [
        "One. Two.",
        "Such as e.g. this. Another.",
        "In `code`. Then.",
    ] {
        assert!(is_crowded(crowded), "{crowded}");
    }
    for single in ["One.", "Version 1. of it", "See e.g. this."] {
        assert!(!is_crowded(single), "{single}");
    }
}
