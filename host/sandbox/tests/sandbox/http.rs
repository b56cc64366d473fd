//! Requests of guests: where they may go, what goes along, and how much of everything there may be (S6).

use std::sync::atomic::Ordering;

use crate::common::net::{deployed, done, granted, lines, sandbox, sandbox_with_names};
use crate::common::server::Server;
use crate::common::{Attempt, block_on, failure};
use serde_json::{Value, json};
use stem_core::executor::Execution;
use stem_core::outcome::FailureKind;

/// Runs deeds under these grants, one after the other, on a machine where `names` lead to these addresses.
fn run_each(names: &[(&str, &[&str])], grants: &str, deeds: &[Value]) -> Vec<(Value, Execution)> {
    block_on(async {
        let (sandbox, _) = sandbox_with_names(names);
        let program = granted(&sandbox, grants).await;
        let mut all = Vec::new();
        for deed in deeds {
            all.push(done(&program, deed).await);
        }
        all
    })
}

fn run(grants: &str, deed: &Value) -> (Value, Execution) {
    let mut all = run_each(&[], grants, std::slice::from_ref(deed));
    all.remove(0)
}

/// This server granted, by its address.
fn to(server: &Server) -> String {
    format!("http = [\"{}\"]", server.url(""))
}

fn get(url: &str) -> Value {
    json!({"do": "get", "url": url})
}

// === where ===

/// S6
#[test]
fn a_request_goes_to_a_granted_address_and_its_answer_comes_back() {
    let server = Server::start();
    let (said, _) = run(&to(&server), &get(&server.url("/a?b=c")));
    assert_eq!(
        (&said["status"], &said["body"]),
        (&json!(200), &json!({"Ok": 5}))
    );
    let head = server.only_head().to_lowercase();
    assert!(head.starts_with("get /a?b=c http/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("\r\nhost: {}", server.address)),
        "{head}"
    );
    assert!(head.contains("\r\nuser-agent: stem/"), "{head}");
}

fn assert_refused_with_a_remedy(url: &str, (said, execution): &(Value, Execution)) {
    assert_eq!(said, &json!({"error": "HttpRequestDenied"}), "{url}");
    let log = lines(execution);
    assert!(
        log.contains(&format!("a request to {url} was refused")),
        "{log}"
    );
    let remedy = format!("`--allow-http {url}`, or `http = [\"{url}\"]`");
    assert!(log.contains(&remedy), "{log}");
}

/// S6: scheme, host and port count, and the log says what would allow it.
#[test]
fn what_is_not_granted_is_refused_and_the_log_says_what_would_allow_it() {
    let server = Server::start();
    let urls = [
        server.url("").replace("http:", "https:"),
        server.url("").replace("127.0.0.1", "localhost"),
        "http://127.0.0.1:1".to_owned(),
        "http://169.254.169.254".to_owned(),
    ];
    let done = run_each(&[], &to(&server), &urls.each_ref().map(|url| get(url)));
    for (url, done) in urls.iter().zip(&done) {
        assert_refused_with_a_remedy(url, done);
    }
    assert!(server.seen().is_empty());
}

/// S6: a user before the host means another host to some readers.
#[test]
fn a_url_that_can_be_read_in_two_ways_is_refused() {
    let server = Server::start();
    let url = format!("http://{}@evil.example/", server.address);
    let (said, _) = run(&to(&server), &get(&url));
    assert_eq!(said["error"], "HttpRequestUriInvalid");
}

const INWARDS: [(&str, &[&str]); 9] = [
    ("a.crm.test", &["127.0.0.1"]),
    ("b.crm.test", &["10.0.0.5", "192.168.1.1"]),
    ("c.crm.test", &["100.64.0.1"]),
    ("d.crm.test", &["169.254.169.254"]),
    ("e.crm.test", &["0.0.0.0"]),
    ("f.crm.test", &["::1"]),
    ("g.crm.test", &["::ffff:127.0.0.1"]),
    ("h.crm.test", &["fd00:ec2::254"]),
    ("i.crm.test", &["64:ff9b::a00:1"]),
];

/// S6
#[test]
fn a_granted_name_that_leads_inwards_is_refused() {
    let urls = INWARDS.map(|(name, _)| format!("http://{name}:9"));
    let deeds = urls.each_ref().map(|url| get(url));
    let done = run_each(&INWARDS, r#"http = ["http://*.crm.test:9"]"#, &deeds);
    for ((_, addresses), (said, execution)) in INWARDS.iter().zip(done) {
        assert_eq!(said["error"], "DestinationIpProhibited", "{addresses:?}");
        let log = lines(&execution);
        let expected = format!("was refused: its name leads to {},", addresses[0]);
        assert!(log.contains(&expected), "{log}");
    }
}

/// S6: a grant that says so lets a name lead inwards, but never to where no name leads.
#[test]
fn a_private_grant_is_for_private_addresses_and_not_for_metadata() {
    let server = Server::start();
    let port = server.address.port();
    let names: [(&str, &[&str]); 3] = [
        ("a.test", &["127.0.0.1"]),
        ("b.test", &["169.254.169.254"]),
        ("c.test", &["169.254.169.254", "0.0.0.0", "127.0.0.1"]),
    ];
    let urls = names.map(|(name, _)| format!("http://{name}:{port}"));
    let grants = format!("http-private = {urls:?}");
    let done = run_each(&names, &grants, &urls.each_ref().map(|url| get(url)));
    assert_eq!(done[0].0["status"], 200);
    assert_eq!(done[1].0["error"], "DestinationIpProhibited");
    assert_eq!(done[2].0["status"], 200);
    assert_eq!(server.seen().len(), 2);
}

/// S6: what is checked is what is connected to, so a name that changes its mind in between gains nothing; and what was
/// checked for one deployment serves no other.
#[test]
fn a_name_is_looked_up_once_for_a_connection_of_a_deployment() {
    let server = Server::start();
    let url = format!("http://crm.test:{}", server.address.port());
    let grants = format!("http-private = [\"{url}\"]");
    block_on(async {
        let (sandbox, names) = sandbox_with_names(&[("crm.test", &["127.0.0.1"])]);
        for deployments in 1..=2 {
            let program = granted(&sandbox, &grants).await;
            for _ in 0..3 {
                assert_eq!(done(&program, &get(&url)).await.0["status"], 200);
            }
            assert_eq!(names.asked.load(Ordering::SeqCst), deployments);
            assert_eq!(server.connections(), deployments);
        }
    });
}

/// S6
#[test]
fn a_name_that_leads_nowhere_is_an_error_of_dns() {
    let (said, _) = run(r#"http = ["nowhere.test"]"#, &get("https://nowhere.test"));
    let error = said["error"].as_str().expect("an error");
    assert!(error.starts_with("DnsError"), "{error}");
}

/// S6: the guest sees where it is sent, and its own next request is checked like any other.
#[test]
fn a_redirect_is_not_followed() {
    let server = Server::start();
    let url = server.url("/status/302/at/169.254.169.254/latest");
    let (said, _) = run(&to(&server), &get(&url));
    assert_eq!(said["status"], 302);
    assert_eq!(said["headers"]["location"], "http://169.254.169.254/latest");
    assert_eq!(server.seen().len(), 1);
}

/// S2: linked, and every call refused.
#[test]
fn a_module_with_a_stub_is_refused_at_every_request() {
    let server = Server::start();
    let grants = format!("{}\nstubs = [\"wasi:http\"]", to(&server));
    let (said, _) = run(&grants, &get(&server.url("/")));
    assert_eq!(said["error"], "HttpRequestDenied");
}

// === what goes along ===

fn with_token(server: &Server) -> String {
    format!(
        "{}\n[grants.http-headers.\"{}\"]\nAuthorization = \"Bearer ${{secret:CRM_TOKEN}}\"",
        to(server),
        server.url("")
    )
}

/// S6: the guest neither sees nor replaces it, and it is written down nowhere.
#[test]
fn a_secret_header_is_put_in_on_the_way_out() {
    let server = Server::start();
    let deed = json!({"do": "get", "url": server.url("/"), "headers": {"authorization": "mine"}});
    let (said, execution) = run(&with_token(&server), &deed);
    let head = server.only_head();
    assert!(head.contains("\r\nauthorization: Bearer hunter2"), "{head}");
    assert!(!head.contains("mine"), "{head}");
    assert!(!said.to_string().contains("hunter2"), "{said}");
    assert!(
        !format!("{execution:?}").contains("hunter2"),
        "{execution:?}"
    );
}

fn assert_does_not_start(server: &Server, secret: &str, why: &str) {
    let grants = with_token(server).replace("CRM_TOKEN", secret);
    let execution = block_on(async {
        let program = granted(&sandbox(), &grants).await;
        Attempt::json(&get(&server.url("/")).to_string())
            .run(&program)
            .await
    });
    let failure = failure(&execution);
    assert_eq!(failure.kind, FailureKind::NotPermitted);
    assert!(failure.message.contains(why), "{failure:?}");
    assert!(!failure.message.contains("lines"), "{failure:?}");
}

/// S6, M4
#[test]
fn an_attempt_does_not_start_without_a_value_for_its_secret_header() {
    let server = Server::start();
    assert_does_not_start(&server, "NONE", "the secret `NONE` has no value");
    assert_does_not_start(&server, "BROKEN", "a line break");
    assert!(server.seen().is_empty());
}

const FRAMING: [&str; 5] = [
    "host",
    "connection",
    "transfer-encoding",
    "upgrade",
    "keep-alive",
];

/// S6
#[test]
fn a_guest_cannot_set_what_frames_its_request() {
    let server = Server::start();
    let url = server.url("/");
    let deeds = FRAMING.map(|name| json!({"do": "get", "url": url, "headers": {name: "x"}}));
    for (name, (said, _)) in FRAMING.iter().zip(run_each(&[], &to(&server), &deeds)) {
        let error = said["error"].as_str().expect("an error");
        assert!(error.contains("Forbidden"), "{name}: {error}");
    }
    assert!(server.seen().is_empty());
}

/// S6: they would make a proxy, or an echo of the operator's headers, of the server.
#[test]
fn no_guest_sends_connect_or_trace() {
    let server = Server::start();
    let url = server.url("/");
    let deeds = ["CONNECT", "TRACE", "TRACK"]
        .map(|method| json!({"do": "get", "url": url, "method": method}));
    for (said, _) in run_each(&[], &to(&server), &deeds) {
        assert_eq!(said["error"], "HttpRequestMethodInvalid");
    }
    assert!(server.seen().is_empty());
}

/// S6, M1
#[test]
fn headers_for_an_origin_that_is_not_granted_are_refused_when_they_are_deployed() {
    let policy =
        "[grants]\nhttp = [\"a.example\"]\n[grants.http-headers.\"https://b.example\"]\nx = \"y\"";
    let refused = block_on(async { deployed(&sandbox(), "misbehave-http", policy).await.err() });
    let refused = refused.expect("refused").to_string();
    assert!(
        refused.contains("`https://b.example`, which is not granted"),
        "{refused}"
    );
}
