//! Store URLs: read, shown, compared, and refused.

use super::*;

fn parsed(url: &str) -> StoreUrl {
    StoreUrl::parse(url).expect("a store")
}

fn refusal(url: &str) -> String {
    StoreUrl::parse(url).expect_err("refused").to_string()
}

const AS_WRITTEN: [&str; 9] = [
    "memory:",
    "sqlite:a/b.db",
    "sqlite:/a.db?synchronous=full",
    "redis://127.0.0.1:7000/3",
    "rediss://queue.example:6380/0",
    "redis://[::1]:6379/0",
    "redis://a:7000,b:7001/0",
    "rediss-sentinel://a:26379,[::1]:26380/main/2",
    "redis://h:6379/0?wait_replicas=1",
];

#[test]
fn a_url_is_read_as_it_is_shown() {
    for url in AS_WRITTEN {
        assert_eq!(parsed(url).to_string(), url);
    }
    for (url, shown) in [
        ("sqlite:///a.db?synchronous=normal", "sqlite:/a.db"),
        ("redis://h", "redis://h:6379/0"),
        ("rediss://h/", "rediss://h:6379/0"),
        ("redis-sentinel://h/main", "redis-sentinel://h:26379/main/0"),
    ] {
        assert_eq!(parsed(url).to_string(), shown);
    }
}

const NO_STORES: [(&str, &str); 21] = [
    ("", "no store is named"),
    ("stem.db", "write sqlite:PATH"),
    ("sqlite:", "write sqlite:PATH"),
    ("postgres://h/d", "comes with a later version"),
    ("valkeys://h", "write rediss:// for the same server"),
    ("sqlite:a?sync=full", "did you mean `synchronous`?"),
    ("sqlite:a?synchronous=off", "use full or normal"),
    ("redis:", "no host is named: write redis://["),
    ("redis:///1", "no host is named"),
    ("redis://h:port", "invalid port number"),
    ("redis://h/first", "the database is no number"),
    ("redis://h/-1", "the database is no number"),
    ("redis://h?db=1", "unknown option `db`"),
    ("redis://h?wait_replica=1", "did you mean `wait_replicas`?"),
    ("redis://h?wait_replicas=all", "use a number of replicas"),
    ("redis://a,/0", "no host is named"),
    ("redis-sentinel://h", "no master is named"),
    ("redis://secret@h", "as in :PASSWORD@ and USER:PASSWORD@"),
    ("http://h", "redis-sentinel://HOST,HOST/MASTER"),
    ("redis://h/first", "of a cluster HOST,HOST"),
    ("rediss://h/#insecure", "STEM_TLS_ALLOW_INSECURE"),
];

#[test]
fn what_is_no_store_is_refused_and_says_what_is() {
    for (url, said) in NO_STORES {
        let said_in_fact = refusal(url);
        assert!(said_in_fact.contains(said), "{url}: {said_in_fact}");
    }
}

/// X4
#[test]
fn no_form_of_a_url_shows_the_password_but_the_one_for_other_processes() {
    for url in [
        "rediss://ada:hunter%2F2@h:1/2?wait_replicas=1",
        "redis-sentinel://:hunter,2@a:1,b:2/main/0",
    ] {
        let parsed = parsed(url);
        assert_eq!(parsed.reveal(), url);
        for shown in [parsed.to_string(), format!("{parsed:?}")] {
            assert!(!shown.contains("hunter"), "{shown}");
        }
    }
}

/// X4: a character that has a meaning in a URL cuts a password in two, and neither part is repeated.
#[test]
fn a_refused_url_is_not_repeated_where_it_may_hold_a_password() {
    for url in [
        "mysql://ada:secret@h",
        "redis://ada:secret@",
        "redis://ada:12/secret@h",
        "redis://ada:12?secret@h",
        "redis://ada:12#secret@h",
        "redis://ada:/secret@h",
        "redis://ada:sec#ret@h",
        "redis://secret@h",
        "redis://ada:secret@g,h:x",
    ] {
        let said = refusal(url);
        assert!(!said.contains("sec"), "{url}: {said}");
    }
}

const SAME: [&str; 4] = [
    "redis://h",
    "redis://ada:secret@H/",
    "rediss://h/0",
    "redis://g,h",
];
const OTHERS: [&str; 5] = [
    "redis://g",
    "redis://h:6380",
    "redis://h/1",
    "redis-sentinel://h:6379/main",
    "memory:",
];

/// R2: results lie in the step of the settlement where both are on one server.
#[test]
fn one_database_of_one_server_is_one_place_however_it_is_written() {
    let place = parsed("redis://h:6379/0");
    for same in SAME {
        assert!(place.is_same_place(&parsed(same)), "{same}");
    }
    for other in OTHERS {
        assert!(!place.is_same_place(&parsed(other)), "{other}");
    }
}
