//! Wrong usage, wrong configuration and stores that cannot be used: what is said, and the exit code.

use snapbox::{assert_data_eq, str};
use stem_tests::host::TestHost;

#[test]
fn help_is_a_table_of_contents() {
    let help = TestHost::new().ok(&["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with(char::is_alphabetic))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_data_eq!(
        commands.join(" "),
        str![
            "new dev deploy run enqueue result cancel module task worker queue dlq observe bucket keys store bench completions help"
        ]
    );
}

/// A flag that this version does not have is no flag that is ignored.
#[test]
fn a_flag_that_does_not_exist_is_wrong_usage() {
    let host = TestHost::new();
    for arguments in [
        &["enqueue", "t", "--unique", "k"][..],
        &["deploy", "f.wasm", "--release"],
    ] {
        host.run(arguments).assert(2, "unexpected argument");
    }
    host.run(&["worker", "start", "--queue", "q=3"])
        .assert(2, "is no queue name");
}

/// It acknowledges without running anything: never where somebody's work lies.
#[test]
fn a_worker_without_guests_is_refused_outside_of_a_benchmark() {
    let answer = TestHost::new().run(&["bench", "worker"]);
    answer.assert(2, "no benchmark made the namespace `stem`");
}

#[test]
fn a_misspelt_command_is_answered_with_the_nearest() {
    let answer = TestHost::new().run(&["queue", "lst"]);
    answer.assert(2, "a similar subcommand exists: 'list'");
}

#[test]
fn an_unknown_key_stops_the_start_and_names_the_nearest_good_one() {
    let host = TestHost::new();
    host.write("stem-host.toml", "namespce = \"a\"");
    let answer = host.run(&["queue", "list"]);
    answer.assert(2, "unknown key `namespce`; did you mean `namespace`?");
    assert!(answer.stderr.starts_with("error: read the configuration `"));
    let answer = TestHost::new().run_with(("STEM_NAMESPCE", "a"), &["queue", "list"]);
    answer.assert(2, "did you mean `STEM_NAMESPACE`?");
}

#[test]
fn what_needs_no_settings_does_not_stumble_over_bad_ones() {
    let host = TestHost::new();
    host.write("stem-host.toml", "namespce = \"a\"");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            host.ok(&["completions", shell]).contains("enqueue"),
            "{shell}"
        );
    }
}

#[test]
fn a_setting_has_the_same_meaning_wherever_it_stands() {
    let host = TestHost::new();
    host.write("stem-host.toml", "namespace = \"from-file\"");
    host.ok(&["queue", "pause", "q"]);
    let namespace = |answer: serde_json::Value| answer["namespace"].clone();
    assert_eq!(namespace(host.json(&["store", "info"])), "from-file");
    let flagged = host.json(&["store", "info", "--namespace", "from-flag"]);
    assert_eq!(namespace(flagged), "from-flag");
}

/// What is a number is one, and what is not set is null.
#[test]
fn values_have_the_same_types_in_every_command() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let store = host.json(&["store", "info"])["stores"][0].clone();
    assert_eq!(store["envelopes"], 0, "{store}");
    assert!(
        store["free_on_its_disk_bytes"].as_u64() > Some(0),
        "{store}"
    );
    assert_eq!(store["shared_by_processes"], true, "{store}");
    let shown = host.json(&["task", "show", "word-count"]);
    let listed = host.json(&["task", "list"]);
    assert_eq!(shown["policy"]["queue"], serde_json::Value::Null);
    assert_eq!(listed[0]["queue"], serde_json::Value::Null);
    let removed = host.json(&["module", "remove", "word_count", "--dry-run"]);
    assert_eq!(removed["waiting_by_task"], serde_json::json!({}));
}

#[test]
fn a_misspelt_log_level_is_refused_with_the_nearest() {
    let answer = TestHost::new().run(&["queue", "list", "--log-level", "inof"]);
    answer.assert(2, "`inof` is no level; did you mean `info`?");
}

#[test]
fn a_store_in_memory_is_refused_where_another_process_should_see_it() {
    let answer = TestHost::new().run(&["queue", "list", "--broker-url", "memory:"]);
    answer.assert(2, "ends with its process");
}

#[test]
fn a_server_of_a_later_version_is_refused_without_its_password() {
    let url = "postgres://ada:secret@h/d";
    let answer = TestHost::new().run(&["queue", "list", "--broker-url", url]);
    answer.assert(2, "a `postgres` store comes with a later version");
    assert!(!answer.stderr.contains("secret"), "{answer:?}");
}

/// An id that no envelope has.
const NOBODYS: &str = "0198c5a2-7d30-7c3e-8f43-0123456789ab";
const LOOKING: [&[&str]; 9] = [
    &["queue", "list"],
    &["result", NOBODYS],
    &["cancel", NOBODYS],
    &["task", "list"],
    &["module", "list"],
    &["worker", "list"],
    &["dlq", "list"],
    &["observe", "usage"],
    &["store", "info"],
];

/// A slip of the pen is not answered with an empty store.
#[test]
fn what_only_looks_makes_no_store() {
    let host = TestHost::new();
    for arguments in LOOKING {
        let said = "error: open `sqlite:stem.db`: there is no store\nhint: ";
        host.run(arguments).assert(3, said);
    }
    assert!(!host.path("stem.db").exists());
}

/// R2: on one server, record and settlement are one step.
#[test]
fn one_file_is_one_server_however_it_is_written() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    for written in [
        "sqlite:./stem.db",
        "sqlite:link.db",
        "sqlite:stem.db?synchronous=normal",
    ] {
        let _ = std::os::unix::fs::symlink("stem.db", host.path("link.db"));
        let info = host.json(&["store", "info", "--result-backend-url", written]);
        assert_eq!(
            info["stores"].as_array().map(Vec::len),
            Some(1),
            "{written}"
        );
        assert_eq!(info["stores"][0]["one_step_with_results"], true);
    }
}

#[test]
fn a_path_that_cannot_be_written_is_a_store_that_cannot_be_reached() {
    let host = TestHost::new();
    let file = host.write("file", "");
    let url = format!("sqlite:{file}/stem.db");
    let answer = host.run(&["queue", "pause", "q", "--broker-url", &url]);
    answer.assert(3, "error: open the database `");
    assert!(answer.stderr.contains("\nhint: "), "{answer:?}");
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let host = TestHost::new();
    let garbage = "no database at all ".repeat(1_000);
    host.write("stem.db", &garbage);
    host.run(&["queue", "list"])
        .assert(3, "is no SQLite database");
    let after = std::fs::read_to_string(host.path("stem.db")).expect("still there");
    assert_eq!(after, garbage);
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_as_it_is() {
    let host = TestHost::new();
    host.ok(&["queue", "pause", "kept"]);
    let mut bytes = std::fs::read(host.path("stem.db")).expect("made");
    // SQLite keeps the format's number in four bytes at offset 60.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    host.write("stem.db", &bytes);
    host.run(&["queue", "list"])
        .assert(3, "has format 99 and this build reads format ");
    let after = std::fs::read(host.path("stem.db")).expect("still there");
    assert!(after == bytes, "the file was changed");
}

#[test]
fn a_purge_of_everything_is_asked_for_by_name() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.run(&["dlq", "purge", "--yes"])
        .assert(2, "no ID and no filter is given\nhint: --all");
    host.run(&["dlq", "purge", "--all", "--queue", "q", "--yes"])
        .assert(2, "--all excludes ids and filters");
    assert_eq!(host.json(&["dlq", "purge", "--all", "--yes"])["purged"], 0);
}

#[test]
fn what_destroys_asks_first_and_without_a_terminal_wants_a_flag() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.ok(&["enqueue", "word-count", "--payload", r#"{"text":"a"}"#]);
    for arguments in [
        &["queue", "purge", "default"][..],
        &["module", "remove", "word_count", "--force"],
    ] {
        let answer = host.run(arguments);
        answer.assert(2, "no terminal to ask on");
        assert!(answer.stderr.contains("--yes"), "{answer:?}");
    }
    assert_eq!(host.json(&["queue", "list"])[0]["queued"], 1);
}

#[test]
fn what_is_not_there_is_said_with_the_nearest_that_is() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    for (noun, misspelt, near) in [
        ("task", "word-cuont", "word-count"),
        ("module", "word_cuont", "word_count"),
        ("queue", "defualt", "default"),
    ] {
        host.run(&[noun, "show", misspelt])
            .assert(1, &format!("did you mean `{near}`?"));
    }
}

#[test]
fn an_id_that_nobody_knows_is_not_found() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    for (arguments, said) in [
        (&["result", NOBODYS][..], "no envelope has this id"),
        (&["cancel", NOBODYS], "no envelope has this id"),
        (&["dlq", "show", NOBODYS], "is no dead letter"),
        (&["dlq", "list", "--cursor", NOBODYS], "there is none with"),
        (
            &["dlq", "replay", "--cursor", NOBODYS],
            "there is none with",
        ),
    ] {
        host.run(arguments).assert(1, said);
    }
}

#[test]
fn an_id_and_a_queue_may_be_named_as_well() {
    let host = TestHost::new().with_deployed(&["word-count"]);
    let id = host.ok(&["enqueue", "word-count", "--payload", r#"{"text":"a"}"#]);
    assert_eq!(host.json(&["result", "--id", &id])["state"], "queued");
    assert_eq!(
        host.json(&["queue", "show", "--queue", "default"])["queued"],
        1
    );
    assert_eq!(
        host.json(&["task", "show", "--task", "word-count"])["task"],
        "word-count"
    );
    host.run(&["result"]).assert(2, "required");
}
