//! What a module must be to be deployed, and what its operator is told when it is not (M1, M4).

use std::time::Duration;

use crate::common::hostile::{Hostile, running};
use crate::common::{block_on, guest, inspect, sandbox};
use bytes::Bytes;
use stem_core::ids::Digest;
use stem_core::units::ByteSize;
use stem_sandbox::{Inspected, Overrides};

fn refused_with(module: &Bytes, policy: &str) -> String {
    let overrides = Overrides::parse(policy).expect("a good policy");
    let inspected = block_on(async { sandbox(2).inspect(module, &overrides).await });
    let error = inspected.expect_err("refused");
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn refused(module: &Bytes) -> String {
    refused_with(module, "")
}

#[track_caller]
fn assert_says(message: &str, expected: &[&str]) {
    for part in expected {
        assert!(message.contains(part), "{message}");
    }
}

fn accepted(module: &Bytes, policy: &str) -> Inspected {
    let overrides = Overrides::parse(policy).expect("a good policy");
    let inspected = block_on(async { sandbox(2).inspect(module, &overrides).await });
    inspected.expect("accepted")
}

// === what is accepted ===

/// M1, M4
#[test]
fn a_module_is_deployed_with_its_own_defaults_and_its_operators_settings() {
    let module = guest("word_count");
    let policy = "name = \"texts\"\n[defaults]\nmemory-limit = \"32MiB\"\n[tasks.word-count]\nmax-attempts = 7";
    let inspected = accepted(&module, policy);
    assert_eq!(inspected.digest, Digest::of(&module));
    assert_eq!(inspected.name.expect("it is named").as_str(), "texts");
    let task = &inspected.tasks[0];
    assert_eq!(
        (task.name.as_str(), inspected.tasks.len()),
        ("word-count", 1)
    );
    assert!(
        task.description
            .starts_with("Counts how often each word occurs")
    );
    assert!(
        task.payload_schema
            .as_ref()
            .is_some_and(|schema| schema.contains("\"text\""))
    );
    assert_eq!(task.policy.limits.hard_time, Duration::from_secs(10));
    assert_eq!(task.policy.limits.memory, ByteSize::mib(32));
    assert_eq!(task.policy.max_attempts, 7);
}

/// S3
#[test]
fn a_deployment_that_allows_much_memory_is_told_what_that_means() {
    let inspected = block_on(async {
        let settings = [("memory-limit", "257MiB"), ("soft-time-limit", "60s")];
        inspect(&sandbox(2), &Hostile::default().component(), &settings).await
    });
    let warnings = &inspected.warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_says(
        &warnings[0],
        &["`hostile` may use 257 MiB", "hard time limit"],
    );
    assert_says(&warnings[1], &["`hostile` is never asked to stop"]);
}

// === what is no module of ours ===

/// M1
#[test]
fn a_file_that_is_no_component_is_refused_with_what_to_do() {
    let core = wat::parse_str("(module)").expect("a module");
    assert_says(
        &refused(&core.into()),
        &["core WebAssembly module, not a component: build it for wasm32-wasip2"],
    );
    assert_says(
        &refused(&Bytes::from_static(b"(component)")),
        &["no WebAssembly: deploy the .wasm file"],
    );
    assert_says(&refused(&Bytes::new()), &["no WebAssembly"]);
    let mut cut = guest("noop");
    cut.truncate(20_000);
    assert_says(&refused(&cut), &["the component is damaged"]);
}

/// S5
#[test]
fn a_precompiled_file_is_refused() {
    let engine = wasmtime::Engine::default();
    let compiled = engine
        .precompile_component(b"(component)")
        .expect("compiled");
    assert_says(
        &refused(&compiled.into()),
        &["compiled to native code already"],
    );
}

/// M1
#[test]
fn a_module_that_is_too_large_is_refused_before_it_is_compiled() {
    let mut large = guest("noop").to_vec();
    large.resize(65 << 20, 0);
    assert_says(
        &refused(&large.into()),
        &["65 MiB, over the limit of 64 MiB"],
    );
}

/// M1
#[test]
fn a_component_without_the_handler_is_refused() {
    let empty = |text: &str| wat::parse_str(text).expect("a component").into();
    assert_says(
        &refused(&empty("(component)")),
        &["does not export `stem:task/handler`", "stem-host new"],
    );
    let command = r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    assert_says(&refused(&empty(command)), &["is a command"]);
    let other = r#"(component (instance $i) (export "stem:task/handler@0.9.0" (instance $i)))"#;
    assert_says(
        &refused(&empty(other)),
        &["`stem:task/handler@0.9.0`", "`stem:task/handler@0.1.0`"],
    );
    let hollow = r#"(component (instance $i) (export "stem:task/handler@0.1.0" (instance $i)))"#;
    assert_says(
        &refused(&empty(hollow)),
        &["in a shape that this host does not know", "describe"],
    );
}

// === imports ===

fn importing(name: &str) -> String {
    let (package, rest) = name.split_once('/').expect("a full name");
    let (interface, version) = rest.split_once('@').expect("a full name");
    let wit = format!("package {package}@{version} {{ interface {interface} {{ go: func(); }} }}");
    let import = format!(r#"(import "{name}" "go" (func $go))"#);
    let module = running("(call $go) (global.get $ok)");
    refused(
        &module
            .importing(&format!("import {name};"), &wit, &import)
            .component(),
    )
}

/// S2, M1
#[test]
fn an_import_is_refused_by_name_and_says_why() {
    for name in [
        "wasi:http/outgoing-handler@0.2.0",
        "wasi:config/store@0.2.0-rc.1",
        "wasi:keyvalue/store@0.2.0-draft",
    ] {
        assert_says(
            &importing(name),
            &[&format!("imports `{name}`, which is not granted")],
        );
    }
    assert_says(
        &importing("acme:metrics/counter@1.0.0"),
        &["`acme:metrics/counter@1.0.0`, which this host does not provide"],
    );
    assert_says(
        &importing("wasi:io/poll@0.3.0"),
        &["`wasi:io/poll@0.3.0`, a version that"],
    );
    assert_says(
        &importing("wasi:cli/environment@0.2.0"),
        &["in a shape that this host does not know"],
    );
}

/// S2
#[test]
fn enqueueing_is_refused_until_it_can_be_granted() {
    let import =
        r#"(import "stem:task/enqueue@0.1.0" "submit-all" (func $submit (param i32 i32 i32)))"#;
    let module =
        running("(global.get $ok)").importing("import stem:task/enqueue@0.1.0;", "", import);
    assert_says(
        &refused(&module.component()),
        &["`stem:task/enqueue@0.1.0`, which is not granted"],
    );
}

// === limits ===

/// M1
#[test]
fn a_module_that_starts_with_more_memory_than_its_limit_is_refused() {
    let large = Hostile::default()
        .with_items(r#"(memory (export "memory") 1600)"#)
        .component();
    assert_says(
        &refused(&large),
        &[
            "starts with 100 MiB of memory",
            "raise `memory-limit` in stem.toml or deploy it with --memory",
        ],
    );
    let policy = "[defaults]\nmemory-limit = \"128MiB\"";
    assert_eq!(accepted(&large, policy).tasks.len(), 1);
    let own = "[defaults]\nmemory-limit = \"128MiB\"\n[tasks.hostile]\nmemory-limit = \"99MiB\"";
    assert_says(&refused_with(&large, own), &["over the limit of `hostile`"]);
}

/// M1
#[test]
fn a_module_whose_memories_together_start_over_its_limit_is_refused() {
    let memories = r#"(memory (export "memory") 480) (memory 480) (memory 480)"#;
    let three = Hostile::default().with_items(memories).component();
    assert_says(&refused(&three), &["with 90 MiB of memory", "of `hostile`"]);
    let policy = "[defaults]\nmemory-limit = \"91MiB\"";
    assert_eq!(accepted(&three, policy).tasks.len(), 1);
}

/// M1
#[test]
fn a_module_of_too_many_memories_is_refused() {
    let memories = format!(r#"(memory (export "memory") 2) {}"#, "(memory 1)".repeat(4));
    let module = Hostile::default().with_items(&memories).component();
    assert_says(&refused(&module), &["5 memories", "limit", "4"]);
}

// === what it says about its tasks ===

/// M1
#[test]
fn a_module_that_cannot_describe_its_tasks_is_refused_with_what_happened() {
    let trapping = Hostile {
        describe: "unreachable".to_owned(),
        ..Hostile::default()
    };
    assert_says(
        &refused(&trapping.component()),
        &["does not describe its tasks: the task trapped: wasm `unreachable`"],
    );
    let none = Hostile {
        describe: "(i32.store offset=4 (global.get $tasks) (i32.const 0)) (global.get $tasks)"
            .to_owned(),
        ..Hostile::default()
    };
    assert_says(&refused(&none.component()), &["describes no task"]);
}

/// E5, M1
#[test]
fn a_task_under_a_name_that_cannot_be_is_refused() {
    let module = Hostile {
        name: "two words".to_owned(),
        ..Hostile::default()
    };
    assert_says(
        &refused(&module.component()),
        &["rename the task", "`two words` is no task name"],
    );
    let twice = r#"
        (memory.copy (i32.const 1080) (i32.const 1032) (i32.const 48))
        (i32.store offset=4 (global.get $tasks) (i32.const 2)) (global.get $tasks)"#;
    let module = Hostile {
        describe: twice.to_owned(),
        ..Hostile::default()
    };
    assert_says(
        &refused(&module.component()),
        &["describes `hostile` twice"],
    );
}

/// A descriptor whose words at these places of its 48 bytes are the string at 2048, which the task's name gives.
fn describing(name: &str, places: &[u32]) -> Bytes {
    let words = places.iter().map(|place| {
        let (at, length) = (1032 + place, name.len());
        format!("(i32.store (i32.const {at}) (i32.const 2048)) (i32.store offset=4 (i32.const {at}) (i32.const {length}))")
    });
    let words: String = words.collect();
    let some = "(i32.store8 (i32.const 1048) (i32.const 1))";
    let short = "(i32.store offset=4 (i32.const 1032) (i32.const 1))";
    let describe = format!("{some} {words} {short} (global.get $tasks)");
    Hostile {
        name: name.to_owned(),
        describe,
        ..Hostile::default()
    }
    .component()
}

/// M1
#[test]
fn a_schema_that_is_none_is_refused() {
    let schema = accepted(&describing("true", &[20]), "")
        .tasks
        .remove(0)
        .payload_schema;
    assert_eq!(schema.as_deref(), Some("true"));
    let words = ["the payload schema of `n` cannot be used as JSON Schema"];
    assert_says(&refused(&describing("nonsense", &[20])), &words);
}

/// A module with this default of its own, and these items.
fn defaulting(key: &str, value: &str, items: &str) -> Bytes {
    let list = [8300, key.len(), 8300 + key.len(), value.len()];
    let words = list.iter().enumerate().map(|(index, word)| {
        let at = 8192 + 4 * index;
        format!("(i32.store (i32.const {at}) (i32.const {word}))")
    });
    let words: String = words.collect();
    let list =
        "(i32.store (i32.const 1072) (i32.const 8192)) (i32.store (i32.const 1076) (i32.const 1))";
    Hostile {
        items: format!("{items} (data (i32.const 8300) \"{key}{value}\")"),
        describe: format!("{words} {list} (global.get $tasks)"),
        ..Hostile::default()
    }
    .component()
}

const SMALL: &str = r#"(memory (export "memory") 2)"#;

/// S3: who writes a module need not be who pays for the machine.
#[test]
fn a_module_does_not_set_its_own_limits_as_high_as_it_likes() {
    for (key, value, remedy) in [
        ("log-limit", "1024GiB", "set `log-limit` in stem.toml"),
        ("output-limit", "1GiB", "set `output-limit` in stem.toml"),
        ("memory-limit", "300MiB", "deploy it with --memory, or set"),
    ] {
        let module = defaulting(key, value, SMALL);
        assert_says(&refused(&module), &[key, "for `hostile`", remedy]);
        let policy = format!("[defaults]\n{key} = \"{value}\"");
        accepted(&module, &policy);
    }
    let modest = accepted(&defaulting("log-limit", "1MiB", SMALL), "");
    assert_eq!(modest.tasks[0].policy.limits.log, ByteSize::mib(1));
}

/// M1: a module that asks for the memory that it needs is described with it.
#[test]
fn a_module_may_start_with_as_much_memory_as_its_own_default_allows() {
    let large = r#"(memory (export "memory") 1600)"#;
    accepted(&defaulting("memory-limit", "128MiB", large), "");
    let message = refused(&defaulting("memory-limit", "90MiB", large));
    assert_says(&message, &["over the limit of `hostile`"]);
}

/// M4
#[test]
fn a_section_for_a_task_that_is_not_there_is_refused() {
    let message = refused_with(&guest("word_count"), "[tasks.word-cuont]\npriority = 1");
    assert_says(
        &message,
        &["a section for `word-cuont`", "did you mean `word-count`?"],
    );
}
