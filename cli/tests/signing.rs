//! Signed modules: keys, what they sign, and what a worker refuses (M2, X4).

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use stem_tests::host::{TestHost, guest, text};

/// A host whose folder has the keys `ci.private` and `ci.public`, and `word-count` signed with them.
fn signed() -> TestHost {
    let host = TestHost::new();
    host.ok(&["keys", "generate", "--signing", "ed25519", "--id", "ci"]);
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "ci.private");
    host.with_deployed(&["word-count"])
}

/// The same on a machine that can only verify.
fn verifying(host: TestHost) -> TestHost {
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "");
    host.with("STEM_SIGNING_PUBLIC_KEYS_FILE", "ci.public")
}

/// How an envelope of this task ends.
fn fate(host: &TestHost, task: &str) -> Value {
    let id = host.enqueue(task, &json!({"text": "a"}), &[]);
    let outcome = host.outcome(&id);
    match outcome["state"].as_str() {
        Some("succeeded") => json!("succeeded"),
        _ => outcome["error"]["kind"].clone(),
    }
}

/// Changes the store as whoever can write to it could.
fn tamper(host: &TestHost, sql: &str) {
    let store = rusqlite::Connection::open(host.path("stem.db")).expect("a store");
    let changed = store.execute(sql, []).expect("it can be changed");
    assert_eq!(changed, 1, "{sql}");
}

/// X4
#[test]
fn a_key_is_made_for_its_owner_alone_and_never_written_over() {
    let host = TestHost::new();
    let generate = ["keys", "generate", "--signing", "ed25519", "--id", "ci"];
    let public = host.ok(&generate);
    let private = std::fs::read_to_string(host.path("ci.private")).expect("written");
    let mode = host
        .path("ci.private")
        .metadata()
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(host.path("ci.public")).expect("written");
    assert_eq!(written.trim(), public);
    assert!(public.starts_with("ci:") && private.starts_with("ci:"));
    assert_ne!(private.trim(), public);
    host.run(&generate).assert(5, "keys are never written over");
}

/// X4: half a key would stand in the way of a whole one.
#[test]
fn a_key_is_made_whole_or_not_at_all() {
    let host = TestHost::new();
    host.write("ci.public", "somebody's");
    let generate = ["keys", "generate", "--signing", "ed25519", "--id", "ci"];
    host.run(&generate).assert(5, "keys are never written over");
    assert!(!host.path("ci.private").exists());
    let kept = std::fs::read_to_string(host.path("ci.public")).expect("it is there");
    assert_eq!(kept, "somebody's");
}

/// A host with two private keys, of which none is the active one.
fn undecided() -> TestHost {
    let host = TestHost::new();
    let keys = ["new", "old"].map(|id| {
        host.ok(&["keys", "generate", "--signing", "ed25519", "--id", id]);
        let key = std::fs::read_to_string(host.path(&format!("{id}.private")));
        key.expect("written").trim().to_owned()
    });
    host.with("STEM_SIGNING_PRIVATE_KEYS", keys.join(","))
}

/// X4
#[test]
fn keys_are_listed_though_nobody_has_said_which_one_signs() {
    let host = undecided();
    let said = "warning: choose the key that signs: there are several: new, old";
    host.run(&["keys", "list"]).assert(0, said);
    let listed = host.json(&["keys", "list"]);
    let shown = |at: usize| json!([listed[at]["id"], listed[at]["active"]]);
    assert_eq!(shown(0), json!(["new", false]));
    assert_eq!(shown(1), json!(["old", false]));
}

/// Commands that know a private key.
const KNOWING: [&[&str]; 5] = [
    &["keys", "list", "--json"],
    &["keys", "check"],
    &["module", "show", "word_count", "--json"],
    &["module", "list"],
    &["--log-level", "trace", "module", "list"],
];

/// X4
#[test]
fn no_command_shows_a_private_key_that_nobody_asked_to_see() {
    let host = signed();
    let private = std::fs::read_to_string(host.path("ci.private")).expect("written");
    let secret = private.trim().rsplit(':').next().expect("a key");
    for command in KNOWING {
        let answer = host.run(command);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(!format!("{answer:?}").contains(secret), "{command:?}");
    }
}

/// X4
#[test]
fn a_private_key_is_printed_where_somebody_asks_for_it() {
    let host = TestHost::new();
    let printed = host.ok(&["keys", "generate", "--signing", "ed25519", "--stdout"]);
    let (private, public) = printed.split_once('\n').expect("two lines");
    assert!(private.starts_with("STEM_SIGNING_PRIVATE_KEYS=key-"));
    assert!(
        public.starts_with("STEM_SIGNING_PUBLIC_KEYS=key-"),
        "{public}"
    );
}

/// X4
#[test]
fn keys_that_others_may_read_and_keys_that_are_none_are_refused() {
    let host = signed();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(host.path("ci.private"), open).expect("changed");
    host.run(&["keys", "check"]).assert(2, "others may read it");
    let module = guest("word-count").display().to_string();
    host.run(&["deploy", &module])
        .assert(2, "others may read it");
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "");
    let bad = ("STEM_SIGNING_PUBLIC_KEYS", "ci:c2VjcmV0");
    host.run_with(bad, &["keys", "list"])
        .assert(2, "entry 1 is no key: write id:base64");
    host.write("stem-host.toml", "signing-private-keys = \"ci:c2VjcmV0\"");
    host.run(&["module", "list"])
        .assert(2, "unknown key `signing-private-keys`");
}

/// M2
#[test]
fn a_signed_module_says_by_whom_and_whether_that_is_so() {
    let host = signed();
    let signature = |host: &TestHost| {
        let shown = host.json(&["module", "show", "word_count"]);
        let signature = &shown["signature"];
        format!("{} {}", text(&signature["key"]), text(&signature["state"]))
    };
    assert_eq!(signature(&host), "ci verified");
    assert_eq!(host.json(&["module", "list"])[0]["signed_by"], "ci");
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "");
    assert_eq!(signature(&host), "ci unchecked");
    host.ok(&["keys", "generate", "--signing", "ed25519", "--id", "other"]);
    let host = host.with("STEM_SIGNING_PUBLIC_KEYS_FILE", "other.public");
    assert_eq!(signature(&host), "ci unknown-key");
    tamper(&host, "UPDATE deployments SET signature = NULL");
    assert_eq!(signature(&host), "null unsigned");
}

/// M2
#[test]
fn a_worker_with_keys_runs_what_they_signed_and_nothing_else() {
    let host = signed().with("STEM_SIGNING_PRIVATE_KEYS_FILE", "");
    host.deploy("markdown", &[]);
    let host = verifying(host);
    let _worker = host.worker(&[]);
    assert_eq!(fate(&host, "word-count"), "succeeded");
    let id = host.enqueue("markdown", &json!("text"), &["--unchecked"]);
    let outcome = host.outcome(&id);
    assert_eq!(outcome["error"]["kind"], "bad-signature");
    assert_eq!(outcome["attempts"], json!([]));
    let refused = "the deployment markdown@1 is refused: it is not signed";
    assert_eq!(outcome["error"]["message"], refused);
    assert_eq!(host.json(&["dlq", "list"])[0]["reason"], "bad-signature");
}

/// M2: what is unsigned runs beside keys only where somebody has said so.
#[test]
fn unsigned_modules_run_where_that_is_allowed_and_altered_ones_do_not() {
    let host = signed().with("STEM_SIGNING_PRIVATE_KEYS_FILE", "");
    host.deploy("noop", &[]);
    let host = verifying(host).with("STEM_REQUIRE_SIGNED_MODULES", "false");
    tamper(&host, FLIP_MANIFEST);
    let _worker = host.worker(&[]);
    assert_eq!(fate(&host, "noop"), "succeeded");
    assert_eq!(fate(&host, "word-count"), "bad-signature");
}

/// Another last byte for the manifest of `word_count`.
const FLIP_MANIFEST: &str = "UPDATE deployments SET manifest = CAST(substr(manifest, 1, \
    length(manifest) - 1) || x'00' AS BLOB) WHERE name = 'word_count'";

/// What whoever can write to the store could change of `word_count`: its manifest, its signature, its module.
const CHANGES: [&str; 5] = [
    FLIP_MANIFEST,
    "UPDATE deployments SET signature = CAST(substr(signature, 1, length(signature) - 1) \
        || x'ff' AS BLOB) WHERE name = 'word_count'",
    "UPDATE deployments SET signature = x'c1' WHERE name = 'word_count'",
    "UPDATE modules SET bytes = CAST(x'ff' || substr(bytes, 2) AS BLOB) WHERE digest = \
        (SELECT digest FROM deployments WHERE name = 'word_count')",
    "UPDATE deployments SET digest = (SELECT digest FROM deployments WHERE name = 'noop') \
        WHERE name = 'word_count'",
];

/// M2
#[test]
fn a_worker_refuses_by_name_what_was_altered_in_the_store_and_goes_on_with_the_rest() {
    for sql in CHANGES {
        let host = verifying(signed().with_deployed(&["noop"]));
        tamper(&host, sql);
        // What was compiled before the change would be taken from the cache.
        let _worker = host.worker(&["--cache-dir", "none"]);
        let id = host.enqueue("word-count", &json!({"text": "a"}), &["--unchecked"]);
        let error = host.outcome(&id)["error"].clone();
        assert_eq!(error["kind"], "bad-signature", "{sql}: {error}");
        assert_eq!(fate(&host, "noop"), "succeeded", "{sql}");
    }
}

/// M2
#[test]
fn a_worker_that_requires_signatures_does_not_start_without_a_key() {
    let host = TestHost::new();
    host.run(&["worker", "start", "--require-signed-modules"])
        .assert(2, "no key is known to verify them with");
    host.write("stem-host.toml", "require-signed-modules = true");
    host.run(&["worker", "start"])
        .assert(2, "no key is known to verify them with");
    let module = guest("word-count").display().to_string();
    host.run(&["deploy", &module]).assert(
        2,
        "signed modules are required, and there is no private key here",
    );
}

/// M2: a machine that refuses unsigned modules makes none.
#[test]
fn nothing_is_deployed_unsigned_where_unsigned_modules_are_refused() {
    let host = verifying(signed());
    let module = guest("markdown").display().to_string();
    let refused = "signed modules are required, and there is no private key here";
    for command in [&["deploy"][..], &["deploy", "--dry-run"], &["dev"]] {
        host.run(&[command, &[&module]].concat()).assert(2, refused);
    }
    host.run_with(
        ("STEM_SIGNING_ACTIVE_KEY", "ci"),
        &["deploy", &module, "--dry-run"],
    )
    .assert(2, "`ci` is not among the private keys");
    let host = host.with("STEM_REQUIRE_SIGNED_MODULES", "false");
    host.ok(&["deploy", &module]);
}

/// M2, M3: going back is no way past a signature.
#[test]
fn a_version_that_workers_would_refuse_is_not_made_active() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.ok(&["keys", "generate", "--signing", "ed25519", "--id", "ci"]);
    let host = host.with("STEM_SIGNING_PRIVATE_KEYS_FILE", "ci.private");
    host.deploy("word-count", &[]);
    host.run(&["module", "rollback", "word_count", "--yes"])
        .assert(5, "word_count@1 cannot be run: it is not signed");
}

/// M2: what has left a signed deployment was signed nonetheless.
#[test]
fn a_deployment_whose_task_was_moved_away_is_still_signed() {
    let host = signed();
    host.deploy("word-count", &["--name", "other", "--force"]);
    let left = host.json(&["module", "show", "word_count"]);
    assert_eq!(
        (&left["active"], &left["tasks"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(left["signature"]["state"], "verified");
    let host = verifying(host);
    let _worker = host.worker(&[]);
    assert_eq!(fate(&host, "word-count"), "succeeded");
}
