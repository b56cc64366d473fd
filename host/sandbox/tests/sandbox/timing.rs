//! What benchmarks are told: the parts of an attempt, and how the sandbox is set up.

use std::time::Duration;

use crate::common::hostile::running;
use crate::common::{Attempt, block_on, inspect, result, sandbox_with};
use stem_sandbox::Allocation;

/// Turns round for some milliseconds.
const WAITING: &str = "
    (local $turns i32)
    (loop $again
      (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $turns) (i32.const 10000000))))
    (global.get $ok)";

#[test]
fn the_parts_of_an_attempt_are_timed_apart() {
    let (execution, parts) = block_on(async {
        let sandbox = sandbox_with(2, Allocation::Pooling);
        let module = running(WAITING).component();
        let task = inspect(&sandbox, &module, &[]).await.tasks.remove(0);
        let timed = sandbox.timed(&module, task).await.expect("a good module");
        Attempt::json("{}").run_timed(&timed).await
    });
    assert_eq!(result(&execution), "ok");
    assert!(parts.instantiate > Duration::ZERO, "{parts:?}");
    assert!(parts.call > parts.instantiate, "{parts:?}");
    assert!(parts.teardown > Duration::ZERO, "{parts:?}");
}

#[test]
fn a_sandbox_says_how_it_is_set_up() {
    let shown = |allocation| sandbox_with(2, allocation).settings().to_string();
    assert_eq!(
        shown(Allocation::Pooling),
        "pooled instances, which keep 256 KiB of a memory and 64 KiB of a table; page scan off"
    );
    assert_eq!(shown(Allocation::OnDemand), "instances allocated on demand");
}
