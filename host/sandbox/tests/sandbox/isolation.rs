//! Attempts beside one another and what is around them: nobody is harmed by a neighbour, and nobody reaches what it was not
//! given (S1, S2, S3).

use std::sync::Arc;

use crate::common::hostile::{Hostile, running};
use crate::common::{
    Attempt, block_on, crossed, failure, guest, program, result, sandbox, sandbox_with,
};
use futures::future::join_all;
use stem_core::clock::SystemClock;
use stem_core::executor::{Execution, Stop};
use stem_core::outcome::{FailureKind, Limit};
use stem_sandbox::{Allocation, Options, Sandbox};

// === neighbours ===

const NEIGHBOURS: usize = 100;

/// A loop, a hog, a panic, a flood and a garbage guest, among so many that do their work.
async fn mixed(sandbox: &Arc<Sandbox>) -> (Vec<Execution>, Vec<Execution>) {
    let hard = [("hard-time-limit", "1s")];
    let misbehave = program(sandbox, &guest("misbehave"), &hard).await;
    let noop = crate::common::noop(sandbox).await;
    let bad = [
        Attempt::fate("spin"),
        Attempt::fate("hog"),
        Attempt::fate("trap"),
        // Quick enough to end before its limit in time, which all that spin share with it.
        Attempt::json(r#"{"fate":"flood","bytes":200000}"#),
        Attempt::fate("garbage"),
    ];
    let bad = join_all(bad.map(|attempt| attempt.run(&misbehave)));
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
        let noop = crate::common::noop(&sandbox).await;
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
        let noop = crate::common::noop(&sandbox).await;
        Attempt::json("1").run(&noop).await
    });
    assert_eq!(result(&execution), "1");
}

// === what a guest can reach ===

const REACHING: &str = "
    import wasi:cli/environment@0.2.0;
    import wasi:filesystem/preopens@0.2.0;
    import wasi:sockets/tcp-create-socket@0.2.0;
    import wasi:sockets/udp-create-socket@0.2.0;
    import wasi:sockets/instance-network@0.2.0;
    import wasi:sockets/ip-name-lookup@0.2.0;";

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
            resource network;
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
        interface udp { resource udp-socket; }
        interface udp-create-socket {
            use network.{error-code, ip-address-family};
            use udp.{udp-socket};
            create-udp-socket: func(family: ip-address-family) -> result<udp-socket, error-code>;
        }
        interface instance-network {
            use network.{network};
            instance-network: func() -> network;
        }
        interface ip-name-lookup {
            use network.{network, error-code};
            resource resolve-address-stream;
            resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
        }
    }";

const CALLS: &str = r#"
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $tcp (param i32 i32)))
    (import "wasi:sockets/udp-create-socket@0.2.0" "create-udp-socket" (func $udp (param i32 i32)))
    (import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
    (import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))"#;

/// An address written out: a host that resolves names at all knows this one.
const NAME: &str = r#"(memory (export "memory") 2) (data (i32.const 8704) "127.0.0.1")"#;

/// A call whose result's first byte says that it is an error, and whose fifth that it is this one.
fn refused(call: &str, error: u8) -> String {
    format!(
        "({call} (i32.const 8192))
        (if (i32.ne (i32.load8_u (i32.const 8192)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 8196)) (i32.const {error})) (then unreachable))"
    )
}

/// S2
#[test]
fn a_guest_has_no_environment_no_files_and_no_network() {
    let empty = |call: &str| {
        format!(
            "(call {call} (i32.const 8192)) (if (i32.load (i32.const 8196)) (then unreachable))"
        )
    };
    let lists = ["$environment", "$arguments", "$directories"].map(empty);
    let resolve = "call $resolve (call $network) (i32.const 8704) (i32.const 9)";
    let (denied, no_resolver) = (1, 20);
    let network = [
        refused("call $tcp (i32.const 0)", denied),
        refused("call $udp (i32.const 0)", denied),
        refused(resolve, no_resolver),
    ];
    let run = [
        lists.concat(),
        network.concat(),
        "(global.get $ok)".to_owned(),
    ]
    .concat();
    let module = running(&run).importing(REACHING, AROUND, CALLS);
    assert_succeeds(&module.with_items(NAME));
}

#[track_caller]
fn assert_succeeds(module: &Hostile) {
    let execution = block_on(async {
        let program = program(&sandbox(1), &module.component(), &[]).await;
        Attempt::json("{}").run(&program).await
    });
    assert_eq!(result(&execution), "ok", "{execution:?}");
}
