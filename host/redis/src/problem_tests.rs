//! Which kind of error each refusal of a server is, and what is said of it.

use super::*;
use redis::Value;

/// What a server answers with this line.
fn refusal(line: &str) -> RedisError {
    let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
    let answer = answer.and_then(Value::extract_error);
    answer.expect_err("an error")
}

use StoreErrorKind::{Full, Internal, NotPermitted, Unavailable};

const ANSWERS: [(&str, StoreErrorKind, &str, &str); 12] = [
    (
        "ERR Protocol error: unauthenticated multibulk length",
        NotPermitted,
        "it wants a password",
        "check the user and the password",
    ),
    (
        "NOAUTH Authentication required.",
        NotPermitted,
        "it wants a password",
        "check the user and the password",
    ),
    (
        "WRONGPASS invalid pair.",
        NotPermitted,
        "invalid pair. (WRONGPASS)",
        "a restart forgets users",
    ),
    (
        "NOPERM this user has no permissions to run the 'info' command",
        NotPermitted,
        "'info'",
        "+info",
    ),
    (
        "NOPERM no permissions to access one of the keys used",
        NotPermitted,
        "one of the keys",
        "~{NAMESPACE}:*",
    ),
    (
        "OOM command not allowed when used memory > 'maxmemory'.",
        Full,
        "its memory is full",
        "raise `maxmemory`",
    ),
    (
        "MISCONF Errors writing to the AOF file",
        Full,
        "AOF",
        "free space",
    ),
    (
        "READONLY You can't write against a read only replica.",
        Unavailable,
        "read only",
        "name its master",
    ),
    (
        "ERR DB index is out of range",
        NotPermitted,
        "DB index",
        "`databases`",
    ),
    (
        "ERR SELECT is not allowed in cluster mode",
        NotPermitted,
        "SELECT",
        "leave its number out",
    ),
    (
        "ERR unknown command 'SENTINEL', with args",
        NotPermitted,
        "SENTINEL",
        "name the sentinels",
    ),
    ("ERR something else", Internal, "something else", ""),
];

/// B9, B13, X4: with what to do wherever there is something.
#[test]
fn a_refusal_has_its_kind_and_says_what_to_do() {
    for (line, kind, said, advice) in ANSWERS {
        let problem = Problem::from(refusal(line));
        assert_eq!(problem.kind, kind, "{line}");
        assert!(problem.message.contains(said), "{problem:?}");
        let given = problem.advice.unwrap_or_default();
        assert!(given.contains(advice), "{line}: {given}");
    }
}

const SCRIPT: &str = "#!lua\nlocal call = redis.call\nlocal t = call('TIME')";
const IN_SCRIPT: [(&str, &str, &str); 4] = [
    (
        "run this command or subcommand script: f, on @user_script:3.",
        "run `TIME`",
        "+time",
    ),
    (
        "run this command or subcommand script: f, on @user_script:9.",
        "run one of its",
        "docs/redis.md",
    ),
    (
        "access at least one of the keys mentioned in",
        "touch a key",
        "~{NAMESPACE}:*",
    ),
    (
        "publish to the channel mentioned in the",
        "publish on a channel",
        "&{NAMESPACE}:*",
    ),
];

/// X4: Redis 7.0 names a line of the script, and no command.
#[test]
fn what_a_script_may_not_do_is_named() {
    for (what, said, advice) in IN_SCRIPT {
        let line = format!("ERR The user executing the script can't {what}");
        let problem = Problem::within(SCRIPT, refusal(&line));
        assert_eq!(problem.kind, NotPermitted, "{line}");
        assert!(problem.message.contains(said), "{problem:?}");
        let given = problem.advice.unwrap_or_default();
        assert!(given.contains(advice), "{line}: {given}");
    }
}

fn refused() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()
}

fn page() -> RedisError {
    RedisError::from((ErrorKind::Parse, "no answer", "<html>\n\n".to_owned()))
}

/// B13, X5: TLS is spoken of where somebody answered.
#[test]
fn a_connection_that_was_refused_is_not_about_tls() {
    for (error, manner, advice) in [
        (refused(), "without TLS", "check that the server runs"),
        (refused(), "TLS with x", "check that the server runs"),
        (page(), "without TLS", "rediss://"),
        (page(), "TLS with x", "its certificate names this host"),
        (refusal("READONLY no"), "without TLS", "name its master"),
    ] {
        let problem = Problem::unconnected(error, manner);
        assert!(!problem.message.contains('\n'), "{problem:?}");
        let given = problem.advice.unwrap_or_default();
        assert!(given.contains(advice), "{given}");
    }
}
