//! A guest that does its worst is recorded as what it is, while its neighbours succeed, and the worker's memory is given
//! back.

#[path = "../../host/sandbox/tests/sandbox/common/hostile.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod wat;

use serde_json::{Value, json};
use stem_tests::arena::{Arena, TENANT, assert_all_failed};
use stem_tests::host::{TestHost, text};
use wat::{Hostile, enqueueing, running};

/// Runs guests of one fate amid neighbours on one worker, and gives how they ended.
fn amid_neighbours(fate: &Value) -> Vec<Value> {
    misbehaving(&["--hard", "1s", "--memory", "32MiB"], fate)
}

/// The same with these flags of `deploy`.
fn misbehaving(flags: &[&str], fate: &Value) -> Vec<Value> {
    let host = TestHost::new();
    host.deploy("misbehave", flags);
    Arena::new(host, "misbehave").run(fate)
}

/// An arena for a guest written by hand, with these flags of `deploy`.
fn arena(module: &Hostile, flags: &[&str]) -> Arena {
    arena_on(TestHost::new(), module, flags)
}

fn arena_on(host: TestHost, module: &Hostile, flags: &[&str]) -> Arena {
    let file = host.write("hostile.wasm", module.component());
    host.json(&[&["deploy", file.as_str()], flags].concat());
    Arena::new(host, "hostile")
}

/// Runs such a guest amid neighbours, and gives how its attempts ended.
fn written(module: &Hostile, flags: &[&str]) -> Vec<Value> {
    arena(module, flags).run(&json!({}))
}

/// S3: hard time.
#[test]
fn a_guest_that_loops_for_ever_is_ended_at_its_limit() {
    let outcomes = amid_neighbours(&json!({"fate": "spin"}));
    let error = json!({"kind": "limit", "limit": "hard-time", "allowed": 1_000});
    assert_all_failed(&outcomes, &error);
}

/// S3: fuel.
#[test]
fn a_guest_that_uses_up_its_fuel_is_recorded_as_that() {
    let outcomes = misbehaving(&["--fuel", "10000000"], &json!({"fate": "spin"}));
    let error =
        json!({"kind": "limit", "limit": "fuel", "allowed": 10_000_000, "used": 10_000_000});
    assert_all_failed(&outcomes, &error);
}

/// S3: soft time.
#[test]
fn a_guest_that_is_asked_to_stop_at_its_soft_limit_is_recorded_as_that() {
    let outcomes = misbehaving(&["--soft", "200ms"], &json!({"fate": "stop-when-asked"}));
    let error = json!({"kind": "limit", "limit": "soft-time", "allowed": 200});
    assert_all_failed(&outcomes, &error);
    for outcome in outcomes {
        let used = outcome["error"]["used"].as_u64();
        assert!(used >= Some(200) && used < Some(5_000), "{outcome}");
    }
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

/// S4
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

/// A guest that writes these 15 bytes, at 8192, to the log, to standard output and to standard error.
fn saying(bytes: &str) -> Hostile {
    let packages = "
        package wasi:io@0.2.0 {
            interface error { resource error; }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource output-stream {
                    blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
                }
            }
        }
        package wasi:cli@0.2.0 {
            interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
            interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }
        }";
    let interfaces = "import wasi:cli/stdout@0.2.0; import wasi:cli/stderr@0.2.0;";
    let imports = r#"
        (import "stem:task/log@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))
        (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
          (func $write (param i32 i32 i32 i32)))"#;
    let say = "(call $emit (i32.const 2) (i32.const 8192) (i32.const 15) (i32.const 0) (i32.const 0))
        (call $write (call $stdout) (i32.const 8192) (i32.const 15) (i32.const 9000))
        (call $write (call $stderr) (i32.const 8192) (i32.const 15) (i32.const 9000)) (global.get $ok)";
    let items = format!(r#"(memory (export "memory") 2) (data (i32.const 8192) "{bytes}")"#);
    running(say)
        .importing(interfaces, packages, imports)
        .with_items(&items)
}

/// S7: nothing that a guest writes steers the terminal of who reads it.
#[test]
fn a_guest_that_writes_escape_sequences_has_them_shown_and_not_obeyed() {
    let module = saying(r"\1b[2J\1b]0;mine\07\0d\08");
    for outcome in written(&module, &[]) {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        let log = outcome["attempts"][0]["log"].as_array();
        let messages = log.into_iter().flatten().map(|line| text(&line["message"]));
        let messages: Vec<String> = messages.collect();
        assert_eq!(messages.len(), 3, "{outcome}");
        for message in messages {
            assert!(message.contains("mine"), "{message:?}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
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
    let ended = |length: u32| {
        let run =
            format!("{fill} (i32.store (i32.const 4116) (i32.const {length})) (global.get $ok)");
        written(&running(&run).with_items(items), &[])
    };
    assert_all_failed(&ended(450_000), &json!({"kind": "invalid-output"}));
    for outcome in ended(900_000) {
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
    }
}

/// How many children those that misbehave have had, once all have run.
fn children(arena: &Arena) -> Value {
    let host = &arena.host;
    host.until("the children have ended", |host| host.alive() == 0);
    let by_task = host.json(&["observe", "usage", "--tenant", TENANT]);
    let mut tasks = by_task.as_array().into_iter().flatten();
    let task = tasks.find(|task| task["task"] == "word-count");
    task.expect("they have run")["attempts"].clone()
}

/// S3: hard time, and no more children than the limit allows, which are of its tenant.
#[test]
fn a_guest_that_enqueues_for_ever_is_ended_at_its_limit() {
    let bomb = "(loop (call $ask (i32.const 0)) (call $forget) (br 0)) (unreachable)";
    let host = TestHost::new();
    host.write("stem.toml", "[defaults]\nenqueue-limit = 100\n");
    let flags = ["--allow-enqueue", "word-*", "--hard", "2s"];
    let arena = arena_on(host, &enqueueing(bomb), &flags);
    let outcomes = arena.run(&json!({}));
    assert_all_failed(&outcomes, &json!({"kind": "limit", "limit": "hard-time"}));
    assert_eq!(children(&arena), 100 * outcomes.len());
}

/// S3: what the host holds.
#[test]
fn a_guest_that_enqueues_a_hundred_thousand_at_once_is_recorded_as_that() {
    let bomb = "(drop (memory.grow (i32.const 256)))
        (call $submit-all (i32.const 131072) (i32.const 100000) (i32.const 8704)) (global.get $ok)";
    let arena = arena(&enqueueing(bomb), &["--allow-enqueue", "*"]).keeping(48 << 20);
    let outcomes = arena.run(&json!({}));
    let error = json!({"kind": "limit", "limit": "host-resources", "allowed": 10_000});
    assert_all_failed(&outcomes, &error);
}
