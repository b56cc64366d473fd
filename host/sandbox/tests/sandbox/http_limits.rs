//! What a guest or a server may have of a request: time, bytes, turns (S6, S3).

use std::net::TcpListener;
use std::time::Duration;

use crate::common::net::{deployed, done, granted, lines, sandbox};
use crate::common::server::{Seen, Server};
use crate::common::tls::TlsServer;
use crate::common::{Attempt, block_on, crossed, result};
use futures::future::join_all;
use serde_json::{Value, json};
use stem_core::executor::Execution;
use stem_core::outcome::Limit;

/// Runs a deed with this server granted.
fn run(server: &Server, deed: &Value) -> (Value, Execution) {
    run_with(&server.url(""), deed)
}

/// Runs a deed with this origin granted.
fn run_with(origin: &str, deed: &Value) -> (Value, Execution) {
    block_on(async {
        let grants = format!("http = [\"{origin}\"]");
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

/// S6: the task's own patience.
#[test]
fn an_answer_that_does_not_begin_or_go_on_in_time_is_an_error() {
    let server = Server::start();
    let waits = json!({"first_byte": 300, "between_bytes": 300});
    let get = |path: &str| json!({"do": "get", "url": server.url(path), "patience": waits});
    let (said, _) = run(&server, &get("/silent"));
    assert_eq!(said["error"], "ConnectionReadTimeout");
    let (said, _) = run(&server, &get("/slow"));
    let error = said["body"]["Err"].as_str().expect("an error");
    assert_eq!(error, "after 3 bytes: connection read timeout");
}

/// S6: a server that takes connections, and says nothing.
#[test]
fn a_connection_that_does_not_come_about_in_time_is_an_error() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("it has one"));
    let deed = json!({"do": "get", "url": url, "patience": {"connect": 300}});
    let (said, execution) = run_with(&url, &deed);
    assert_eq!(said["error"], "ConnectionTimeout", "{execution:?}");
}

/// S6
#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_not_talked_to() {
    let server = TlsServer::start();
    let deed = json!({"do": "get", "url": server.url()});
    let (said, _) = run_with(&server.url(), &deed);
    assert_eq!(said["error"], "TlsCertificateError");
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

/// S6, S3: what the host keeps of a request that is never sent, granted or not; some 34 MiB in all.
#[test]
fn no_part_of_a_request_is_longer_than_servers_take() {
    let longest =
        json!({"method": 32, "scheme": 64, "authority": 300, "path": 8_192, "requests": 4_000});
    for grants in ["http = [\"https://a.example\"]", "stubs = [\"wasi:http\"]"] {
        let deed = json!({"do": "parts"});
        let (said, _) = block_on(async { done(&granted(&sandbox(), grants).await, &deed).await });
        assert_eq!(said, longest, "{grants}");
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

/// S6, S3: whatever becomes of them.
#[test]
fn requests_of_an_attempt_end_at_their_limit() {
    let server = Server::start();
    let policy = format!(
        "[defaults]\nhard-time-limit = \"60s\"\n[grants]\nhttp = [\"{}\"]",
        server.url("")
    );
    let deed = json!({"do": "again", "url": server.url("/"), "method": "CONNECT", "count": 10_001});
    let (said, _) = block_on(async {
        let program = deployed(&sandbox(), "misbehave-http", &policy).await;
        done(&program.expect("deployed"), &deed).await
    });
    let limited = json!({"HttpRequestMethodInvalid": 10_000, "HttpRequestDenied": 1});
    assert_eq!(said, limited);
}

/// How often any of these attempts was told this.
fn told(done: &[(Value, Execution)], what: &str) -> u64 {
    done.iter()
        .filter_map(|(said, _)| said[what].as_u64())
        .sum()
}

/// Twelve attempts of a task that want 192 requests at once, of a server that answers none.
fn crowd(server: &Server) -> Vec<(Value, Execution)> {
    let patience = json!({"connect": 500, "first_byte": 3_000});
    let url = server.url("/silent");
    let deed = json!({"do": "many", "url": url, "count": 16, "patience": patience});
    let grants = format!("http = [\"{}\"]", server.url(""));
    block_on(async {
        let program = granted(&sandbox(), &grants).await;
        join_all((0..12).map(|_| done(&program, &deed))).await
    })
}

/// S6, S3
#[test]
fn requests_without_an_answer_are_limited_for_all_attempts_of_a_task() {
    let server = Server::start();
    let done = crowd(&server);
    assert_eq!(server.most_at_once(), 128);
    let (silent, crowded) = ("ConnectionReadTimeout", "ConnectionLimitReached");
    assert_eq!((told(&done, silent), told(&done, crowded)), (128, 64));
    let whose = "128 requests of all of its task's attempts";
    let is_said = |(_, execution): &(Value, Execution)| lines(execution).contains(whose);
    assert!(done.iter().any(is_said));
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
        let failure = crate::common::failure(&failed);
        assert_eq!(
            format!("{:?}", failure.disposition),
            disposition,
            "{path}: {failure:?}"
        );
    }
}
