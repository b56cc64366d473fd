//! Values, secrets and environment variables: a module has what it was granted, and a secret shows nowhere (S2, M4).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::common::granting::{Vault, granted};
use crate::common::hostile::{Hostile, running};
use crate::common::{Attempt, block_on, crossed, failure, guest, result};
use bytes::Bytes;
use stem_core::executor::{Execution, Program};
use stem_core::outcome::{Disposition, FailureKind, Limit};

const TOKEN: &str = "hunter2-4711";
const GRANTED: &str = "[grants]\nconfig = { REGION = \"eu\" }\nsecrets = [\"TOKEN\"]\n";

/// `tell` with this policy and these secrets on its machine.
async fn tell(policy: &str, secrets: &[(&str, &str)]) -> Arc<dyn Program> {
    let told = granted(&guest("tell"), policy, Vault::with(secrets)).await;
    told.expect("a good module")
}

async fn value(program: &Arc<dyn Program>, key: &str) -> String {
    let question = format!(r#"{{"tell":"value","key":"{key}"}}"#);
    result(&Attempt::json(&question).run(program).await)
}

// === values and secrets ===

/// S2, M4
#[test]
fn a_module_reads_the_values_and_secrets_that_it_was_granted_and_no_others() {
    let values = block_on(async {
        let tell = tell(GRANTED, &[("TOKEN", TOKEN), ("OTHER", "x")]).await;
        [
            value(&tell, "REGION").await,
            value(&tell, "TOKEN").await,
            value(&tell, "OTHER").await,
        ]
    });
    assert_eq!(values, ["\"eu\"", &format!("\"{TOKEN}\""), "null"]);
}

/// S3: where the disk does not answer.
#[test]
fn a_task_whose_secrets_are_not_read_in_time_is_ended_at_its_hard_limit() {
    let policy = format!("[defaults]\nhard-time-limit = \"200ms\"\n{GRANTED}");
    let vault = Vault::with(&[("TOKEN", TOKEN)]);
    let execution = block_on(async {
        let tell = granted(&guest("tell"), &policy, Arc::clone(&vault)).await;
        vault.is_stuck.store(true, Ordering::SeqCst);
        let execution = Attempt::json("{}").run(&tell.expect("good")).await;
        vault.is_stuck.store(false, Ordering::SeqCst);
        execution
    });
    assert_eq!(crossed(&execution).0, Limit::HardTime);
}

/// M4
#[test]
fn a_rotated_secret_counts_from_the_next_attempt_on() {
    let vault = Vault::with(&[("TOKEN", "first")]);
    block_on(async {
        let tell = granted(&guest("tell"), GRANTED, Arc::clone(&vault))
            .await
            .expect("good");
        assert_eq!(value(&tell, "TOKEN").await, "\"first\"");
        vault.put("TOKEN", "second");
        assert_eq!(value(&tell, "TOKEN").await, "\"second\"");
    });
}

/// M4, S4
#[test]
fn a_missing_secret_refuses_the_attempt_by_name_and_for_good() {
    let execution = block_on(async {
        let tell = tell(GRANTED, &[("OTHER", TOKEN)]).await;
        Attempt::json(r#"{"tell":"environment"}"#).run(&tell).await
    });
    let failure = failure(&execution);
    assert_eq!(failure.kind, FailureKind::NotPermitted);
    assert_eq!(failure.disposition, Disposition::Reject);
    let said = "the secret `TOKEN` has no value on this worker: set STEM_SECRET_TOKEN";
    assert!(failure.message.starts_with(said), "{}", failure.message);
}

/// M4, S4
#[test]
fn a_secret_that_the_machine_cannot_read_is_a_fault_of_the_host() {
    let vault = Arc::<Vault>::default();
    vault.is_broken.store(true, Ordering::SeqCst);
    let fault = block_on(async {
        let tell = granted(&guest("tell"), GRANTED, vault).await.expect("good");
        Attempt::json(r#"{"tell":"environment"}"#)
            .try_run(&tell)
            .await
    });
    assert_eq!(
        fault.expect_err("a fault").to_string(),
        "open the task's secrets"
    );
}

/// A module that asks for `KEY` and returns the text of the answer, or of the error; under this name of the interface.
fn asking(interface: &str, version: &str) -> Hostile {
    let ask = "(call $get (i32.const 6000) (i32.const 3) (i32.const 5000))
        (i32.store (i32.const 4112) (i32.load (i32.const 5008)))
        (i32.store (i32.const 4116) (i32.load (i32.const 5012)))
        (global.get $ok)";
    let package = format!(
        "package wasi:config@{version} {{ interface {interface} {{
            variant error {{ upstream(string), io(string) }}
            get: func(key: string) -> result<option<string>, error>;
        }} }}"
    );
    let name = format!("wasi:config/{interface}@{version}");
    let import = format!(r#"(import "{name}" "get" (func $get (param i32 i32 i32)))"#);
    running(ask)
        .with_items(r#"(memory (export "memory") 2) (data (i32.const 6000) "KEY")"#)
        .importing(&format!("import {name};"), &package, &import)
}

async fn ask(module: &Hostile, policy: &str) -> Execution {
    let program = granted(&module.component(), policy, Vault::with(&[])).await;
    Attempt::json("{}")
        .run(&program.expect("a good module"))
        .await
}

/// S2: whatever the toolchain calls it.
#[test]
fn the_interface_is_there_under_each_name_that_it_was_published_with() {
    for (interface, version) in [
        ("store", "0.2.0-rc.1"),
        ("store", "0.2.0-draft"),
        ("store", "0.2.0-draft-2024-09-27"),
        ("runtime", "0.2.0-draft"),
    ] {
        let module = asking(interface, version);
        let execution = block_on(ask(&module, "[grants]\nconfig = { KEY = \"found\" }"));
        assert_eq!(result(&execution), "found", "{interface}@{version}");
    }
}

/// Why `deploy` refuses this module with this policy.
fn refused(module: &Bytes, policy: &str) -> String {
    let refused = block_on(granted(module, policy, Vault::with(&[])));
    refused.err().expect("refused").to_string()
}

/// S2
#[test]
fn a_stub_refuses_every_call_and_nothing_refuses_the_deployment() {
    let module = asking("store", "0.2.0-rc.1");
    let stubbed = block_on(ask(&module, "[grants]\nstubs = [\"wasi:config\"]"));
    let said = "this deployment was granted no values and no secrets";
    assert_eq!(result(&stubbed), said);
    let refused = refused(&module.component(), "");
    let (import, flag) = ("`wasi:config/store@0.2.0-rc.1`", "`--secret NAME`");
    assert!(
        refused.contains(import) && refused.contains(flag),
        "{refused}"
    );
}

/// M1, M4
#[test]
fn a_grant_that_cannot_be_given_refuses_the_deployment_by_name() {
    let clash = "config = { TOKEN = \"hunter2\" }\nsecrets = [\"TOKEN\"]";
    let name = "config = { A = \"\" }\nenvironment = { \"A=B\" = \"hunter2\" }";
    for (policy, said) in [
        (
            clash,
            "in [grants]: `TOKEN` is in `config` and in `secrets`",
        ),
        (name, "`A=B` is no name of an environment variable"),
    ] {
        let refused = refused(&guest("tell"), &format!("[grants]\n{policy}"));
        assert!(refused.contains(said), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

// === what people see ===

/// What a task leaves for people that lets its secret slip wherever it can.
fn slip(payload: &str, secret: &str) -> (String, String) {
    let attempt = Attempt::json(payload);
    let kept = Arc::clone(&attempt.context);
    let execution = block_on(async {
        attempt
            .run(&tell(GRANTED, &[("TOKEN", secret)]).await)
            .await
    });
    let progress = format!("{:?}", kept.progress.lock().expect("not poisoned"));
    (format!("{execution:?}"), progress)
}

/// M4
#[test]
fn a_secret_that_slips_out_is_hidden_in_log_lines_notes_and_failures() {
    let secrets = [
        TOKEN,
        "-----BEGIN-----\nc2VjcmV0\n-----END-----",
        "a\u{1b}[31m red",
    ];
    for (secret, piece) in secrets.into_iter().zip([TOKEN, "c2VjcmV0", "red"]) {
        for end in ["", r#","panic":true"#] {
            let (execution, progress) =
                slip(&format!(r#"{{"tell":"slip","key":"TOKEN"{end}}}"#), secret);
            assert!(!execution.contains(piece), "{execution}");
            assert!(!progress.contains(piece), "{progress}");
            assert!(execution.contains("the value is ***"), "{execution}");
        }
    }
}

/// M4: what a task returns is its own affair, and what it was not told is not hidden.
#[test]
fn values_that_are_no_secrets_are_not_hidden() {
    let payload = r#"{"tell":"slip","key":"REGION"}"#;
    let (execution, _) = slip(payload, TOKEN);
    assert!(
        execution.contains("the value is eu, as it happens"),
        "{execution}"
    );
}

// === the environment ===

/// S2
#[test]
fn a_task_sees_the_variables_that_it_was_granted_and_none_of_the_hosts() {
    let policy = "[grants]\nstubs = [\"wasi:config\"]\nenvironment = { LANG = \"C.UTF-8\" }";
    let told = block_on(async {
        let tell = tell(policy, &[]).await;
        result(&Attempt::json(r#"{"tell":"environment"}"#).run(&tell).await)
    });
    assert_eq!(told, r#"{"arguments":[],"variables":{"LANG":"C.UTF-8"}}"#);
}
