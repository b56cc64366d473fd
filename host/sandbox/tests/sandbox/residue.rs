//! Whoever has a slot after another finds nothing there of what that one wrote (S1).
//!
//! Searched is whatever a guest can read: memories, tables and globals. The native stack is none of it: no instruction
//! addresses it, locals are zero before they are set, and the stack that compilers keep for addresses lies in memory.

use std::cell::Cell;
use std::sync::Arc;

use crate::common::hostile::{Hostile, running};
use crate::common::{
    Attempt, Kept, block_on, crossed, failure, misbehave, program, result, sandbox, sandbox_with,
};
use futures::future::join_all;
use stem_core::executor::{Execution, Program};
use stem_core::outcome::{FailureKind, Limit};
use stem_core::payload::Payload;
use stem_sandbox::{Allocation, Sandbox};
use tokio::sync::Barrier;

const SLOTS: u32 = 2;
/// As many as hold slots at one time: eight are spare ones. Each has all memories and tables that a component may have,
/// and the pool has no more for each: together they hold every slot, so that each changes its module with them.
const ATTEMPTS: usize = 10;
const MEMORIES: usize = 4;
/// One more belongs to the component's imports.
const TABLES: usize = 31;
/// More than the 256 KiB that a pool clears by writing: it gives the rest back to the system.
const BYTES: usize = 9 * 65_536;
/// The same for the 64 KiB of a table.
const ENTRIES: usize = 9_000;
const WRITTEN: usize = MEMORIES * BYTES + TABLES * ENTRIES * size_of::<usize>();

// === a guest that writes and searches ===

/// Code that writes a secret to one place, and what a search says where it is found there.
type Place = (String, &'static str);

/// Every place that there is.
fn places() -> Vec<Place> {
    let secret = "(i64.const 0x5353535353535353)";
    let global = (format!("(global.set $kept {secret})"), "pk");
    let table = |number| {
        let size = format!("(i32.const {ENTRIES})");
        let fill = format!("(table.fill $t{number} (i32.const 0) (ref.func $secret) {size})");
        (fill, "qk")
    };
    let memory = |number, from: usize, end: usize| {
        let (at, size) = (format!("(i32.const {from})"), end - from);
        let fill = format!("(memory.fill $m{number} {at} (i32.const 0x53) (i32.const {size}))");
        (fill, "rk")
    };
    // In between lie the guest's description and its result.
    let first = [memory(0, 0, 1_024), memory(0, 4_120, BYTES)];
    let others = (1..MEMORIES).map(|number| memory(number, 0, BYTES));
    let tables = (0..TABLES).map(table);
    let all = [global].into_iter().chain(tables).chain(first);
    all.chain(others).collect()
}

/// Looks for a secret in each of `$t0`, `$t1`, …
fn search_table(number: usize) -> String {
    format!(
        "(local.set $at (i32.const 0))
        (loop $next
          (if (i32.eqz (ref.is_null (table.get $t{number} (local.get $at)))) (then (return (i32.const 2))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const {ENTRIES}))))"
    )
}

/// Looks for a secret in each of `$m0`, `$m1`, …
fn search_memory(number: usize) -> String {
    format!(
        "(local.set $at (i32.const 0))
        (loop $next
          (if (i64.eq (i64.load $m{number} (local.get $at)) (i64.const 0x5353535353535353))
            (then (return (i32.const 3))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const {BYTES}))))"
    )
}

/// A guest whose `$write` writes to these places, and whose `$search` says in which kind of place something is.
/// Its memories begin with so many pages, and have all when `$grow` was called.
fn spy(run: &str, writes: &[Place], pages: usize) -> Hostile {
    let each =
        |count: usize, item: &dyn Fn(usize) -> String| -> String { (0..count).map(item).collect() };
    let rest = BYTES / 65_536 - pages;
    let memory = |number| match number {
        0 => format!(r#"(memory $m0 (export "memory") {pages})"#),
        _ => format!("(memory $m{number} {pages})"),
    };
    let grow = |number| {
        let grown = format!("(memory.grow $m{number} (i32.const {rest}))");
        format!("(if (i32.eq {grown} (i32.const -1)) (then unreachable))")
    };
    let items = format!(
        "{memories} {tables}
        (global $kept (mut i64) (i64.const 0))
        (func $secret)
        (elem declare func $secret)
        (func $grow {grow})
        (func $write {write})
        (func $search (result i32) (local $at i32)
          (if (i64.ne (global.get $kept) (i64.const 0)) (then (return (i32.const 1))))
          {search_tables} {search_memories} (i32.const 0))",
        memories = each(MEMORIES, &memory),
        tables = each(TABLES, &|number| format!(
            "(table $t{number} {ENTRIES} funcref)"
        )),
        grow = each(MEMORIES, &grow),
        write = writes
            .iter()
            .map(|(code, _)| code.as_str())
            .collect::<String>(),
        search_tables = each(TABLES, &search_table),
        search_memories = each(MEMORIES, &search_memory),
    );
    let meet = r#"(import "stem:task/context@0.1.0" "load-checkpoint" (func $meet (param i32)))"#;
    running(run).with_items(&items).importing("", "", meet)
}

/// What was found is added to the first letter of `ok`.
const SEARCH: &str = "(i32.store8 (i32.const 3088) (i32.add (i32.const 111) (call $search)))";

/// The payload's body lies behind the 88 bytes of the attempt: `w` writes, `t` writes and traps, `s` searches; each while
/// all others are there.
fn asked() -> String {
    format!(
        "(local $what i32)
        (local.set $what (i32.load8_u (i32.load (i32.add (local.get $call) (i32.const 96)))))
        (call $grow)
        (if (i32.ne (local.get $what) (i32.const 115)) (then (call $write)))
        (call $meet (i32.const 8192))
        (if (i32.eq (local.get $what) (i32.const 115)) (then {SEARCH}))
        (if (i32.eq (local.get $what) (i32.const 116)) (then (unreachable)))
        (global.get $ok)"
    )
}

// === attempts that hold every slot ===

/// So many attempts that do this once all of them are there.
fn meeting(number: usize, what: &'static str) -> impl Iterator<Item = Attempt> {
    let context = Arc::new(Kept {
        meeting: Some(Barrier::new(number)),
        ..Kept::default()
    });
    (0..number).map(move |_| Attempt {
        payload: Payload::new("text/plain", what),
        context: Arc::clone(&context),
        ..Attempt::json("")
    })
}

/// Does this in every slot at one time: where one attempt does not come, all fail at their limit.
async fn in_every_slot(program: &Arc<dyn Program>, what: &'static str) -> Vec<Execution> {
    join_all(meeting(ATTEMPTS, what).map(|attempt| attempt.run(program))).await
}

/// Guests of another sandbox take memory until this is over.
async fn under_pressure<T>(work: impl Future<Output = T>) -> T {
    let misbehave = misbehave(&[]).await;
    let is_over = Cell::new(false);
    let working = async {
        let done = work.await;
        is_over.set(true);
        done
    };
    let pressing = async {
        while !is_over.get() {
            for hog in join_all((0..2).map(|_| Attempt::fate("hog").run(&misbehave))).await {
                assert_eq!(crossed(&hog).0, Limit::Memory);
            }
        }
    };
    futures::join!(working, pressing).0
}

#[track_caller]
fn assert_written(execution: &Execution, what: &str) {
    assert!(execution.usage.peak_memory_bytes > WRITTEN as u64);
    match what {
        "t" => assert!(matches!(
            failure(execution).kind,
            FailureKind::Trapped { .. }
        )),
        _ => assert_eq!(result(execution), "ok"),
    }
}

/// Secrets are written into every slot, and looked for in every slot by that module or by another.
async fn assert_nothing_is_found(sandbox: &Arc<Sandbox>, class: &[(&str, &str)]) {
    let module = |pages| spy(&asked(), &places(), pages).component();
    let writer = program(sandbox, &module(2), class).await;
    let other = program(sandbox, &module(3), class).await;
    for (searcher, what) in [(&writer, "w"), (&other, "w"), (&writer, "t"), (&other, "t")] {
        for written in in_every_slot(&writer, what).await {
            assert_written(&written, what);
        }
        for found in under_pressure(in_every_slot(searcher, "s")).await {
            assert_eq!(result(&found), "ok");
        }
    }
}

const FUEL: (&str, &str) = ("fuel-limit", "1000000000");

/// S1
#[test]
fn nothing_that_an_attempt_wrote_is_found_in_its_slot() {
    block_on(async { assert_nothing_is_found(&sandbox(SLOTS), &[]).await });
}

/// S1
#[test]
fn nothing_that_an_attempt_wrote_is_found_in_its_slot_where_fuel_is_counted() {
    block_on(async { assert_nothing_is_found(&sandbox(SLOTS), &[FUEL]).await });
}

/// S1
#[test]
fn nothing_that_an_attempt_wrote_is_found_without_a_pool() {
    let sandbox = sandbox_with(SLOTS, Allocation::OnDemand);
    block_on(async { assert_nothing_is_found(&sandbox, &[]).await });
    block_on(async { assert_nothing_is_found(&sandbox, &[FUEL]).await });
}

/// S1: they do hold every slot, since there is none for one more.
#[test]
fn as_many_attempts_as_search_hold_every_slot() {
    let ended = block_on(async {
        let module = spy(&asked(), &places(), 2).component();
        let hard = [("hard-time-limit", "1s")];
        let program = program(&sandbox(SLOTS), &module, &hard).await;
        join_all(meeting(ATTEMPTS + 1, "s").map(|attempt| attempt.try_run(&program))).await
    });
    let (waited, refused): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
    assert_eq!(refused.len(), 1);
    for execution in waited.iter().flatten() {
        assert_eq!(crossed(execution).0, Limit::HardTime);
    }
}

/// S1: the search finds what is there, wherever it is.
#[test]
fn the_search_finds_what_an_attempt_itself_has_written() {
    let run = format!("(call $grow) (call $write) {SEARCH} (global.get $ok)");
    let places = places();
    let some = [0, 1, TABLES, TABLES + 1, TABLES + 2, places.len() - 1];
    block_on(async {
        let sandbox = sandbox(1);
        for place in some.map(|number| &places[number]) {
            let module = spy(&run, std::slice::from_ref(place), 2).component();
            let program = program(&sandbox, &module, &[]).await;
            assert_eq!(result(&Attempt::json("").run(&program).await), place.1);
        }
    });
}
