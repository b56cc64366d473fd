//! Secrets through the built command: where they come from, and that none is ever shown (M4).

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};
use stem_tests::host::{TestHost, guest, text};
use stem_tests::worker::Worker;

const SECRET: &str = "hunter2-4711-do-not-print";
const VARIABLE: &str = "STEM_SECRET_CRM_TOKEN";
const GRANT: &[&str] = &["--secret", "CRM_TOKEN"];

/// A host whose `tell` was granted the secret; the deployer has none.
fn telling() -> TestHost {
    let host = TestHost::new();
    host.deploy("tell", GRANT);
    host
}

/// A worker that has the secret, not yet started.
fn with_secret(host: &TestHost, flags: &[&str]) -> Command {
    let mut command = host.command(&[&["worker", "start"], flags].concat());
    command.env(VARIABLE, SECRET);
    command
}

/// Asks a worker how long the secret is, and gives the record.
fn length(host: &TestHost) -> Value {
    let question = json!({"tell": "length", "key": "CRM_TOKEN"});
    host.outcome(&host.enqueue("tell", &question, &[]))
}

/// A folder with the secret in a file of its own.
fn directory(host: &TestHost, secret: &str) -> String {
    let file = host.write("secrets/CRM_TOKEN", secret);
    let folder = host.path("secrets");
    set_mode(&folder, 0o700);
    set_mode(Path::new(&file), 0o600);
    folder.display().to_string()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// A worker that writes everything it logs into a file; ended with the test.
struct Logging(Child);

impl Logging {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = File::create(log).expect("the test's folder can be written");
        Self(command.stderr(log).spawn().expect("stem-host is built"))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every file under a folder that holds these bytes.
fn holding(folder: &Path, wanted: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(holding(&path, wanted));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes
                .windows(wanted.len())
                .any(|part| part == wanted.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// What every command shows of a deployment, its worker and its dead letter.
fn shown(host: &TestHost, id: &str) -> String {
    let commands: [&[&str]; 10] = [
        &["module", "show", "tell"],
        &["module", "list"],
        &["task", "show", "tell"],
        &["task", "list"],
        &["worker", "list"],
        &["queue", "list"],
        &["result", id],
        &["dlq", "list"],
        &["dlq", "show", id],
        &["store", "info"],
    ];
    let both = |command: &[&str]| {
        let (people, programs) = (
            host.run(command),
            host.run(&[command, &["--json"]].concat()),
        );
        format!("{people:?}{programs:?}")
    };
    commands.iter().map(|command| both(command)).collect()
}

/// M4: with everything logged, and a task that lets its secret slip wherever it can.
#[test]
fn a_secret_is_in_no_output_no_log_no_record_and_no_file() {
    let host = telling();
    let command = with_secret(&host, &["--log-level", "trace"]);
    let _worker = Logging::start(command, &host.path("worker.log"));
    let slip = json!({"tell": "slip", "key": "CRM_TOKEN"});
    let id = host.enqueue("tell", &slip, &["--max-attempts", "1"]);
    host.outcome(&id);
    let shown = shown(&host, &id);
    assert!(shown.contains("the value is ***"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(holding(&host.path(""), SECRET), Vec::<String>::new());
    let masked = holding(&host.path(""), "the value is ***");
    assert!(masked.len() >= 2, "not in log and database: {masked:?}");
}

/// M4: the search of the test above would find one.
#[test]
fn the_search_finds_what_is_there() {
    let host = TestHost::new();
    host.write("deep/down/file", format!("x{SECRET}y"));
    assert_eq!(holding(&host.path(""), SECRET).len(), 1);
}

/// M4, S4: dead by name, and alive again with the secret.
#[test]
fn a_missing_secret_is_said_at_the_start_and_refuses_attempts_until_it_is_there() {
    let host = telling();
    let warning = "attempts will be refused here: the secret `CRM_TOKEN` has no value";
    let without = Worker::start_until(host.command(&["worker", "start"]), warning);
    let record = length(&host);
    assert_eq!(record["error"]["kind"], "not-permitted", "{record}");
    assert!(record["attempts"][0].is_object(), "{record}");
    assert!(record["attempts"][1].is_null(), "{record}");
    without.kill();
    let _with = Worker::start(with_secret(&host, &[]));
    let id = text(&record["id"]);
    host.ok(&["dlq", "replay", &id]);
    assert_eq!(host.outcome(&id)["result"], json!(SECRET.len()));
}

/// M4
#[test]
fn a_worker_reads_a_directory_and_sees_a_rotated_file_without_a_restart() {
    let host = telling();
    let folder = directory(&host, "first\n");
    let _worker = host.worker(&["--secrets-dir", &folder]);
    assert_eq!(length(&host)["result"], json!(5));
    let new = host.write("secrets/.new", "rotated\n");
    set_mode(Path::new(&new), 0o600);
    fs::rename(new, host.path("secrets/CRM_TOKEN")).expect("replaced");
    assert_eq!(length(&host)["result"], json!(7));
}

/// M4
#[test]
fn an_attempt_at_home_has_the_secrets_of_this_machine() {
    let host = telling();
    let module = guest("tell").display().to_string();
    let question = r#"{"tell":"length","key":"CRM_TOKEN"}"#;
    let run = [&["run", &module, "--payload", question][..], GRANT].concat();
    host.run(&run)
        .assert(1, "the secret `CRM_TOKEN` has no value");
    assert_eq!(host.run_with((VARIABLE, SECRET), &run).stdout, "25\n");
    directory(&host, "1234");
    host.write("stem-host.toml", "secrets-dir = \"secrets\"");
    assert_eq!(host.ok(&run), "4");
}

/// M4
#[test]
fn a_dead_letter_at_home_has_them_too() {
    let host = telling();
    let worker = host.worker(&[]);
    let id = text(&length(&host)["id"]);
    drop(worker);
    let local = ["dlq", "replay", &id, "--local"];
    host.run(&local).assert(1, "not-permitted");
    let answer = host.run_with((VARIABLE, SECRET), &local);
    assert_eq!(answer.stdout, "25\n", "{answer:?}");
}

/// M4
#[test]
fn a_directory_that_others_can_read_stops_the_start_and_no_deployment() {
    let host = telling();
    let folder = directory(&host, SECRET);
    set_mode(&host.path("secrets/CRM_TOKEN"), 0o644);
    let answer = host.run(&["worker", "start", "--secrets-dir", &folder]);
    answer.assert(2, "error: read the directory of secrets `");
    answer.assert(2, "others can read or change it: `chmod 600 ");
    assert!(!answer.stderr.contains(SECRET), "{answer:?}");
    host.deploy("tell", &[GRANT, &["--secrets-dir", &folder]].concat());
}

/// M1, M4
#[test]
fn a_value_and_a_secret_of_one_name_cannot_be_deployed() {
    let host = TestHost::new();
    let module = guest("tell").display().to_string();
    let clash = [&["deploy", &module, "--value", "CRM_TOKEN=x"][..], GRANT].concat();
    host.run(&clash).assert(
        5,
        "in [grants]: `CRM_TOKEN` is in `config` and in `secrets`",
    );
    host.run(&["deploy", &module, "--secret", "A", "--env", "=x"])
        .assert(2, "");
}

/// M4: the effective policy can be printed; secrets stand there by their names.
#[test]
fn what_a_deployment_was_granted_is_shown() {
    let host = TestHost::new();
    let flags = ["--secret", "A", "--value", "B=b", "--env", "C=c"];
    host.deploy("tell", &[&flags[..], &["--deterministic"]].concat());
    let shown = host.json(&["module", "show", "tell"]);
    let granted = json!({
        "secrets": ["A"], "config": {"B": "b"}, "environment": {"C": "c"}, "deterministic": true
    });
    assert_eq!(shown["grants"], granted);
}

/// M4: whoever writes the value after the name finds it in no message.
#[test]
fn a_secret_that_was_written_into_a_flag_is_not_repeated() {
    let host = TestHost::new();
    let module = guest("tell").display().to_string();
    let pair = format!("CRM_TOKEN={SECRET}");
    for verb in ["deploy", "run"] {
        let answer = host.run(&[verb, &module, "--secret", &pair]);
        answer.assert(2, "read --secret: `CRM_TOKEN=…` is no name of a secret");
        assert!(!format!("{answer:?}").contains(SECRET), "{answer:?}");
    }
}
