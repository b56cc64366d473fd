//! What a guest or a server may have of a request: time, bytes, turns (S6, S3).

mod common;

use std::time::Duration;

use common::net::{deployed, done, granted, lines, sandbox};
use common::server::{Seen, Server};
use common::{Attempt, block_on, crossed, result};
use serde_json::{Value, json};
use stem_core::executor::Execution;
use stem_core::outcome::Limit;

/// Runs a deed with this server granted.
fn run(server: &Server, deed: &Value) -> (Value, Execution) {
    block_on(async {
        let grants = format!("http = [\"{}\"]", server.url(""));
        done(&granted(&sandbox(), &grants).await, deed).await
    })
}

/// The same under a hard limit of 300 ms, which the attempt is to cross.
fn run_over_time(server: &Server, path: &str) {
    let policy = format!(
        "[defaults]\nhard-time-limit = \"300ms\"\n[grants]\nhttp = [\"{}\"]",
        server.url("")
    );
    let execution = block_on(async {
        let program = deployed(&sandbox(), "misbehave-http", &policy)
            .await
            .expect("deployed");
        Attempt::json(&get(server, path).to_string())
            .run(&program)
            .await
    });
    assert_eq!(crossed(&execution).0, Limit::HardTime, "{path}");
    assert!(
        execution.usage.wall < Duration::from_secs(6),
        "{path}: {execution:?}"
    );
}

fn get(server: &Server, path: &str) -> Value {
    json!({"do": "get", "url": server.url(path)})
}

// === time ===

/// S6, S3: whatever a server does not say, the attempt's own limit ends it.
#[test]
fn a_server_that_says_nothing_or_little_holds_nobody_beyond_the_hard_limit() {
    let server = Server::start();
    for path in ["/silent", "/slow", "/drip"] {
        run_over_time(&server, path);
    }
}

// === bytes ===

/// S6
#[test]
fn a_body_without_an_end_is_cut_at_the_limit() {
    let server = Server::start();
    let (said, _) = run(&server, &get(&server, "/endless"));
    let error = said["body"]["Err"].as_str().expect("an error");
    assert!(
        error.contains("HttpResponseBodySize") || error.contains("body size exceeds limit"),
        "{error}"
    );
}

/// S6
#[test]
fn headers_without_an_end_are_refused() {
    let server = Server::start();
    for path in ["/large-head", "/header-bomb"] {
        let (said, _) = run(&server, &get(&server, path));
        let error = said["error"].as_str().expect("an error");
        assert!(
            error.starts_with("HttpResponseHeaderSectionSize"),
            "{path}: {error}"
        );
    }
}

/// S6
#[test]
fn an_answer_that_breaks_off_or_is_none_is_an_error() {
    let server = Server::start();
    let (said, _) = run(&server, &get(&server, "/nonsense"));
    assert_eq!(said["error"], "HttpProtocolError");
    let (said, _) = run(&server, &get(&server, "/broken"));
    assert!(said["body"]["Err"].is_string(), "{said}");
}

/// S6
#[test]
fn a_request_with_more_than_the_limit_is_broken_off() {
    let server = Server::start();
    let upload = |bytes: u64| json!({"do": "upload", "url": server.url("/"), "bytes": bytes});
    let (said, _) = run(&server, &upload(64 << 20));
    assert_eq!(said["answer"], json!({"Ok": 200}), "{said}");
    let (said, _) = run(&server, &upload((64 << 20) + 1));
    let error = said["answer"]["Err"].as_str().expect("an error");
    assert!(error.starts_with("HttpRequestBodySize"), "{said}");
    let seen: Vec<Seen> = server.wait_for(2);
    assert_eq!(seen[0].body, Ok(64 << 20));
    assert!(seen[1].body.is_err(), "{seen:?}");
}

/// S6: what a killed task had sent must not look whole to whoever gets it.
#[test]
fn a_body_that_its_task_did_not_finish_does_not_look_whole() {
    let server = Server::start();
    let deed = json!({"do": "cut-off", "url": server.url("/"), "bytes": 100_000});
    let (said, _) = run(&server, &deed);
    assert_eq!(said["written"], json!({"Ok": null}), "{said}");
    assert!(server.wait_for(1)[0].body.is_err(), "{:?}", server.seen());
}

/// S6, S3: as much as a guest has memory by default.
#[test]
fn what_a_guest_never_sends_takes_little_of_the_host() {
    let server = Server::start();
    for deed in [
        json!({"do": "bodies"}),
        json!({"do": "fields", "lines": 14}),
    ] {
        let (said, _) = run(&server, &deed);
        let held = said["held"].as_u64().expect("a number");
        assert!((1..=64 << 20).contains(&held), "{deed}: {held}");
    }
}

/// S6, S3
#[test]
fn headers_of_a_guest_over_the_limit_end_it() {
    let server = Server::start();
    let grants = format!("http = [\"{}\"]", server.url(""));
    let execution = block_on(async {
        let program = granted(&sandbox(), &grants).await;
        Attempt::json(r#"{"do":"fields","lines":20}"#)
            .run(&program)
            .await
    });
    let (limit, allowed, _) = crossed(&execution);
    assert_eq!((limit, allowed), (Limit::HostResources, 16 << 10));
}

// === turns ===

/// S6
#[test]
fn a_thousand_requests_at_once_take_turns() {
    let server = Server::start();
    let deed = json!({"do": "many", "url": server.url("/"), "count": 1_000});
    let (said, _) = run(&server, &deed);
    assert_eq!(said, json!({"200": 1_000}));
    assert!(server.most_at_once() <= 16, "{}", server.most_at_once());
    assert!(server.connections() < 100, "{}", server.connections());
}

/// S6
#[test]
fn answers_that_are_never_read_keep_the_others_from_their_turn() {
    let server = Server::start();
    let deed = json!({"do": "hoard", "url": server.url("/"), "count": 40});
    let (said, execution) = run(&server, &deed);
    assert_eq!(said, json!({"200": 16, "ConnectionLimitReached": 24}));
    assert!(
        lines(&execution).contains("16 requests of the attempt"),
        "{execution:?}"
    );
}

// === a task that uses it ===

fn webhook(server: &Server, path: &str) -> Execution {
    let policy = format!("[grants]\nhttp = [\"{}\"]", server.url(""));
    block_on(async {
        let program = deployed(&sandbox(), "webhook", &policy)
            .await
            .expect("deployed");
        let attempt =
            Attempt::json(r#"{"order":17}"#).with_header("webhook-url", &server.url(path));
        attempt.run(&program).await
    })
}

/// S6, S8
#[test]
fn a_webhook_is_delivered() {
    let server = Server::start();
    let delivered = webhook(&server, "/orders");
    let said = result(&delivered);
    assert_eq!(said, r#"{"status":200,"answer":"hello"}"#);
    assert!(delivered.usage.bytes_out > 12, "{:?}", delivered.usage);
    let seen = server.seen();
    assert_eq!(seen[0].body, Ok(12));
    assert!(
        seen[0].head.contains("\r\ncontent-type: application/json"),
        "{seen:?}"
    );
    assert!(seen[0].head.contains("\r\nidempotency-key: "), "{seen:?}");
}

/// S6
#[test]
fn a_webhook_that_is_not_taken_is_tried_again_or_rejected_as_the_answer_says() {
    let server = Server::start();
    for (path, disposition) in [
        ("/status/429/retry-after/7", "RetryAfter(7s)"),
        ("/status/503", "Retry"),
        ("/status/404", "Reject"),
        ("/status/301/at/elsewhere.example", "Reject"),
    ] {
        let failed = webhook(&server, path);
        let failure = common::failure(&failed);
        assert_eq!(
            format!("{:?}", failure.disposition),
            disposition,
            "{path}: {failure:?}"
        );
    }
}
