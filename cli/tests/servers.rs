//! Servers that cannot be reached, or are not to be used: what is said, and the exit code; and what is said of good ones.

use std::io::Write as _;
use std::net::TcpListener;

use stem_testkit::builders::fresh_namespace;
use stem_testkit::redis_server::{Server, shared_url};
use stem_testkit::secure_server::{Authority, SecureServer};
use stem_tests::host::{Answer, TestHost};
use stem_tests::worker::Worker;

const PLAIN: [&str; 2] = ["--save", ""];

fn on(url: impl Into<String>) -> TestHost {
    let namespace = fresh_namespace().to_string();
    TestHost::new()
        .with("STEM_BROKER_URL", url)
        .with("STEM_NAMESPACE", namespace)
}

/// A host that shows this server what it wants to see.
fn let_in(secured: &SecureServer) -> TestHost {
    let file = |name: &str| secured.file(name).display().to_string();
    on(secured.url())
        .with("STEM_TLS_CA_CERT", file("ca.pem"))
        .with("STEM_TLS_CLIENT_CERT", file("client.pem"))
        .with("STEM_TLS_CLIENT_KEY", file("client.key"))
}

fn list(host: &TestHost) -> Answer {
    host.run(&["queue", "list", "--json"])
}

/// A namespace that holds nothing is there.
#[test]
fn what_only_looks_finds_an_empty_namespace() {
    let host = on(shared_url());
    for noun in ["queue", "task", "module", "worker", "dlq"] {
        assert_eq!(host.ok(&[noun, "list", "--json"]), "[]", "{noun}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_look_at() {
    let mut server = Server::start(&PLAIN);
    server.stop();
    let answer = list(&on(server.url()));
    let said = format!("error: connect to the server `{}`: ", server.url());
    answer.assert(3, &said);
    answer.assert(3, "check that the server runs and listens there");
    answer.assert(3, "\nhint: ");
    assert!(!answer.stderr.contains("rediss://"), "{answer:?}");
    let results = ("STEM_RESULT_BACKEND_URL", server.url());
    let answer = on(shared_url()).run_with((results.0, &results.1), &["queue", "list"]);
    answer.assert(3, "or name another with --result-backend-url");
}

#[test]
fn a_host_that_nobody_knows_cannot_be_reached() {
    let answer = list(&on("redis://nowhere.invalid:1/0"));
    answer.assert(3, "connect to the server `redis://nowhere.invalid:1/0`");
}

/// X4
#[test]
fn a_wrong_password_is_refused_and_not_repeated() {
    let server = Server::start(&["--requirepass", "right"]);
    let with = |password: &str| server.url().replace("//", &format!("//:{password}@"));
    let answer = list(&on(with("wrong-one")));
    answer.assert(2, "check the user and the password in the URL");
    for what_it_is_not in ["wrong-one", "TLS"] {
        assert!(!answer.stderr.contains(what_it_is_not), "{answer:?}");
    }
    list(&on(server.url())).assert(2, "check the user and the password in the URL");
    assert_eq!(list(&on(with("right"))).stdout.trim(), "[]");
}

#[test]
fn a_database_that_a_server_does_not_have_is_no_bug_of_ours() {
    let server = Server::start(&PLAIN);
    let answer = list(&on(server.url().replace("/0", "/99")));
    answer.assert(2, "the store may not be used so");
    answer.assert(2, "DB index is out of range");
}

/// X4
#[test]
fn a_url_that_cannot_be_read_is_refused_without_its_password() {
    let url = "redis://ada:sec?ret@h/0";
    let host = on(url);
    for arguments in [
        &["queue", "list"][..],
        &["queue", "list", "--broker-url", url],
        &["bench", "queue", "--url", url],
    ] {
        let answer = host.run(arguments);
        answer.assert(2, "write redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]");
        assert!(!answer.stderr.contains("sec?ret"), "{answer:?}");
    }
}

/// X5
#[test]
fn a_server_with_tls_lets_in_whoever_shows_a_certificate() {
    let secured = SecureServer::default();
    let answer = list(&let_in(&secured));
    assert_eq!(answer.stdout.trim(), "[]", "{answer:?}");
}

/// X5: where, with what, and what to try.
#[test]
fn a_handshake_that_fails_says_where_and_with_what() {
    let secured = SecureServer::default();
    let host = on(secured.url());
    let stranger = host.write("other.pem", Authority::default().certificate());
    let host = host.with("STEM_TLS_CA_CERT", stranger);
    let answer = list(&host);
    answer.assert(3, &format!("connect to the server `{}`", secured.url()));
    answer.assert(3, "TLS with a given authority, no client certificate");
    answer.assert(3, "was signed by that authority");
}

/// X5
#[test]
fn tls_where_there_is_none_and_none_where_there_is_are_refused() {
    let secured = SecureServer::default();
    list(&on(secured.server().url())).assert(3, "write rediss:// if it wants TLS");
    let plain = Server::start(&PLAIN);
    list(&on(plain.url().replace("redis:", "rediss:")))
        .assert(3, "check that the server listens for TLS on this port");
}

/// X5: a server that shows a certificate of somebody else is taken only where that is asked for.
#[test]
fn any_certificate_of_a_server_is_taken_where_that_is_asked_for() {
    let secured = SecureServer::default();
    let host = let_in(&secured).with("STEM_TLS_CA_CERT", "");
    assert_eq!(list(&host).code, 3);
    let answer = host.run(&["queue", "list", "--json", "--tls-allow-insecure"]);
    assert_eq!(answer.stdout.trim(), "[]", "{answer:?}");
    answer.assert(0, "any certificate of this server is taken");
}

/// What is wrong with a file, and what is said of it.
const BAD_FILES: [(&str, &str, &str); 4] = [
    (
        "STEM_TLS_CLIENT_KEY",
        "open.key",
        "others may read it\nhint: `chmod go-rwx",
    ),
    (
        "STEM_TLS_CA_CERT",
        "text.pem",
        "there is no certificate in PEM in it",
    ),
    (
        "STEM_TLS_CA_CERT",
        "none.pem",
        "read the TLS certificate in none.pem: No such file",
    ),
    ("STEM_TLS_CLIENT_CERT", "", "without its certificate"),
];

/// X4, X5: it is said before anybody is asked.
#[test]
fn files_of_certificates_and_keys_are_checked() {
    let secured = SecureServer::default();
    let host = let_in(&secured);
    // Readable by everybody, as files are made.
    host.write("open.key", secured.bytes("client.key"));
    host.write("text.pem", "no certificate");
    for (variable, file, said) in BAD_FILES {
        let answer = host.run_with((variable, file), &["queue", "list"]);
        answer.assert(2, said);
    }
}

/// B1: who stays is told, and who only asks is not told every time.
#[test]
fn a_worker_says_that_nothing_outlives_its_server() {
    let server = Server::start(&PLAIN);
    let host = on(server.url());
    assert_eq!(list(&host).stderr, "");
    let worker = host.command(&["worker", "start"]);
    let mut worker = Worker::start_until(worker, "nothing outlives this server");
    worker.hear(&format!("store: {}", server.url()));
}

/// B9
#[test]
fn a_server_that_evicts_is_refused_unless_that_is_allowed() {
    let server = Server::start(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let host = on(server.url());
    let answer = list(&host);
    answer.assert(2, "its maxmemory-policy is allkeys-lru");
    answer.assert(
        2,
        "set it to noeviction, or allow eviction (--allow-eviction)",
    );
    host.ok(&["queue", "list", "--allow-eviction"]);
    let info = host.json(&["store", "info"]);
    assert_eq!(info["stores"][0]["eviction_policy"], "allkeys-lru");
    let allowed = host.run_with(("STEM_ALLOW_EVICTION", "true"), &["queue", "list"]);
    allowed.assert(0, "this server drops envelopes when its memory is full");
}

/// R2: one database is one server, however it is written.
#[test]
fn one_database_is_one_server_however_it_is_written() {
    let server = Server::start(&PLAIN);
    let url = server.url();
    let (host, same) = (on(&url), url.trim_end_matches("/0"));
    let info = host.json(&["store", "info", "--result-backend-url", same]);
    assert_eq!(info["stores"].as_array().map(Vec::len), Some(1));
    assert_eq!(info["stores"][0]["one_step_with_results"], true);
    let other = format!("{same}/1");
    let info = host.json(&["store", "info", "--result-backend-url", &other]);
    assert_eq!(info["stores"].as_array().map(Vec::len), Some(2));
}

const FACTS: [(&str, &str); 4] = [
    ("broker", "redis://127.0.0.1:"),
    ("store", "redis"),
    ("eviction_policy", "noeviction"),
    ("durability", "may lose its last 2 s when the server dies"),
];
const NUMBERS: [(&str, u64); 4] = [
    ("memory_at_the_most_bytes", 100 << 20),
    ("publishing_stops_at_bytes", (100 << 20) / 100 * 90),
    ("replicas", 0),
    ("envelopes", 0),
];

/// B1, B9: what one gets is said, with numbers as numbers.
#[test]
fn store_info_says_what_a_server_keeps_and_how_much_of_it() {
    let server = Server::start(&["--appendonly", "yes", "--maxmemory", "100mb"]);
    let info = on(server.url()).json(&["store", "info"]);
    let store = &info["stores"][0];
    for (fact, said) in FACTS {
        let told = store[fact].as_str().unwrap_or_default();
        assert!(told.contains(said), "{fact}: {store}");
    }
    for (fact, number) in NUMBERS {
        assert_eq!(store[fact], number, "{fact}: {store}");
    }
    assert!(store["redis_version"].is_string(), "{store}");
    assert!(store["memory_in_use_bytes"].as_u64() > Some(0), "{store}");
    // It is no cluster.
    assert!(store["spread"].is_null(), "{store}");
}

/// A server of another kind: it answers whoever connects with a page.
fn web_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = "HTTP/1.1 400 Bad Request\r\n\r\n<html>\n<body>no</body>\n</html>\n";
            // Whoever hangs up has seen enough.
            let _ = (&stream).write_all(page.as_bytes());
        }
    });
    port
}

/// B13: in one line each.
#[test]
fn a_server_that_is_none_is_said_to_be_none() {
    let answer = list(&on(format!("redis://127.0.0.1:{}", web_server())));
    answer.assert(3, "no answer of a Redis server");
    assert_eq!(answer.stderr.lines().count(), 2, "{answer:?}");
    let plain = shared_url().replace("redis:", "redis-sentinel:");
    let plain = plain.trim_end_matches("/0");
    let answer = list(&on(format!("{plain}/main")));
    answer.assert(2, "no sentinel answers there");
    assert_eq!(answer.stderr.lines().count(), 2, "{answer:?}");
}

/// R3
#[test]
fn an_id_that_is_not_found_is_said_with_where_and_what_else_to_name() {
    let host = on(shared_url());
    let answer = host.run(&["result", "0198c5a2-7d30-7c3e-8f43-0123456789ab"]);
    answer.assert(
        1,
        "no envelope has this id, or its record has expired, in redis://",
    );
    answer.assert(
        1,
        "\nhint: where workers keep results elsewhere, STEM_RESULT_BACKEND_URL",
    );
}
