//! A guest that does its worst with the network is refused or ended, while its neighbours succeed, and the worker's
//! memory is given back.

#[path = "../../host/sandbox/tests/sandbox/common/server.rs"]
#[allow(dead_code, reason = "the sandbox's own tests use all of it")]
mod server;

use serde_json::{Value, json};
use server::Server;
use stem_tests::arena::{Arena, assert_all_failed};
use stem_tests::host::TestHost;

/// Does this amid neighbours, where these origins are granted; gives how the attempts ended.
fn amid_neighbours(granted: &str, deed: &Value) -> Vec<Value> {
    let host = TestHost::new();
    host.deploy("misbehave-http", &["--allow-http", granted, "--hard", "5s"]);
    Arena::new(host, "misbehave-http").run(deed)
}

fn get(url: &str) -> Value {
    json!({"do": "get", "url": url})
}

/// The task found out the same every time.
fn assert_all_said(outcomes: &[Value], said: &Value) {
    for outcome in outcomes {
        assert_eq!(&outcome["result"], said, "{outcome}");
    }
}

const OVER_TIME: &str = r#"{"kind": "limit", "limit": "hard-time", "allowed": 5000}"#;

fn over_time() -> Value {
    serde_json::from_str(OVER_TIME).expect("JSON")
}

/// S6
#[test]
fn requests_to_this_machine_and_to_metadata_are_refused() {
    let server = Server::start();
    let urls = [
        server.url("/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ];
    for url in urls {
        let outcomes = amid_neighbours("https://example.com", &get(&url));
        assert_all_said(&outcomes, &json!({"error": "HttpRequestDenied"}));
    }
    assert!(server.seen().is_empty());
}

/// S6: `localhost` is such a name on every machine.
#[test]
fn a_granted_name_that_leads_to_this_machine_is_refused() {
    let server = Server::start();
    let url = format!("http://localhost:{}", server.address.port());
    let outcomes = amid_neighbours(&url, &get(&url));
    assert_all_said(&outcomes, &json!({"error": "DestinationIpProhibited"}));
    assert!(server.seen().is_empty());
}

/// S6
#[test]
fn a_redirect_to_this_machine_is_handed_to_the_guest_and_its_own_request_refused() {
    let (outside, inside) = (Server::start(), Server::start());
    let url = outside.url(&format!("/status/302/at/{}", inside.address));
    let outcomes = amid_neighbours(&outside.url(""), &json!({"do": "follow", "url": url}));
    assert_all_said(
        &outcomes,
        &json!({"status": 302, "then": {"error": "HttpRequestDenied"}}),
    );
    assert!(inside.seen().is_empty());
}

/// S6, S3
#[test]
fn a_slow_body_holds_a_guest_until_its_hard_limit() {
    let server = Server::start();
    let outcomes = amid_neighbours(&server.url(""), &get(&server.url("/drip")));
    assert_all_failed(&outcomes, &over_time());
}

/// S6, S3
#[test]
fn an_endless_body_ends_at_its_limit() {
    let server = Server::start();
    let outcomes = amid_neighbours(&server.url(""), &get(&server.url("/endless")));
    for outcome in outcomes {
        let is_cut = outcome["result"]["body"]["Err"].is_string();
        assert!(
            is_cut || outcome["error"]["limit"] == "hard-time",
            "{outcome}"
        );
    }
}

/// S6
#[test]
fn a_header_bomb_is_refused() {
    let server = Server::start();
    let outcomes = amid_neighbours(&server.url(""), &get(&server.url("/header-bomb")));
    assert_all_said(
        &outcomes,
        &json!({"error": "HttpResponseHeaderSectionSize(None)"}),
    );
}

/// S6, S3
#[test]
fn a_thousand_requests_at_once_are_answered_in_turns() {
    let server = Server::start();
    // Eight thousand answers take longer than a turn does by default.
    let patience = json!({"connect": 60_000});
    let deed = json!({"do": "many", "url": server.url("/"), "count": 1_000, "patience": patience});
    let host = TestHost::new();
    host.deploy(
        "misbehave-http",
        &["--allow-http", &server.url(""), "--hard", "60s"],
    );
    let arena = Arena::new(host, "misbehave-http").keeping(48 << 20);
    let outcomes = arena.run(&deed);
    assert_all_said(&outcomes, &json!({"200": 1_000}));
}
