//! Programs as tasks (S9): what they read, what they write, and what their end means.

use std::sync::Arc;

use crate::common::hostile::Hostile;
use crate::common::{Attempt, block_on, crossed, failure, guest, result, sandbox};
use bytes::Bytes;
use stem_core::executor::{Execution, Program};
use stem_core::names::{HeaderName, TaskName};
use stem_core::outcome::{Disposition, FailureKind, Limit, Outcome};
use stem_core::payload::Payload;
use stem_core::record::LogLevel;
use stem_sandbox::Overrides;

/// Settings under which a program is the task `report`.
fn named(policy: &str) -> Overrides {
    let mut overrides = Overrides::parse(policy).expect("a good policy");
    let task = TaskName::new("report").expect("a good name");
    overrides.make_command(Some(task));
    overrides
}

async fn program(module: &Bytes, policy: &str) -> Arc<dyn Program> {
    let sandbox = sandbox(4);
    let inspected = sandbox.inspect(module, &named(policy)).await;
    let mut inspected = inspected.expect("a good module");
    let task = inspected.tasks.remove(0);
    let program = sandbox.program(module, task, &inspected.grants).await;
    program.expect("a good module")
}

fn text(payload: &str) -> Attempt {
    let mut attempt = Attempt::json("");
    attempt.payload = Payload::new("text/plain", payload.to_owned());
    attempt
}

fn ran(module: &Bytes, policy: &str, attempt: Attempt) -> Execution {
    block_on(async { attempt.run(&program(module, policy).await).await })
}

fn report(policy: &str, attempt: Attempt) -> Execution {
    ran(&guest("report"), policy, attempt)
}

fn refused(module: &Bytes, overrides: &Overrides) -> String {
    let inspected = block_on(async { sandbox(2).inspect(module, overrides).await });
    inspected.expect_err("refused").to_string()
}

/// S9
#[test]
fn a_program_reads_its_payload_and_writes_its_result_and_its_log() {
    let execution = report("", text("a b a\nc"));
    assert_eq!(
        result(&execution),
        "{\"lines\":2,\"words\":4,\"bytes\":7}\n"
    );
    let Outcome::Succeeded(payload) = &execution.outcome else {
        panic!("{execution:?}");
    };
    assert_eq!(payload.content_type, "application/json");
    let line = &execution.log[0];
    assert_eq!(
        (line.level, line.message.as_str()),
        (LogLevel::Stderr, "attempt 1: 7 bytes")
    );
}

const ENVIRONMENT: [&str; 10] = [
    "STEM_TASK=report",
    "STEM_QUEUE=default",
    "STEM_ATTEMPT=1",
    "STEM_MAX_ATTEMPTS=5",
    "STEM_DELIVERY=1",
    "STEM_CONTENT_TYPE=text/plain",
    "STEM_HARD_TIME_LIMIT_MS=60000",
    "STEM_ATTRIBUTE_ROOT=r",
    "STEM_HEADER_X_TENANT=acme",
    "REGION=eu",
];

/// S9
#[test]
fn a_program_finds_its_attempt_in_its_environment() {
    let mut attempt = text("env");
    let tenant = HeaderName::new("x-tenant").expect("a good name");
    attempt.headers.insert(tenant, "acme".to_owned());
    let policy = "[command]\ntask = \"report\"\narguments = [\"--environment\"]\n[grants.environment]\nREGION = \"eu\"";
    let told = result(&report(policy, attempt));
    let told: Vec<&str> = told.lines().collect();
    for expected in ENVIRONMENT {
        assert!(told.contains(&expected), "{expected}: {told:?}");
    }
}

/// S9
#[test]
fn the_last_line_of_a_program_that_fails_rejects() {
    let execution = report("", text(" "));
    let failure = failure(&execution);
    assert_eq!(failure.disposition, Disposition::Reject);
    assert_eq!(failure.message, "there is nothing to count");
    let status = ("status".to_owned(), "1".to_owned());
    let expected = FailureKind::Returned {
        code: "empty-text".to_owned(),
        details: vec![status],
    };
    assert_eq!(failure.kind, expected);
}

/// S9, S7: also where the log has no room for it.
#[test]
fn the_last_line_counts_where_the_log_is_full() {
    let execution = report("[defaults]\nlog-limit = \"16B\"", text(" "));
    assert!(execution.log_dropped > 0, "{execution:?}");
    assert_eq!(failure(&execution).disposition, Disposition::Reject);
}

/// A program that ends itself with this code.
fn ending_with(code: u8) -> Bytes {
    let text = format!(
        r#"(component
          (import "wasi:cli/exit@0.2.12" (instance $exit (export "exit-with-code" (func (param "status-code" u8)))))
          (core func $exit (canon lower (func $exit "exit-with-code")))
          (core module $program
            (import "host" "exit" (func $exit (param i32)))
            (func (export "run") (result i32) (call $exit (i32.const {code})) (i32.const 1)))
          (core instance $program (instantiate $program
            (with "host" (instance (export "exit" (func $exit))))))
          (func $run (result (result)) (canon lift (core func $program "run")))
          (instance $run (export "run" (func $run)))
          (export "wasi:cli/run@0.2.6" (instance $run)))"#
    );
    wat::parse_str(&text).expect("a component").into()
}

/// S9: 65 rejects.
#[test]
fn the_exit_code_of_a_program_is_heeded_where_it_is_passed() {
    let ended = |code| ran(&ending_with(code), "", text(""));
    assert_eq!(result(&ended(0)), "");
    assert_eq!(failure(&ended(3)).disposition, Disposition::Retry);
    assert_eq!(failure(&ended(65)).disposition, Disposition::Reject);
}

/// S9: Rust's standard library says no more than that the program failed.
#[test]
fn a_program_that_ends_itself_has_failed_or_succeeded() {
    let ending = |code: &str| format!("[command]\narguments = [\"--exit\", \"{code}\"]");
    assert_eq!(result(&report(&ending("0"), text("a"))), "");
    let failed = report(&ending("3"), text("a"));
    assert_eq!(failure(&failed).disposition, Disposition::Retry);
}

/// S9, S3
#[test]
fn a_program_that_writes_too_much_is_over_its_output_limit() {
    let execution = report("[defaults]\noutput-limit = \"8B\"", text("a"));
    let (limit, allowed, used) = crossed(&execution);
    assert_eq!((limit, allowed), (Limit::Output, 8));
    assert!(used > 8, "{used}");
}

/// S9
#[test]
fn a_programs_operator_says_what_its_output_is() {
    let csv = report("[command]\nresult-content-type = \"text/csv\"", text("a"));
    let Outcome::Succeeded(payload) = &csv.outcome else {
        panic!("{csv:?}");
    };
    assert_eq!(payload.content_type, "text/csv");
    let policy =
        "[command]\narguments = [\"--environment\"]\nresult-content-type = \"application/json\"";
    let wrong = report(policy, text("a"));
    assert_eq!(failure(&wrong).kind, FailureKind::InvalidOutput);
}

/// M1, S9
#[test]
fn a_program_is_deployed_on_purpose_only() {
    let program = guest("report");
    let unsaid = refused(&program, &Overrides::default());
    assert!(unsaid.contains("--command --task NAME"), "{unsaid}");
    let unnamed = Overrides::parse("[command]").expect("a good policy");
    assert!(refused(&program, &unnamed).contains("name it with --task NAME"));
    let handler = refused(&Hostile::default().component(), &named(""));
    assert!(handler.contains("without --command"), "{handler}");
}

/// S9, M4
#[test]
fn a_program_has_the_policy_and_the_schema_that_its_operator_gives() {
    let policy = "[command]\ndescription = \"Counts\"\npayload-schema = '{\"type\":\"string\"}'\n[tasks.report]\nmax-attempts = 2";
    let task = block_on(async { program(&guest("report"), policy).await.task().clone() });
    assert_eq!(
        (task.description.as_str(), task.policy.max_attempts),
        ("Counts", 2)
    );
    assert_eq!(
        task.payload_schema.as_deref(),
        Some("{\"type\":\"string\"}")
    );
    let other = refused(&guest("report"), &named("[tasks.reprot]\nmax-attempts = 2"));
    assert!(other.contains("did you mean `report`?"), "{other}");
    let schema = refused(&guest("report"), &named("[command]\npayload-schema = '{'"));
    assert!(schema.contains("payload schema of `report`"), "{schema}");
}
