//! The whole system on a Redis server, through the built binary: workers and producers in processes of their own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use stem_testkit::builders::fresh_namespace;
use stem_testkit::redis_server::{Server, shared_url};
use stem_tests::host::{Answer, TestHost, text};
use stem_tests::worker::Worker;
use stem_tests::workspace;

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// A killed worker's envelopes run elsewhere soon.
const KILLABLE: [&str; 2] = ["--lease", "1s"];

/// A namespace of its own on this server, with an example deployed there.
fn on(url: &str, example: &str) -> TestHost {
    let namespace = fresh_namespace().to_string();
    let host = TestHost::new()
        .with("STEM_BROKER_URL", url)
        .with("STEM_NAMESPACE", namespace);
    host.with_deployed(&[example])
}

/// A worker of this name that runs one attempt at once.
fn single(host: &TestHost, name: &str) -> Worker {
    host.worker(&["--name", name, "--concurrency", "1"])
}

/// Who ran the last attempt.
fn worker_of(outcome: &Value) -> String {
    let attempts = outcome["attempts"].as_array();
    let last = attempts.and_then(|attempts| attempts.last());
    text(&last.expect("an attempt")["worker"])
}

/// B1, R3: three processes that share nothing but the server.
#[test]
fn what_one_process_enqueues_another_runs_and_the_first_sees_the_result() {
    let host = on(&shared_url(), "word-count");
    let _workers = [single(&host, "one"), single(&host, "two")];
    let payload = r#"{"text":"a b a"}"#;
    let result = host.ok(&["enqueue", "word-count", "--payload", payload, "--wait"]);
    assert_eq!(result, r#"{"a":2,"b":1}"#);
    let workers = host.json(&["worker", "list"]);
    let names = workers.as_array().into_iter().flatten();
    let mut names: Vec<String> = names.map(|worker| text(&worker["worker"])).collect();
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

/// B2: a worker with no free slot takes nothing from one that has.
#[test]
fn a_busy_worker_leaves_what_waits_to_another_one() {
    let host = on(&shared_url(), "misbehave");
    let _workers = [single(&host, "one"), single(&host, "two")];
    let long = host.enqueue("misbehave", &json!({"fate": "stop-when-asked"}), &[]);
    host.until_state(&long, "running");
    let short = host.enqueue("misbehave", &json!({"fate": "succeed"}), &[]);
    let short = worker_of(&host.outcome(&short));
    host.ok(&["cancel", &long]);
    let long = worker_of(&host.outcome(&long));
    assert_ne!(short, long);
}

/// B3, B5: nothing is lost with a worker, and nothing charged.
#[test]
fn what_a_killed_worker_held_runs_on_another_one() {
    let host = on(&shared_url(), "misbehave");
    let lost = host.worker(&KILLABLE);
    let id = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 1_500}), &[]);
    host.until_state(&id, "running");
    lost.kill();
    let _worker = host.worker(&KILLABLE);
    let outcome = host.outcome(&id);
    let attempt = &outcome["attempts"][0];
    assert_eq!(outcome["state"], "succeeded");
    assert_eq!(
        (&attempt["number"], &attempt["delivery"]),
        (&json!(1), &json!(2))
    );
}

/// R2: on two servers the record comes first; it lies with the results alone.
#[test]
fn results_may_lie_in_a_file_while_the_broker_is_a_server() {
    let host = on(&shared_url(), "misbehave").with("STEM_RESULT_BACKEND_URL", "sqlite:results.db");
    let lost = host.worker(&KILLABLE);
    let id = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 1_500}), &[]);
    host.until_state(&id, "running");
    lost.kill();
    let _worker = host.worker(&KILLABLE);
    assert_eq!(host.outcome(&id)["state"], "succeeded");
    host.until("the broker has let it go", |host| host.alive() == 0);
    let on_broker = ["result", &id, "--result-backend-url", &shared_url()];
    host.run(&on_broker).assert(1, "no envelope has this id");
    let info = host.json(&["store", "info"]);
    assert_eq!(info["stores"].as_array().map(Vec::len), Some(2));
    assert_eq!(info["stores"][0]["one_step_with_results"], false);
}

/// B13, B1: what runs goes on while the server is away, and is settled afterwards.
#[test]
fn a_worker_outlives_the_death_of_its_server() {
    let mut server = Server::start(&DURABLE);
    let host = on(&server.url(), "misbehave");
    let _worker = host.worker(&[]);
    let held = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 2_000}), &[]);
    let waiting = host.enqueue("misbehave", &json!({"fate": "succeed"}), &["--delay", "3s"]);
    host.until_state(&held, "running");
    server.restart();
    for id in [held, waiting] {
        let outcome = host.outcome(&id);
        assert_eq!(outcome["state"], "succeeded", "{outcome}");
        assert_eq!(outcome["attempts"].as_array().map(Vec::len), Some(1));
    }
}

/// B13: what a server knows of nobody knows, and the next is served all the same.
#[test]
fn a_worker_goes_on_with_a_server_that_came_back_empty() {
    let mut server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    let _worker = host.worker(&[]);
    server.restart_empty();
    host.deploy("misbehave", &[]);
    let id = host.enqueue("misbehave", &json!({"fate": "succeed"}), &[]);
    assert_eq!(host.outcome(&id)["state"], "succeeded");
}

/// B14: two databases, and two namespaces of one, never see each other.
#[test]
fn databases_and_namespaces_are_systems_of_their_own() {
    let server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    host.enqueue("word-count", &json!({"text": "a"}), &[]);
    let elsewhere = server.url().replace("/0", "/1");
    for flags in [["--namespace", "nobodys"], ["--broker-url", &elsewhere]] {
        let queues = host.json(&[&["queue", "list"], &flags[..]].concat());
        assert_eq!(queues, json!([]), "{flags:?}");
    }
    assert_eq!(host.alive(), 1);
}

/// What the server says to a line.
fn ask(server: &Server, line: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it runs");
    write!(stream, "{line}\r\nQUIT\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// B13: who looks at the server sees whose connections there are.
#[test]
fn a_worker_is_known_to_its_server_by_name() {
    let server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    let _worker = single(&host, "press-7");
    let clients = ask(&server, "CLIENT LIST");
    assert!(clients.contains("name=stem-worker-press-7-"), "{clients}");
}

/// What docs/redis.md lets a user do who has one namespace.
const ALLOWED: &str = "resetkeys ~{NAME}:* resetchannels &{NAME}:* -@all +@read +@write +@scripting +@pubsub \
    +@connection -@dangerous +info +time +config|get";

fn add_user(server: &Server) {
    let rules = ALLOWED.replace("NAME", "adas");
    let added = ask(server, &format!("ACL SETUSER ada reset on >right {rules}"));
    assert!(added.starts_with("+OK"), "{added}");
}

/// A server that knows such a user, and a host that is this user.
fn as_user_of_one_namespace() -> (Server, TestHost) {
    let server = Server::start(&DURABLE);
    add_user(&server);
    let url = server.url().replace("//", "//ada:right@");
    let host = TestHost::new()
        .with("STEM_BROKER_URL", url)
        .with("STEM_NAMESPACE", "adas");
    (server, host.with_deployed(&["word-count"]))
}

/// X4, B14: who may touch one namespace can do all that is done there, and nothing elsewhere.
#[test]
fn a_user_of_one_namespace_needs_no_more_than_the_document_says() {
    let documented = workspace::read("docs/redis.md").replace("{stem}", "{NAME}");
    assert!(documented.contains(ALLOWED), "it says something else");
    let (_server, host) = as_user_of_one_namespace();
    let _worker = host.worker(&[]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    assert_eq!(host.outcome(&id)["state"], "succeeded");
    host.ok(&["store", "info"]);
    let elsewhere = host.run(&["queue", "list", "--namespace", "other"]);
    elsewhere.assert(2, "what the server allows");
}

/// X4: what is not allowed is not asked for, and what is needed is named.
#[test]
fn a_permission_that_is_missing_is_named() {
    let (server, host) = as_user_of_one_namespace();
    let refused = ask(&server, "ACL LOG");
    assert_eq!(refused.lines().next(), Some("*0"), "{refused}");
    ask(&server, "ACL SETUSER ada -time");
    let answer = host.run(&["queue", "list"]);
    answer.assert(2, "this user run `TIME` in a script");
    answer.assert(2, "`ACL SETUSER USER +time`");
}

/// B13: a restart forgets the users that no file keeps; what runs is settled when they are there again.
#[test]
fn a_worker_that_is_refused_goes_on_until_it_is_let_in() {
    let (mut server, host) = as_user_of_one_namespace();
    let mut worker = host.worker(&[]);
    host.deploy("misbehave", &[]);
    let held = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 1_000}), &[]);
    host.until_state(&held, "running");
    server.restart();
    let refused = worker.hear("the store refuses this worker: trying again");
    assert!(refused.contains("a restart forgets users"), "{refused}");
    add_user(&server);
    worker.hear("the store answers again");
    assert_eq!(host.outcome(&held)["state"], "succeeded");
    worker.terminate();
    assert!(worker.ended().0.success());
}

/// Who has enqueued an envelope, and waits for its end.
fn waiting(host: &TestHost, timeout: &str) -> Worker {
    let payload = r#"{"text":"a"}"#;
    let enqueue = ["enqueue", "word-count", "--payload", payload, "--wait"];
    let command = host.command(&[&enqueue[..], &["--timeout", timeout]].concat());
    Worker::start_until(command, "enqueued ")
}

/// B13: a wait outlives its connections and its server.
#[test]
fn a_wait_outlives_the_death_of_its_server() {
    let mut server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    let waiting = waiting(&host, "60s");
    server.restart();
    ask(&server, "CLIENT KILL TYPE normal SKIPME yes");
    let _worker = host.worker(&[]);
    assert!(waiting.ended().0.success());
}

/// B13: and says which envelope it was, where the server does not come back in time.
#[test]
fn a_wait_for_a_server_that_stays_away_names_the_envelope() {
    let mut server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    let mut waiting = waiting(&host, "2s");
    server.stop();
    let said = waiting.hear("error: wait for ");
    assert!(said.contains("after 2s as far as is known"), "{said}");
    assert!(said.contains("Connection refused"), "{said}");
    let hint = waiting.hear("hint: `stem-host result ");
    assert!(hint.contains("--wait` waits again"), "{hint}");
    assert_eq!(waiting.ended().0.code(), Some(3));
}

/// The id that is to be given when it is tried again.
fn unsure_id(answer: &Answer) -> String {
    answer.assert(3, "0 of 1 replicas had it");
    let (_, id) = answer.stderr.split_once("with `--id ").expect("it is said");
    id.split_once('`').expect("it is quoted").0.to_owned()
}

/// B1
#[test]
fn what_no_replica_has_does_not_count_where_that_is_asked_for() {
    let server = Server::start(&DURABLE);
    let host = on(&server.url(), "word-count");
    let kept = format!("{}?wait_replicas=1", server.url());
    let payload = r#"{"text":"a"}"#;
    let enqueue = ["enqueue", "word-count", "--payload", payload];
    let enqueue = [&enqueue[..], &["--broker-url", &kept]].concat();
    let id = unsure_id(&host.run(&enqueue));
    let of = format!("127.0.0.1 {}", server.port());
    let _replica = Server::start(&["--replicaof", &of]);
    let again = [&enqueue[..], &["--id", &id]].concat();
    host.until("a replica has it", |host| host.run(&again).code == 0);
    assert_eq!(host.alive(), 1);
}

/// A master, a sentinel that watches it, and the URL by which it is found.
fn watched() -> ([Server; 2], String) {
    let master = Server::start(&DURABLE);
    let watch = format!("sentinel monitor main 127.0.0.1 {} 1\n", master.port());
    let sentinel = Server::sentinel(&watch);
    let url = format!("redis-sentinel://127.0.0.1:{}/main", sentinel.port());
    ([master, sentinel], url)
}

/// B13: sentinels say where the master is.
#[test]
fn a_master_is_found_through_its_sentinels() {
    let ([master, _sentinel], url) = watched();
    let host = on(&url, "word-count");
    let _worker = host.worker(&[]);
    let id = host.enqueue("word-count", &json!({"text": "a"}), &[]);
    assert_eq!(host.outcome(&id)["state"], "succeeded");
    let at_master = ["result", &id, "--broker-url", &master.url()];
    assert_eq!(host.json(&at_master)["state"], "succeeded");
    let misspelt = url.replace("main", "mian");
    let answer = host.run(&["queue", "list", "--broker-url", &misspelt]);
    answer.assert(3, "mian");
}
