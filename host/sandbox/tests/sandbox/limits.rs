//! Every limit, crossed by a guest: the attempt ends in time and is recorded as what it was (S3, S8).

use std::sync::Arc;
use std::time::Duration;

use crate::common::hostile::{Hostile, running};
use crate::common::{
    Attempt, PATIENCE, block_on, crossed, failure, inspect, misbehave, program, result, sandbox,
};
use futures::future::join_all;
use stem_core::executor::Execution;
use stem_core::outcome::{FailureKind, Limit};

/// Runs a module written by hand.
async fn run(module: Hostile, settings: &[(&str, &str)]) -> Execution {
    let program = program(&sandbox(2), &module.component(), settings).await;
    Attempt::json("{}").run(&program).await
}

fn assert_ended_at(execution: &Execution, hard_time: Duration) {
    let (limit, allowed, used) = crossed(execution);
    assert_eq!(limit, Limit::HardTime);
    assert_eq!(u128::from(allowed), hard_time.as_millis());
    assert!(used >= allowed, "{used}");
    assert!(
        execution.usage.wall < hard_time + PATIENCE,
        "{:?}",
        execution.usage
    );
}

const SOON: Duration = Duration::from_millis(200);
const HARD: (&str, &str) = ("hard-time-limit", "200ms");

// === hard time ===

/// S3
#[test]
fn a_guest_that_loops_is_ended_at_its_hard_limit() {
    let execution = block_on(async { Attempt::fate("spin").run(&misbehave(&[HARD]).await).await });
    assert_ended_at(&execution, SOON);
    assert!(execution.usage.cpu > SOON / 10, "{:?}", execution.usage);
}

/// S3
#[test]
fn a_guest_that_waits_inside_the_host_is_ended_at_its_hard_limit() {
    let sleeping = || Attempt::json(r#"{"fate":"sleep","ms":600000}"#);
    let execution = block_on(async { sleeping().run(&misbehave(&[HARD]).await).await });
    assert_ended_at(&execution, SOON);
    assert!(execution.usage.cpu < SOON, "{:?}", execution.usage);
}

/// S3
#[test]
fn a_start_function_that_loops_is_ended_at_its_hard_limit() {
    let items = r#"(memory (export "memory") 2) (func $start (loop (br 0))) (start $start)"#;
    let module = Hostile::default().with_items(items).component();
    let execution = block_on(async {
        // No such module can be deployed, since it cannot be described: another one lends its task.
        let sandbox = sandbox(2);
        let lent = inspect(&sandbox, &Hostile::default().component(), &[HARD]).await;
        let program = sandbox
            .program(&module, lent.tasks[0].clone(), &lent.grants)
            .await;
        Attempt::json("{}")
            .run(&program.expect("it compiles"))
            .await
    });
    assert_ended_at(&execution, SOON);
}

/// S3
#[test]
fn a_guest_that_grows_its_memory_by_nothing_for_ever_is_ended_at_its_hard_limit() {
    let module = running("(loop (drop (memory.grow (i32.const 0))) (br 0)) (unreachable)");
    assert_ended_at(&block_on(run(module, &[HARD])), SOON);
}

/// S3
#[test]
fn a_guest_that_fills_its_memory_again_and_again_is_ended_at_its_hard_limit() {
    let fill = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 66977792))";
    let grow = "(drop (memory.grow (i32.const 1021)))";
    let module = running(&format!("{grow} (loop {fill} (br 0)) (unreachable)"));
    assert_ended_at(
        &block_on(run(module, &[HARD, ("memory-limit", "65MiB")])),
        SOON,
    );
}

// === processor time ===

const CPU: (&str, &str) = ("cpu-time-limit", "200ms");

/// S3
#[test]
fn a_guest_that_loops_is_ended_when_its_processor_time_is_used_up() {
    let execution = block_on(async { Attempt::fate("spin").run(&misbehave(&[CPU]).await).await });
    let (limit, allowed, used) = crossed(&execution);
    assert_eq!((limit, allowed), (Limit::CpuTime, 200));
    assert!(used >= allowed && u128::from(used) <= execution.usage.cpu.as_millis());
    assert!(
        execution.usage.cpu < SOON + PATIENCE,
        "{:?}",
        execution.usage
    );
}

/// S3
#[test]
fn a_guest_that_waits_uses_no_processor_time() {
    let sleeping = Attempt::json(r#"{"fate":"sleep","ms":300}"#);
    let execution = block_on(async { sleeping.run(&misbehave(&[CPU]).await).await });
    assert!(result(&execution).contains("attempt"));
    assert!(execution.usage.wall > SOON && execution.usage.cpu < SOON);
}

/// S3: guests that share one thread take turns, and each is charged for its own.
#[test]
fn a_guest_is_not_charged_for_the_processor_time_of_its_neighbours() {
    let ended = block_on(async {
        let misbehave = misbehave(&[CPU]).await;
        join_all((0..4).map(|_| Attempt::fate("spin").run(&misbehave))).await
    });
    for execution in ended {
        assert_eq!(crossed(&execution).0, Limit::CpuTime);
        assert!(execution.usage.wall > SOON * 2, "{:?}", execution.usage);
    }
}

// === memory ===

/// S3
#[test]
fn a_guest_that_takes_memory_without_end_is_recorded_as_that() {
    let execution = block_on(async { Attempt::fate("hog").run(&misbehave(&[]).await).await });
    let (limit, allowed, used) = crossed(&execution);
    assert_eq!((limit, allowed), (Limit::Memory, 64 << 20));
    assert!(used > allowed && used < 128 << 20, "{used}");
    let peak = execution.usage.peak_memory_bytes;
    assert!(peak > 32 << 20 && peak <= allowed, "{peak}");
}

const TWO_MEMORIES: &str = r#"(memory (export "memory") 2) (memory $other 1)"#;

/// S3
#[test]
fn memories_count_together() {
    let grow = "(drop (memory.grow 0 (i32.const 500))) (drop (memory.grow $other (i32.const 500)))";
    let module = || running(&format!("{grow} (global.get $ok)")).with_items(TWO_MEMORIES);
    let (limit, allowed, used) = crossed(&block_on(run(module(), &[("memory-limit", "60MiB")])));
    assert_eq!((limit, allowed), (Limit::Memory, 60 << 20));
    assert_eq!(used, (2 + 1 + 500 + 500) * 65_536);
    let fits = block_on(run(module(), &[("memory-limit", "63MiB")]));
    assert_eq!(result(&fits), "ok");
    assert_eq!(fits.usage.peak_memory_bytes, used);
}

/// S3
#[test]
fn as_many_memories_and_tables_as_a_module_may_have_are_there_for_every_attempt_at_once() {
    let memories = r#"(memory (export "memory") 2) (memory 1) (memory 1) (memory 1)"#;
    let tables = "(table 1 funcref)".repeat(20);
    let module = running("(loop (br 0)) (unreachable)").with_items(&format!("{memories}{tables}"));
    block_on(async {
        let program = program(&sandbox(2), &module.component(), &[HARD]).await;
        let attempts = (0..10).map(|_| Attempt::json("{}"));
        let all = attempts.map(|attempt| async { attempt.run(&program).await });
        for execution in join_all(all).await {
            assert_ended_at(&execution, SOON);
        }
    });
}

/// S3
#[test]
fn tables_count_as_memory() {
    let table = r#"(memory (export "memory") 2) (table $table 0 funcref)"#;
    let grow =
        "(loop (drop (table.grow $table (ref.null func) (i32.const 1000))) (br 0)) (unreachable)";
    let module = running(grow).with_items(table);
    let (limit, allowed, used) = crossed(&block_on(run(module, &[("memory-limit", "200KiB")])));
    assert_eq!((limit, allowed), (Limit::Memory, 200 << 10));
    assert_eq!(used, 2 * 65_536 + 10 * 8_000);
}

/// S3
#[test]
fn a_guest_may_ask_for_more_than_its_own_maximum_and_is_told_no() {
    let module = running("(if (i32.ne (memory.grow (i32.const 9)) (i32.const -1)) (then unreachable)) (global.get $ok)")
        .with_items(r#"(memory (export "memory") 2 3)"#);
    let execution = block_on(run(module, &[]));
    assert_eq!(result(&execution), "ok");
    assert_eq!(execution.usage.peak_memory_bytes, 2 * 65_536);
}

/// S3
#[test]
fn an_envelope_that_asks_for_less_memory_than_the_module_starts_with_fails_at_its_limit() {
    let execution = block_on(async {
        let program = misbehave(&[]).await;
        let mut limits = program.task().policy.limits.clone();
        limits.memory = "1KiB".parse().expect("a size");
        Attempt::fate("succeed").run_within(&program, limits).await
    });
    assert_eq!(crossed(&execution).0, Limit::Memory);
}

// === fuel ===

/// S3, S8
#[test]
fn a_guest_that_uses_up_its_fuel_is_recorded_as_that() {
    let fuel = [("fuel-limit", "10000000")];
    let execution = block_on(async { Attempt::fate("spin").run(&misbehave(&fuel).await).await });
    assert_eq!(crossed(&execution), (Limit::Fuel, 10_000_000, 10_000_000));
    assert_eq!(execution.usage.fuel, Some(10_000_000));
}

/// S8
#[test]
fn fuel_is_the_same_for_the_same_work_and_counted_only_where_it_is_limited() {
    let module = || {
        running(
            "(local $n i32) (loop (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000)))) (global.get $ok)",
        )
    };
    let fuel = || {
        block_on(run(module(), &[("fuel-limit", "1000000")]))
            .usage
            .fuel
    };
    let used = fuel().expect("it is limited");
    assert!((7_000..20_000).contains(&used), "{used}");
    assert_eq!(fuel(), Some(used));
    assert_eq!(block_on(run(module(), &[])).usage.fuel, None);
}

// === stack ===

/// S3
#[test]
fn a_guest_that_recurses_without_end_is_recorded_as_that() {
    let items = r#"(memory (export "memory") 2) (func $deeper (call $deeper))"#;
    let execution = block_on(run(
        running("(call $deeper) (global.get $ok)").with_items(items),
        &[],
    ));
    assert_eq!(crossed(&execution), (Limit::Stack, 512 << 10, 512 << 10));
}

// === output and log ===

/// S3
#[test]
fn a_result_over_its_limit_is_recorded_as_that() {
    let big = || Attempt::json(r#"{"fate":"big-output","bytes":2000000}"#);
    let execution = block_on(async { big().run(&misbehave(&[]).await).await });
    assert_eq!(crossed(&execution), (Limit::Output, 1 << 20, 2_000_000));
    let wider = [("output-limit", "2MiB")];
    let execution = block_on(async { big().run(&misbehave(&wider).await).await });
    assert_eq!(result(&execution).len(), 2_000_000);
}

/// S3: a result that is longer than the host is willing to copy at all.
#[test]
fn a_huge_result_is_not_even_copied() {
    let long = "(drop (memory.grow (i32.const 800))) (i32.store (i32.const 4116) (i32.const 50000000)) (global.get $ok)";
    let execution = block_on(run(running(long), &[]));
    let (limit, allowed, used) = crossed(&execution);
    assert_eq!(limit, Limit::Output);
    assert_eq!(allowed, 1 << 20);
    assert!(used > 17 << 20, "{used}");
}

/// S7
#[test]
fn a_flood_of_output_is_cut_and_counted_and_harms_nobody() {
    let execution = block_on(async { Attempt::fate("flood").run(&misbehave(&[]).await).await });
    assert!(result(&execution).contains("attempt"));
    let kept: usize = execution.log.iter().map(|line| line.message.len()).sum();
    assert!(kept > 30 << 10 && kept <= 64 << 10, "{kept}");
    assert!(execution.log_dropped > 100_000, "{}", execution.log_dropped);
}

// === what the host holds ===

const LOG: &str =
    r#"(import "stem:task/log@0.1.0" "emit" (func $emit (param i32 i32 i32 i32 i32)))"#;

/// S3
#[test]
fn a_call_that_gives_the_host_too_much_ends_the_guest() {
    let emit = "(drop (memory.grow (i32.const 400))) (call $emit (i32.const 2) (i32.const 0) (i32.const 20000000) (i32.const 0) (i32.const 0)) (global.get $ok)";
    let module = running(emit).importing("", "", LOG);
    let execution = block_on(run(module, &[]));
    let (limit, allowed, _) = crossed(&execution);
    assert_eq!((limit, allowed), (Limit::HostResources, 17 << 20));
}

/// S3
#[test]
fn a_guest_that_hoards_handles_is_recorded_as_that() {
    let packages = "package wasi:io@0.2.0 { interface streams { resource output-stream; } }
        package wasi:cli@0.2.0 { interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; } }";
    let import = r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))"#;
    let module = running("(loop (drop (call $stdout)) (br 0)) (unreachable)").importing(
        "import wasi:cli/stdout@0.2.0;",
        packages,
        import,
    );
    let (limit, allowed, used) = crossed(&block_on(run(module, &[])));
    assert_eq!((limit, allowed, used), (Limit::HostResources, 4_096, 4_097));
}

/// S3
#[test]
fn a_guest_that_asks_for_too_many_random_bytes_is_recorded_as_that() {
    let run_with = |bytes: u32| {
        let package = "package wasi:random@0.2.0 { interface random { get-random-bytes: func(len: u64) -> list<u8>; } }";
        let import = r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))"#;
        let ask = format!(
            "(drop (memory.grow (i32.const 32))) (call $random (i64.const {bytes}) (i32.const 8192)) (global.get $ok)"
        );
        let world = "import wasi:random/random@0.2.0;";
        block_on(run(running(&ask).importing(world, package, import), &[]))
    };
    assert_eq!(result(&run_with(1 << 20)), "ok");
    let over = crossed(&run_with(2_000_000));
    assert_eq!(over, (Limit::HostResources, 1 << 20, 2_000_000));
}

/// `wasi:io/poll`, and a timer to wait for.
fn waiting_for(timers: usize) -> Hostile {
    let packages = "package wasi:io@0.2.0 { interface poll { resource pollable; poll: func(in: list<borrow<pollable>>) -> list<u32>; } }
        package wasi:clocks@0.2.0 { interface monotonic-clock { use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; } }";
    let imports = r#"(import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))
        (import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $timer (param i64) (result i32)))"#;
    let list = format!(
        "(local $n i32) (local $timer i32) (local.set $timer (call $timer (i64.const 1)))
        (loop (i32.store (i32.add (i32.const 8192) (i32.shl (local.get $n) (i32.const 2))) (local.get $timer))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $n) (i32.const {timers}))))
        (call $poll (i32.const 8192) (i32.const {timers}) (i32.const 6144)) (global.get $ok)"
    );
    let interfaces = "import wasi:io/poll@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;";
    running(&list).importing(interfaces, packages, imports)
}

/// S3: what it waits for at one time are its calls in flight, also where it names one thing many times.
#[test]
fn a_guest_with_too_many_calls_in_flight_is_recorded_as_that() {
    let execution = block_on(run(waiting_for(1_025), &[]));
    assert_eq!(crossed(&execution), (Limit::HostCalls, 1_024, 1_025));
    let execution = block_on(run(waiting_for(1_024), &[]));
    assert_eq!(result(&execution), "ok");
}

// === what is counted ===

/// S8
#[test]
fn every_call_of_the_host_is_counted() {
    assert_eq!(block_on(run(Hostile::default(), &[])).usage.host_calls, 0);
    assert_eq!(block_on(run(waiting_for(3), &[])).usage.host_calls, 2);
    let emit = "(call $emit (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
    let module = running(&format!("{emit} {emit} {emit} (global.get $ok)"));
    let usage = block_on(run(module.importing("", "", LOG), &[])).usage;
    assert_eq!((usage.host_calls, usage.bytes_out), (3, 0));
}

/// S8
#[test]
fn a_checkpoint_that_is_saved_has_left_the_sandbox() {
    let attempt = Attempt::fate("checkpoint");
    let kept = Arc::clone(&attempt.context);
    let execution = block_on(async { attempt.run(&misbehave(&[]).await).await });
    let saved = kept.checkpoint.lock().expect("not poisoned").clone();
    let saved = saved.expect("it was saved").body.len();
    assert_eq!(execution.usage.bytes_out, saved as u64);
    assert!(execution.usage.host_calls >= 2, "{:?}", execution.usage);
}

// === what a failure says ===

/// S4
#[test]
fn a_failure_says_what_was_allowed_in_words() {
    let execution = block_on(async { Attempt::fate("hog").run(&misbehave(&[]).await).await });
    let message = &failure(&execution).message;
    assert!(
        message.starts_with("the task asked for 6")
            && message.ends_with("over its limit of 64 MiB"),
        "{message}"
    );
    assert!(matches!(
        failure(&execution).kind,
        FailureKind::Limit { .. }
    ));
}
