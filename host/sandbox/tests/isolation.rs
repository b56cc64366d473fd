//! Attempts beside and after one another: nobody is harmed by a neighbour, and nobody sees what another wrote (S1, S3).

mod common;

use std::sync::Arc;

use common::hostile::{Hostile, running};
use common::{
    Attempt, block_on, crossed, failure, guest, misbehave, program, result, sandbox, sandbox_with,
};
use futures::future::join_all;
use stem_core::clock::SystemClock;
use stem_core::executor::{Execution, Program, Stop};
use stem_core::outcome::{FailureKind, Limit};
use stem_core::payload::Payload;
use stem_sandbox::{Allocation, Options, Sandbox};

// === neighbours ===

const NEIGHBOURS: usize = 100;

/// A loop, a hog, a panic, a flood and a garbage guest, among so many that do their work.
async fn mixed(sandbox: &Arc<Sandbox>) -> (Vec<Execution>, Vec<Execution>) {
    let hard = [("hard-time-limit", "1s")];
    let misbehave = program(sandbox, &guest("misbehave"), &hard).await;
    let noop = program(sandbox, &guest("noop"), &[]).await;
    let fates = ["spin", "hog", "trap", "flood", "garbage"];
    let bad = join_all(fates.map(|fate| Attempt::fate(fate).run(&misbehave)));
    let good = join_all((0..NEIGHBOURS).map(|number| {
        let payload = format!("{{\"number\":{number}}}");
        Attempt::json(&payload).run(&noop)
    }));
    futures::join!(bad, good)
}

#[track_caller]
fn assert_each_is_recorded_as_what_it_was(bad: &[Execution]) {
    assert_eq!(crossed(&bad[0]).0, Limit::HardTime);
    assert_eq!(crossed(&bad[1]).0, Limit::Memory);
    assert!(matches!(failure(&bad[2]).kind, FailureKind::Trapped { .. }));
    assert!(result(&bad[3]).contains("attempt") && bad[3].log_dropped > 0);
    assert_eq!(failure(&bad[4]).kind, FailureKind::InvalidOutput);
}

fn assert_neighbours_finish(allocation: Allocation) {
    let slots = u32::try_from(NEIGHBOURS + 5).expect("a few");
    let (bad, good) = block_on(async { mixed(&sandbox_with(slots, allocation)).await });
    assert_each_is_recorded_as_what_it_was(&bad);
    for (number, execution) in good.iter().enumerate() {
        assert_eq!(result(execution), format!("{{\"number\":{number}}}"));
    }
}

/// S3
#[test]
fn a_hundred_neighbours_succeed_beside_guests_that_misbehave() {
    assert_neighbours_finish(Allocation::Pooling);
}

/// S3
#[test]
fn a_hundred_neighbours_succeed_without_a_pool() {
    assert_neighbours_finish(Allocation::OnDemand);
}

/// W2: on one thread, guests that spin leave room for one that does not.
#[test]
fn guests_that_spin_starve_nobody() {
    block_on(async {
        let sandbox = sandbox(16);
        let misbehave = program(&sandbox, &guest("misbehave"), &[("hard-time-limit", "1s")]).await;
        let noop = program(&sandbox, &guest("noop"), &[]).await;
        let spinning = join_all((0..8).map(|_| Attempt::fate("spin").run(&misbehave)));
        let quick = async { join_all((0..20).map(|_| Attempt::json("1").run(&noop))).await };
        let (spun, quick) = futures::join!(spinning, quick);
        let slowest = quick.iter().map(|execution| execution.usage.wall).max();
        let soonest = spun.iter().map(|execution| execution.usage.wall).min();
        assert!(slowest < soonest, "{slowest:?} {soonest:?}");
    });
}

/// W2: whoever gives others a chance says how long that took.
#[test]
fn a_guest_that_waits_for_a_core_says_how_long() {
    let ran = block_on(async {
        let misbehave = program(
            &sandbox(8),
            &guest("misbehave"),
            &[("hard-time-limit", "1s")],
        )
        .await;
        let run = || async {
            let attempt = Attempt::fate("spin");
            let context = Arc::clone(&attempt.context);
            let execution = attempt.run(&misbehave).await;
            let waited = *context.waited.lock().expect("not poisoned");
            (waited, execution.usage.wall)
        };
        join_all((0..8).map(|_| run())).await
    });
    for (waited, wall) in ran {
        assert!(waited > wall / 2 && waited < wall, "{waited:?} {wall:?}");
    }
}

// === slots ===

/// S4: no slot is left for an attempt, which is no fault of its task.
#[test]
fn an_attempt_that_finds_no_slot_is_a_fault_of_the_host() {
    let stop = tokio::sync::watch::channel(Stop::No).1;
    block_on(async {
        let misbehave = program(
            &sandbox(1),
            &guest("misbehave"),
            &[("hard-time-limit", "1s")],
        )
        .await;
        let attempts = (0..12).map(|_| {
            let attempt = Attempt::json(r#"{"fate":"sleep","ms":60000}"#).stopping(stop.clone());
            attempt.try_run(&misbehave)
        });
        let ended = join_all(attempts).await;
        let refused: Vec<_> = ended.into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 3, "one slot and eight spare ones");
        assert_eq!(refused[0].to_string(), "run a module in its sandbox");
    });
}

/// S1: where no pool can be had, attempts run without one.
#[test]
fn a_machine_without_room_for_the_pool_runs_without_it() {
    let options = Options::new(40_000, SystemClock::shared());
    let sandbox = Sandbox::new(options).expect("a sandbox");
    assert_eq!(sandbox.allocation(), Allocation::OnDemand);
    let execution = block_on(async {
        let noop = program(&sandbox, &guest("noop"), &[]).await;
        Attempt::json("1").run(&noop).await
    });
    assert_eq!(result(&execution), "1");
}

// === secrets ===

/// A guest that grows to 40 pages, and then either writes a secret wherever it can, or looks for one.
fn spy() -> Hostile {
    let items = r#"
        (memory (export "memory") 2)
        (table $table 4 200 funcref)
        (global $kept (mut i64) (i64.const 0))
        (func $secret)
        (elem declare func $secret)
        (func $write (local $at i32)
          (global.set $kept (i64.const 0x5353535353535353))
          (table.fill $table (i32.const 0) (ref.func $secret) (table.size $table))
          (memory.fill (i32.const 8192) (i32.const 0x53) (i32.const 2613248)))
        (func $search (result i32) (local $at i32)
          (if (i64.ne (global.get $kept) (i64.const 0)) (then (return (i32.const 1))))
          (loop $entries
            (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (return (i32.const 2))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $entries (i32.lt_u (local.get $at) (table.size $table))))
          (local.set $at (i32.const 8192))
          (loop $words
            (if (i64.eq (i64.load (local.get $at)) (i64.const 0x5353535353535353)) (then (return (i32.const 3))))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $words (i32.lt_u (local.get $at) (i32.const 2621432))))
          (i32.const 0))"#;
    // The payload's body lies behind the 88 bytes of the attempt: `w` writes, `t` writes
    // and traps, anything else searches. What was found
    // is added to `ok`'s first letter.
    let run = r#"
        (local $what i32)
        (if (i32.eq (memory.grow (i32.const 38)) (i32.const -1)) (then unreachable))
        (drop (table.grow $table (ref.null func) (i32.const 96)))
        (local.set $what (i32.load8_u (i32.load (i32.add (local.get $call) (i32.const 96)))))
        (if (i32.eq (local.get $what) (i32.const 116)) (then (call $write) (unreachable)))
        (if (i32.eq (local.get $what) (i32.const 119))
          (then (call $write))
          (else (i32.store8 (i32.const 3088) (i32.add (i32.const 111) (call $search)))))
        (global.get $ok)"#;
    running(run).with_items(items)
}

/// Another module that looks the same way: a slot may change its module.
fn other_spy() -> Hostile {
    let mut other = spy();
    other.name = "other".to_owned();
    other.items = other
        .items
        .replace(r#"(export "memory") 2"#, r#"(export "memory") 3"#);
    other
}

async fn ask(program: &Arc<dyn Program>, payload: &'static str) -> Execution {
    let mut attempt = Attempt::json("");
    attempt.payload = Payload::new("text/plain", payload);
    attempt.run(program).await
}

/// Every class of engine that ships, by the setting that asks for it.
const CLASSES: [&[(&str, &str)]; 2] = [&[], &[("fuel-limit", "1000000000")]];

/// Guests of another sandbox take memory until they are ended: the machine has less for the slots.
async fn press() {
    let misbehave = misbehave(&[]).await;
    for pressing in join_all((0..4).map(|_| Attempt::fate("hog").run(&misbehave))).await {
        assert_eq!(crossed(&pressing).0, Limit::Memory);
    }
}

/// On every class of engine.
async fn assert_nothing_is_found(sandbox: &Arc<Sandbox>, concurrent: usize) {
    for class in CLASSES {
        assert_nothing_is_found_on(sandbox, class, concurrent).await;
    }
}

/// Secrets are written in as many slots as there are, and looked for in all of them, by both modules.
async fn assert_nothing_is_found_on(
    sandbox: &Arc<Sandbox>,
    class: &[(&str, &str)],
    concurrent: usize,
) {
    let spy = program(sandbox, &spy().component(), class).await;
    let other = program(sandbox, &other_spy().component(), class).await;
    for _ in 0..5 {
        for written in join_all((0..concurrent).map(|_| ask(&spy, "w"))).await {
            assert!(written.usage.peak_memory_bytes > 40 * 65_536);
        }
        for trapped in join_all((0..concurrent).map(|_| ask(&other, "t"))).await {
            assert!(matches!(
                failure(&trapped).kind,
                FailureKind::Trapped { .. }
            ));
        }
        press().await;
        for searching in [&spy, &other] {
            for found in join_all((0..concurrent).map(|_| ask(searching, "s"))).await {
                assert_eq!(result(&found), "ok");
            }
        }
    }
}

/// S1
#[test]
fn nothing_that_an_attempt_wrote_is_found_in_its_slot() {
    block_on(async { assert_nothing_is_found(&sandbox(1), 1).await });
    block_on(async { assert_nothing_is_found(&sandbox(24), 32).await });
}

/// S1
#[test]
fn nothing_that_an_attempt_wrote_is_found_without_a_pool() {
    let sandbox = || sandbox_with(8, Allocation::OnDemand);
    block_on(async { assert_nothing_is_found(&sandbox(), 8).await });
}

/// S1: the search does find what is there.
#[test]
fn the_search_finds_a_secret_within_one_attempt() {
    let mut telltale = spy();
    telltale.run = telltale.run.replace(
        "(call $write)",
        "(call $write) (i32.store8 (i32.const 3088) (i32.add (i32.const 111) (call $search)))",
    );
    let found = block_on(async {
        let program = program(&sandbox(1), &telltale.component(), &[]).await;
        ask(&program, "w").await
    });
    assert_eq!(result(&found), "pk");
}

// === what a guest can reach ===

const REACHING: &str = "
    import wasi:cli/environment@0.2.0;
    import wasi:filesystem/preopens@0.2.0;
    import wasi:sockets/tcp-create-socket@0.2.0;";

const AROUND: &str = "
    package wasi:cli@0.2.0 { interface environment {
        get-environment: func() -> list<tuple<string, string>>;
        get-arguments: func() -> list<string>;
    } }
    package wasi:filesystem@0.2.0 {
        interface types { resource descriptor; }
        interface preopens {
            use types.{descriptor};
            get-directories: func() -> list<tuple<descriptor, string>>;
        }
    }
    package wasi:sockets@0.2.0 {
        interface network {
            enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
                concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
                address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset,
                connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure,
                permanent-resolver-failure }
            enum ip-address-family { ipv4, ipv6 }
        }
        interface tcp { resource tcp-socket; }
        interface tcp-create-socket {
            use network.{error-code, ip-address-family};
            use tcp.{tcp-socket};
            create-tcp-socket: func(family: ip-address-family) -> result<tcp-socket, error-code>;
        }
    }";

const CALLS: &str = r#"
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $socket (param i32 i32)))"#;

/// S2
#[test]
fn a_guest_has_no_environment_no_files_and_no_network() {
    let empty = |call: &str| {
        format!(
            "(call {call} (i32.const 8192)) (if (i32.load (i32.const 8196)) (then unreachable))"
        )
    };
    let lists = ["$environment", "$arguments", "$directories"]
        .map(empty)
        .concat();
    // A result whose first byte says that it is an error, and whose fifth that it is `access-denied`.
    let refused = "(call $socket (i32.const 0) (i32.const 8192))
        (if (i32.ne (i32.load8_u (i32.const 8192)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 8196)) (i32.const 1)) (then unreachable))";
    let module =
        running(&format!("{lists} {refused} (global.get $ok)")).importing(REACHING, AROUND, CALLS);
    let execution = block_on(async {
        let program = program(&sandbox(1), &module.component(), &[]).await;
        Attempt::json("{}").run(&program).await
    });
    assert_eq!(result(&execution), "ok", "{execution:?}");
}
