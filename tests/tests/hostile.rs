//! A guest that does its worst is recorded as what it is, while its neighbours succeed, and the worker's memory is given
//! back.

#[path = "../../host/sandbox/tests/common/hostile.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod wat;

use serde_json::{Value, json};
use stem_tests::arena::{Arena, assert_all_failed};
use stem_tests::host::TestHost;
use wat::{Hostile, enqueueing, running};

/// Runs guests of one fate among a hundred neighbours on one worker, and gives how they ended.
fn amid_neighbours(fate: &Value) -> Vec<Value> {
    let host = TestHost::new();
    host.deploy("misbehave", &["--hard", "1s", "--memory", "32MiB"]);
    Arena::new(host, "misbehave").run(fate)
}

/// The same with a guest written by hand, and these flags of `deploy`.
fn written(module: &Hostile, flags: &[&str]) -> Vec<Value> {
    let host = TestHost::new();
    let file = host.write("hostile.wasm", module.component());
    host.json(&[&["deploy", file.as_str()], flags].concat());
    Arena::new(host, "hostile").run(&json!({}))
}

/// A module that is refused when it is deployed, with these words, while a worker runs and serves others.
fn assert_refused(module: &[u8], said: &str) {
    let host = TestHost::new();
    let file = host.write("hostile.wasm", module);
    let arena = Arena::new(host, "hostile");
    let answer = arena.host.run(&["deploy", &file]);
    answer.assert(5, said);
    assert!(answer.stderr.len() < 4 << 10, "{answer:?}");
    arena.assert_neighbours_finish();
    arena.assert_memory_is_given_back();
}

/// S3: hard time.
#[test]
fn a_guest_that_loops_for_ever_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "spin"}));
    let error = json!({"kind": "limit", "limit": "hard-time", "allowed": 1_000});
    assert_all_failed(&outcomes, &error);
}

/// S3: memory.
#[test]
fn a_guest_that_takes_memory_without_end_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "hog"}));
    let error = json!({"kind": "limit", "limit": "memory", "allowed": 32 << 20});
    assert_all_failed(&outcomes, &error);
}

/// S4
#[test]
fn a_guest_that_panics_is_recorded_as_trapped() {
    let outcomes = amid_neighbours(&json!({"fate": "trap"}));
    assert_all_failed(&outcomes, &json!({"kind": "trapped"}));
    for outcome in outcomes {
        let log = outcome["attempts"][0]["log"].to_string();
        assert!(log.contains("asked to panic"), "{outcome}");
    }
}

/// S3: stack.
#[test]
fn a_guest_that_calls_itself_without_end_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "recursion"}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "stack"}));
}

/// S7: what is not kept is counted.
#[test]
fn a_guest_that_floods_its_output_succeeds_and_its_log_is_cut() {
    for outcome in amid_neighbours(&json!({"fate": "flood", "bytes": 1 << 20})) {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        let attempt = &outcome["attempts"][0];
        let kept = attempt["log"].to_string().len();
        assert!(kept > 1_000 && kept < 1 << 20, "{kept} bytes");
        assert!(attempt["log_dropped"].as_u64() > Some(0), "{attempt}");
    }
}

/// S3: output.
#[test]
fn a_guest_that_returns_too_much_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "big-output", "bytes": 2 << 20}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "output"}));
}

/// S4
#[test]
fn a_guest_that_returns_garbage_is_recorded_as_that() {
    let outcomes = amid_neighbours(&json!({"fate": "garbage"}));
    assert_all_failed(&outcomes, &json!({"kind": "invalid-output"}));
}

/// S1: what an attempt leaves behind is not there for the next one.
#[test]
fn a_guest_that_ends_its_own_process_ends_nobody_elses() {
    let outcomes = amid_neighbours(&json!({"fate": "exit", "code": 3}));
    assert_all_failed(&outcomes, &json!({"kind": "trapped"}));
}

/// S3: processor time.
#[test]
fn a_guest_that_reads_clocks_for_ever_is_ended_when_its_processor_time_is_used_up() {
    let packages =
        "package wasi:clocks@0.2.0 { interface monotonic-clock { now: func() -> u64; } }";
    let import = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))"#;
    let module = running("(loop (drop (call $now)) (br 0)) (unreachable)").importing(
        "import wasi:clocks/monotonic-clock@0.2.0;",
        packages,
        import,
    );
    let outcomes = written(&module, &["--cpu", "100ms"]);
    let error = json!({"kind": "limit", "limit": "cpu-time", "allowed": 100});
    assert_all_failed(&outcomes, &error);
}

/// S3: hard time, while the guest sleeps in the host.
#[test]
fn a_guest_that_sleeps_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "sleep", "ms": 600_000}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "hard-time"}));
}

/// A guest that does this again and again with a timer of so many nanoseconds.
fn timing(body: &str) -> Hostile {
    let packages = "
        package wasi:io@0.2.0 { interface poll {
            resource pollable { block: func(); }
            poll: func(in: list<borrow<pollable>>) -> list<u32>;
        } }
        package wasi:clocks@0.2.0 { interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            subscribe-duration: func(when: u64) -> pollable;
        } }";
    let imports = r#"
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
        (import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))
        (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))"#;
    let run = format!("(local $timer i32) (local $n i32) (loop {body} (br 0)) (unreachable)");
    running(&run).importing(
        "import wasi:io/poll@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;",
        packages,
        imports,
    )
}

/// S3: hard time, from one short wait to the next.
#[test]
fn a_guest_that_waits_again_and_again_is_ended_at_its_limit() {
    let wait = "(local.set $timer (call $timer (i64.const 1))) (call $block (local.get $timer)) (call $drop (local.get $timer))";
    let outcomes = written(&timing(wait), &["--hard", "1s"]);
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "hard-time"}));
}

/// S3: what the host holds.
#[test]
fn a_guest_that_hoards_timers_is_recorded_as_that() {
    let hoard = "(drop (call $timer (i64.const 1000000000000)))";
    let outcomes = written(&timing(hoard), &[]);
    let error = json!({"kind": "limit", "limit": "host-resources", "allowed": 4_096});
    assert_all_failed(&outcomes, &error);
}

/// S3: host calls in flight.
#[test]
fn a_guest_that_waits_for_one_timer_a_thousand_times_over_is_recorded_as_that() {
    let list = "(local.set $timer (call $timer (i64.const 1))) (local.set $n (i32.const 8192))
        (loop (i32.store (local.get $n) (local.get $timer))
            (local.set $n (i32.add (local.get $n) (i32.const 4)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const 16384))))";
    let wait = format!("{list} (call $poll (i32.const 8192) (i32.const 2048) (i32.const 6144))");
    let outcomes = written(&timing(&wait), &[]);
    let error = json!({"kind": "limit", "limit": "host-calls", "allowed": 1_024, "used": 2_048});
    assert_all_failed(&outcomes, &error);
}

/// S3: memory, one page at a time and every page used.
#[test]
fn a_guest_that_grows_its_memory_to_the_end_is_recorded_as_that() {
    let grow = "(local $at i32) (loop
        (local.set $at (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
        (memory.fill (local.get $at) (i32.const 1) (i32.const 65536)) (br 0)) (unreachable)";
    let outcomes = written(&running(grow), &["--memory", "32MiB"]);
    let error = json!({"kind": "limit", "limit": "memory", "allowed": 32 << 20});
    assert_all_failed(&outcomes, &error);
}

const LOG: &str =
    r#"(import "stem:task/log@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))"#;

/// S7: nothing that a guest writes steers the terminal of who reads it.
#[test]
fn a_guest_that_writes_escape_sequences_has_them_shown_and_not_obeyed() {
    let items =
        r#"(memory (export "memory") 2) (data (i32.const 8192) "\1b[2J\1b]0;mine\07\0d\08")"#;
    let emit = "(call $emit (i32.const 2) (i32.const 8192) (i32.const 15) (i32.const 0) (i32.const 0)) (global.get $ok)";
    let module = running(emit).importing("", "", LOG).with_items(items);
    for outcome in written(&module, &[]) {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        let message = outcome["attempts"][0]["log"][0]["message"].as_str();
        let message = message.expect("a line");
        assert!(
            message.contains("mine") && !message.contains(char::is_control),
            "{message:?}"
        );
    }
}

/// S4: a result of brackets within brackets, open or closed.
#[test]
fn a_guest_that_returns_a_deeply_nested_result_harms_nobody_who_reads_it() {
    let items = r#"(memory (export "memory") 20) (data (i32.const 8192) "application/json")"#;
    let fill = "(memory.fill (i32.const 131072) (i32.const 0x5b) (i32.const 450000))
        (memory.fill (i32.const 581072) (i32.const 0x5d) (i32.const 450000))
        (i32.store (i32.const 4104) (i32.const 8192)) (i32.store (i32.const 4108) (i32.const 16))
        (i32.store (i32.const 4112) (i32.const 131072))";
    for (length, state) in [(450_000, "failed"), (900_000, "succeeded")] {
        let run =
            format!("{fill} (i32.store (i32.const 4116) (i32.const {length})) (global.get $ok)");
        for outcome in written(&running(&run).with_items(items), &[]) {
            assert_eq!(outcome["state"], state, "{outcome}");
        }
    }
}

/// S3: hard time, and no more children than the limit allows.
#[test]
fn a_guest_that_enqueues_for_ever_is_ended_at_its_limit() {
    let bomb = "(loop (call $ask (i32.const 0)) (call $forget) (br 0)) (unreachable)";
    let flags = ["--allow-enqueue", "word-*", "--hard", "2s"];
    let outcomes = written(&enqueueing(bomb), &flags);
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "hard-time"}));
}

/// S3: what the host holds.
#[test]
fn a_guest_that_enqueues_a_hundred_thousand_at_once_is_recorded_as_that() {
    let bomb = "(drop (memory.grow (i32.const 256)))
        (call $submit-all (i32.const 131072) (i32.const 100000) (i32.const 8704)) (global.get $ok)";
    let outcomes = written(&enqueueing(bomb), &["--allow-enqueue", "*"]);
    let error = json!({"kind": "limit", "limit": "host-resources", "allowed": 10_000});
    assert_all_failed(&outcomes, &error);
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
