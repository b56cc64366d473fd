//! A module that is made to do harm, or that was damaged on its way, is refused in bounded time and memory, or runs and
//! harms nobody.

#[path = "../../host/sandbox/tests/sandbox/common/hostile.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod wat;

use std::time::Duration;

use serde_json::json;
use stem_tests::arena::Arena;
use stem_tests::host::{TestHost, text};
use wat::Hostile;

/// What `deploy` may take to refuse a module: 5 s of that are for one that does not end, and the memory is less than the
/// largest of these modules has.
const REFUSED_IN: Duration = Duration::from_secs(30);
const REFUSED_WITH: u64 = 96 << 20;

/// A module that is refused when it is deployed, with these words, in bounded time and memory.
fn assert_refused(module: &[u8], said: &str) {
    let host = TestHost::new();
    let file = host.write("hostile.wasm", module);
    let (answer, cost) = host.run_measured(&["deploy", &file]);
    answer.assert(5, said);
    assert!(answer.stderr.len() < 4 << 10, "{answer:?}");
    assert!(cost.wall < REFUSED_IN, "{cost:?}");
    assert!(cost.peak_bytes < REFUSED_WITH, "{cost:?}");
}

// === what is never deployed ===

/// M1: described within limits of its own.
#[test]
fn a_module_whose_start_function_loops_is_refused() {
    let items = r#"(memory (export "memory") 2) (func $start (loop (br 0))) (start $start)"#;
    let module = Hostile::default().with_items(items).component();
    assert_refused(&module, "hard time limit of 5s");
}

/// M1: in one core module, and as many as the engine would take.
#[test]
fn a_module_of_a_thousand_tables_is_refused() {
    let thousand = "(table 1 funcref)".repeat(1_000);
    let module = ::wat::parse_str(format!("(component (core module {thousand}))"));
    assert_refused(&module.expect("a component"), "tables count exceeds limit");
    let tables = "(table 1 funcref)".repeat(90);
    let items = format!(r#"(memory (export "memory") 2) {tables}"#);
    let module = Hostile::default().with_items(&items).component();
    assert_refused(&module, "tables");
}

/// M1
#[test]
fn a_module_of_ten_thousand_imports_is_refused() {
    let imports: String = (0..10_000)
        .map(|number| format!(r#"(import "acme:host/part{number}@1.0.0" (instance))"#))
        .collect();
    let module = ::wat::parse_str(format!("(component {imports})")).expect("a component");
    assert_refused(&module, "count exceeds limit");
}

/// M1
#[test]
fn a_module_with_a_custom_section_of_a_hundred_megabytes_is_refused() {
    let mut module = Hostile::default().component().to_vec();
    // Its length as LEB128, and a name of no letters.
    module.extend([0, 0x80, 0x80, 0x80, 0x32, 0]);
    module.resize(module.len() + (100 << 20) - 1, 0);
    assert_refused(&module, "over the limit of 64 MiB");
}

/// M1
#[test]
fn a_module_that_was_cut_off_is_refused() {
    let module = Hostile::default().component();
    assert_refused(&module[..module.len() / 2], "is damaged");
}

// === what was damaged on its way ===

/// The sound module with one bit the other way round: always the same one for a number.
fn flipped(number: usize) -> Vec<u8> {
    let mut module = Hostile::default().component().to_vec();
    let place = number.wrapping_mul(2_654_435_761) % module.len();
    module[place] ^= 1 << (number % 8);
    module
}

/// Deploys it; gives its tasks, or none where it was refused.
fn try_to_deploy(host: &TestHost, module: &[u8]) -> Vec<String> {
    let file = host.write("hostile.wasm", module);
    let answer = host.run(&["deploy", &file, "--hard", "1s", "--force", "--json"]);
    assert!([0, 5].contains(&answer.code), "{answer:?}");
    match answer.code {
        0 => answer.json()["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
        _ => Vec::new(),
    }
}

/// Deploys it and runs its tasks, to whatever end; says whether it was refused.
fn is_refused(arena: &Arena, module: &[u8]) -> bool {
    let tasks = try_to_deploy(&arena.host, module);
    let once = ["--max-attempts", "1"];
    let enqueue = |task: &String| arena.host.enqueue(task, &json!({}), &once);
    let ids: Vec<String> = tasks.iter().map(enqueue).collect();
    for id in ids {
        arena.host.outcome(&id);
    }
    tasks.is_empty()
}

/// M1, S4
#[test]
fn modules_with_flipped_bits_harm_neither_deploy_nor_a_worker_nor_neighbours() {
    let arena = Arena::new(TestHost::new(), "hostile");
    let tried = (1..=24).map(|number| is_refused(&arena, &flipped(number)));
    let (refused, deployed): (Vec<bool>, Vec<bool>) = tried.partition(|is_refused| *is_refused);
    assert!(
        deployed.len() > 2 && refused.len() > 2,
        "{deployed:?} {refused:?}"
    );
    arena.assert_neighbours_finish();
    arena.assert_memory_is_given_back();
}
