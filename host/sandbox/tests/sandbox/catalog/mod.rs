//! Deployments of a store, followed: what runs a task, and what is said when nothing can (M2, M3, S4).

mod canaries;
mod shop;
mod signatures;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use stem_core::clock::SystemClock;
use stem_core::executor::Executor;
use stem_core::ids::Digest;
use stem_core::module_store::ModuleStore;
use stem_core::names::DeploymentName;
use stem_core::outcome::FailureKind;
use stem_sandbox::{Compiler, Options, Sandbox};

use self::shop::{Shop, other_version};
use crate::common::hostile::running;
use crate::common::{Attempt, PATIENCE, block_on, guest, inspect, result};

// === finding a task ===

/// S4
#[test]
fn a_deployed_task_is_found_and_runs() {
    let counted = block_on(async {
        let program = Shop::open().await.program("word-count", None).await;
        Attempt::json(r#"{"text":"b"}"#).run(&program).await
    });
    assert_eq!(result(&counted), r#"{"b":1}"#);
}

/// S4
#[test]
fn an_unknown_task_is_said_to_be_only_after_the_store_was_asked() {
    block_on(async {
        let shop = Shop::open().await;
        let before = shop.shelf.asked.load(Ordering::SeqCst);
        let (kind, message) = shop.refusal("word-cuont", None).await;
        assert_eq!(kind, FailureKind::UnknownTask);
        assert_eq!(
            message,
            "no task named `word-cuont` is deployed; did you mean `word-count`?"
        );
        assert!(shop.shelf.asked.load(Ordering::SeqCst) > before);
        shop.deploy("other", &running("(global.get $ok)").component())
            .await;
        shop.program("hostile", None).await;
    });
}

/// S4
#[test]
fn a_store_that_cannot_be_asked_is_a_fault_of_the_host() {
    block_on(async {
        let shop = Shop::open().await;
        shop.program("word-count", None).await;
        shop.shelf.is_away.store(true, Ordering::SeqCst);
        let error = shop.fault("other").await;
        assert_eq!(error.to_string(), "look for deployments");
        shop.program("word-count", None).await;
    });
}

// === modules ===

/// M2, S5
#[test]
fn a_module_is_fetched_and_compiled_once_however_many_ask() {
    block_on(async {
        let shop = Shop::open().await;
        let resolved = (0..20).map(|_| shop.program("word-count", None));
        let programs = futures::future::join_all(resolved).await;
        shop.catalog.refresh().await.expect("refreshed");
        shop.program("word-count", Some(programs[0].digest())).await;
        assert_eq!(shop.fetched(), 1);
    });
}

/// S4
#[test]
fn a_module_that_the_store_has_lost_is_unavailable() {
    block_on(async {
        let shop = Shop::open().await;
        let digest = Digest::of(&guest("word_count"));
        shop.shelf.lose(digest);
        let (kind, message) = shop.refusal("word-count", None).await;
        assert_eq!(kind, FailureKind::ModuleUnavailable);
        assert_eq!(
            message,
            format!("the store has no module {}", digest.short())
        );
    });
}

/// S4: a bad read is no fault of the task, and is over when the store reads well again.
#[test]
fn a_module_that_was_read_badly_is_a_fault_of_the_host_and_read_again() {
    block_on(async {
        let shop = Shop::open().await;
        let module = guest("word_count");
        let digest = Digest::of(&module);
        shop.shelf.put(digest, Bytes::from_static(b"other bytes"));
        let error = shop.fault("word-count").await;
        let cause = std::error::Error::source(&error).expect("a cause");
        let altered = "what was read is not what was deployed";
        assert_eq!(cause.to_string(), altered);
        shop.shelf.put(digest, module);
        shop.program("word-count", None).await;
    });
}

/// S4
#[test]
fn a_module_that_cannot_be_compiled_is_unavailable_and_the_others_run() {
    block_on(async {
        let shop = Shop::open().await;
        let tasks = inspect(&shop.sandbox, &guest("noop"), &[]).await.tasks;
        shop.shelf
            .deploy("broken", &Bytes::from_static(b"no wasm"), tasks);
        shop.catalog.refresh().await.expect("refreshed");
        let (kind, message) = shop.refusal("noop", None).await;
        assert_eq!(kind, FailureKind::ModuleUnavailable);
        assert!(message.contains("cannot be loaded"), "{message}");
        shop.program("word-count", None).await;
    });
}

// === versions ===

/// M3
#[test]
fn a_new_version_takes_over_and_what_was_resolved_before_goes_on() {
    block_on(async {
        let shop = Shop::open().await;
        let old = shop.program("word-count", None).await;
        let digest = shop.deploy("texts", &other_version("0x6a6a")).await;
        shop.catalog.refresh().await.expect("refreshed");
        let new = shop.program("word-count", None).await;
        assert_eq!(new.digest(), digest);
        assert_eq!(result(&Attempt::json("{}").run(&new).await), "jj");
        let counted = Attempt::json(r#"{"text":"b"}"#).run(&old).await;
        assert_eq!(result(&counted), r#"{"b":1}"#);
    });
}

/// M3: within 2 s, without anybody asking.
#[test]
fn a_new_version_is_found_by_itself() {
    block_on(async {
        let shop = Shop::open().await;
        shop.program("word-count", None).await;
        shop.shelf.fetching.notified().await;
        let digest = shop.deploy("texts", &other_version("0x6a6a")).await;
        let fetched = shop.shelf.fetching.notified();
        let waited = tokio::time::timeout(20 * PATIENCE, fetched).await;
        waited.expect("the new version is fetched");
        shop.catalog.refresh().await.expect("refreshed");
        assert_eq!(shop.program("word-count", None).await.digest(), digest);
    });
}

/// M3: also while the module of another deployment takes its time.
#[test]
fn versions_are_switched_while_another_module_is_being_loaded() {
    block_on(async {
        let shop = Shop::open().await;
        let first = shop.program("word-count", None).await.digest();
        let slow = running("(global.get $ok)").component();
        shop.shelf.hold(Digest::of(&slow));
        shop.deploy("slow", &slow).await;
        let second = shop.deploy("texts", &other_version("0x6a6a")).await;
        shop.switched_to(second).await;
        shop.deploy("texts", &guest("word_count")).await;
        shop.switched_to(first).await;
    });
}

/// M3: an envelope that began on one version goes on with it.
#[test]
fn a_pinned_module_is_used_whatever_is_active() {
    block_on(async {
        let shop = Shop::open().await;
        let first = Digest::of(&guest("word_count"));
        shop.deploy("texts", &other_version("0x6a6a")).await;
        let program = shop.program("word-count", Some(first)).await;
        assert_eq!(program.digest(), first);
        let again = shop.program("word-count", Some(first)).await;
        assert!(Arc::ptr_eq(&program, &again), "made once");
        let (kind, _) = shop.refusal("other", Some(first)).await;
        assert_eq!(kind, FailureKind::UnknownTask);
        let (kind, _) = shop
            .refusal("word-count", Some(Digest::of(b"never deployed")))
            .await;
        assert_eq!(kind, FailureKind::ModuleUnavailable);
    });
}

/// M4
#[test]
fn a_new_policy_for_the_same_module_counts_without_compiling_it_again() {
    block_on(async {
        let shop = Shop::open().await;
        shop.program("word-count", None).await;
        let module = guest("word_count");
        let tasks = inspect(&shop.sandbox, &module, &[("max-attempts", "9")])
            .await
            .tasks;
        shop.shelf.deploy("texts", &module, tasks);
        shop.catalog.refresh().await.expect("refreshed");
        let program = shop.program("word-count", None).await;
        assert_eq!(program.task().policy.max_attempts, 9);
        assert_eq!(shop.fetched(), 1);
    });
}

/// M3
#[test]
fn a_removed_deployment_runs_no_more() {
    block_on(async {
        let shop = Shop::open().await;
        shop.program("word-count", None).await;
        let name = DeploymentName::new("texts").expect("a good name");
        shop.shelf.remove(&name, 1).await.expect("removed");
        shop.catalog.refresh().await.expect("refreshed");
        let (kind, _) = shop.refusal("word-count", None).await;
        assert_eq!(kind, FailureKind::UnknownTask);
    });
}

/// S5: each try costs as much as the compiler's limits allow.
#[test]
fn a_module_that_cannot_be_compiled_here_is_left_alone_and_holds_up_no_other() {
    block_on(async {
        let mut options = Options::new(1, SystemClock::shared());
        options.compiler = Compiler::child("/bin/false");
        let shop = Shop::running_on(Sandbox::new(options).expect("a sandbox")).await;
        for _ in 0..3 {
            let refreshed = shop.catalog.refresh().await;
            refreshed.expect("the others are loaded");
            shop.fault("word-count").await;
        }
        assert_eq!(shop.fetched(), 1);
    });
}

/// S5
#[test]
fn many_who_wait_for_a_module_that_cannot_be_compiled_here_have_it_tried_once() {
    block_on(async {
        let mut options = Options::new(1, SystemClock::shared());
        options.compiler = Compiler::child("/bin/false");
        let shop = Shop::running_on(Sandbox::new(options).expect("a sandbox")).await;
        futures::future::join_all((0..20).map(|_| shop.fault("word-count"))).await;
        assert_eq!(shop.fetched(), 1);
    });
}
