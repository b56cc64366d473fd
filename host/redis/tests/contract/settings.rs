//! What a store is opened with, and which servers it refuses.

use stem_core::store_error::StoreErrorKind;
use stem_core::upkeep::Fact;
use stem_redis::{Options, Store};
use stem_testkit::builders::publication;
use stem_testkit::process::Process;

use crate::server::{Server, Usable as _};

const PLAIN: [&str; 2] = ["--save", ""];

/// How opening a store fails: the kind, and all that it says.
pub async fn refusal(options: Options) -> (StoreErrorKind, String) {
    let refused = Store::open(options).await.map(|_| ());
    let error = refused.expect_err("it is refused");
    let cause = std::error::Error::source(&error).expect("it says why");
    let advice = error.advice().unwrap_or_default();
    (error.kind(), format!("{error}: {cause}: {advice}"))
}

/// B9: a server that evicts would drop envelopes.
#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_that_is_allowed() {
    let server = Server::start(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let mut options = server.options();
    let (kind, message) = refusal(options.clone()).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    assert!(message.contains("allkeys-lru"), "{message}");
    options.allows_eviction = true;
    Store::open(options).await.expect("it is allowed");
}

/// B13: what is written would be refused after a wait for a master.
#[tokio::test]
async fn a_replica_is_refused_at_once() {
    let server = Server::start(&["--save", "", "--replicaof", "127.0.0.1 1"]);
    let (kind, message) = refusal(server.options()).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    assert!(message.contains("name its master"), "{message}");
}

/// What `store info` says of the durability of a server with these settings.
async fn durability(settings: &[&str]) -> String {
    let server = Server::start(settings);
    let store = Store::open(server.options()).await.expect("a store opens");
    let facts = store.stores().upkeep[0].describe().await;
    let mut facts = facts.expect("it answers").into_iter();
    let found = facts.find(|(name, _)| *name == "durability");
    match found.expect("it is said").1 {
        Fact::Text(text) => text,
        other @ (Fact::Count(_) | Fact::Size(_) | Fact::Flag(_)) => panic!("text, not {other:?}"),
    }
}

/// B1
#[tokio::test]
async fn a_store_says_what_its_server_survives() {
    let always = ["--appendonly", "yes", "--appendfsync", "always"];
    let no = ["--appendonly", "yes", "--appendfsync", "no"];
    for (settings, expected) in [
        (&PLAIN[..], "none"),
        (&["--save", "60 1"], "snapshot"),
        (&["--appendonly", "yes"], "2 s"),
        (&always, "always"),
        (&no, "operating system"),
    ] {
        let said = durability(settings).await;
        assert!(said.contains(expected), "{said}");
    }
}

/// B13: who looks at the server sees who is connected.
#[tokio::test]
async fn connections_have_names() {
    let server = Server::start(&PLAIN);
    let mut options = server.options();
    options.connection_name = "worker-7".to_owned();
    let _store = Store::open(options).await.expect("a store opens");
    let list: String = server.ask(&["CLIENT", "LIST"]);
    for name in ["worker-7-quick", "worker-7-listen"] {
        assert!(list.contains(name), "{list}");
    }
}

/// B14: databases are servers of their own.
#[tokio::test]
async fn a_database_number_chooses_a_database() {
    let server = Server::start(&PLAIN);
    let first = server.options();
    let mut second = first.clone();
    second.url.0 = format!("{}7", server.url().trim_end_matches('0'));
    let [here, there] = [first, second].map(async |options| {
        let store = Store::open(options).await.expect("a store opens");
        Process::named("here", store.stores())
    });
    let (here, there) = (here.await, there.await);
    here.add(&publication()).await;
    assert_eq!(there.queues().await, []);
}

/// X4: a user of an access list works, and what is wrong is said without the password.
#[tokio::test]
async fn a_user_is_let_in_and_a_stranger_is_not() {
    let server = Server::start(&PLAIN);
    let user = ["ACL", "SETUSER", "stem", "on", ">open", "~*", "&*", "+@all"];
    let () = server.ask(&user);
    let () = server.ask(&["ACL", "SETUSER", "default", "off"]);
    let mut options = server.options();
    let (kind, _) = refusal(options.clone()).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    options.url.0 = server.url().replace("//", "//stem:secret@");
    let (kind, message) = refusal(options.clone()).await;
    assert_eq!(kind, StoreErrorKind::NotPermitted);
    assert!(!message.contains("secret"), "{message}");
    options.url.0 = server.url().replace("//", "//stem:open@");
    Store::open(options).await.expect("it is let in");
}

/// B13: where nobody listens, it says where, with what, and what to look at.
#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut server = Server::start(&PLAIN);
    server.stop();
    let mut options = server.options();
    let (kind, message) = refusal(options.clone()).await;
    assert_eq!(kind, StoreErrorKind::Unavailable);
    assert!(
        message.contains("127.0.0.1") && message.contains("without TLS"),
        "{message}"
    );
    options.url.0 = server.url().replace("redis:", "rediss:");
    let (_, message) = refusal(options).await;
    assert!(message.contains("no client certificate"), "{message}");
}
