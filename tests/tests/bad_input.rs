//! Bytes that are no envelope, and a disk that is full: a clear error, and nothing lost. Damaged and foreign store
//! files are refused before anything runs: the command line's own tests look at those.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use stem_core::broker::{Due, Publication, Published};
use stem_core::ids::EnvelopeId;
use stem_core::names::{QueueName, TaskName};
use stem_tests::host::{Answer, TestHost};
use stem_tests::store::TestStore;

/// A store with one envelope in it, closed.
fn store() -> TestHost {
    let host = TestHost::new().with_deployed(&["word-count"]);
    host.enqueue("word-count", &json!({"text": "a b a"}), &[]);
    host
}

fn assert_refused(answer: &Answer, code: i32, words: &[&str]) {
    assert_eq!(answer.code, code, "{answer:?}");
    assert!(answer.stderr.starts_with("error: "), "{answer:?}");
    assert!(
        words.iter().all(|word| answer.stderr.contains(word)),
        "{words:?}: {answer:?}"
    );
}

/// An envelope that nobody can decode.
fn garbage(id: EnvelopeId) -> Publication {
    Publication {
        id,
        task: TaskName::new("word-count").expect("a name"),
        queue: QueueName::new("default").expect("a name"),
        priority: 0,
        due: Due::Now,
        module: None,
        bytes: bytes::Bytes::from_static(b"\xc1no envelope"),
    }
}

/// E1: nothing is lost, not even what nobody can read.
#[test]
fn an_envelope_that_cannot_be_decoded_becomes_a_dead_letter_with_its_bytes() {
    let host = TestHost::new();
    let id = EnvelopeId::new();
    let store = TestStore::of(&host);
    let published = store.with(async |stores| stores.broker.publish(&[garbage(id)]).await);
    assert_eq!(published.expect("stored"), [Published::Stored]);
    let _worker = host.worker(&[]);
    let outcome = host.outcome(&id.to_string());
    assert_eq!(outcome["error"]["kind"], "undecodable");
    let letters = store.with(async |stores| stores.dead_letters.show(&[id]).await);
    let letter = letters.expect("an answer").remove(0);
    let bytes = letter.expect("a dead letter").bytes;
    assert_eq!(&bytes[..], b"\xc1no envelope");
}

/// Runs an ignored test of this file where the temporary folder is a disk of 300 MiB: in a mount that only that run
/// sees and that is gone with it.
fn on_a_small_disk(test: &str) {
    let own = std::env::current_exe().expect("a test knows its own path");
    let disk = tempfile::tempdir().expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=300m none '{0}' && TMPDIR='{0}' exec '{1}' --exact --ignored --nocapture {test}",
        disk.path().display(),
        own.display()
    );
    let mut alone = Command::new("unshare");
    alone
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .stdin(Stdio::null());
    let output = alone.output().expect("unshare, of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("1 passed"),
        "{said}{}\nwhere `unshare --map-root-user --mount true` fails, this system does not let users make namespaces",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// B9
#[test]
fn a_disk_at_its_reserve_refuses_what_is_new_and_drains_what_it_has() {
    on_a_small_disk("within_the_reserve");
}

/// B9
#[test]
fn a_disk_without_a_byte_left_loses_nothing() {
    on_a_small_disk("without_a_byte_left");
}

const ENQUEUE: [&str; 4] = ["enqueue", "word-count", "--payload", r#"{"text": "new"}"#];

/// Where the temporary folder is the small disk.
#[test]
#[ignore = "run by a test above, on a disk of its own"]
fn within_the_reserve() {
    let host = store();
    host.write("ballast", vec![0; 60 << 20]);
    assert_refused(&host.run(&ENQUEUE), 5, &["full", "hint: "]);
    let queues = host.json(&["queue", "list"]);
    assert_eq!(queues[0]["queued"], 1, "what was there is there");
    let _worker = host.worker(&[]);
    host.until("the old one has ended", |host| host.alive() == 0);
    std::fs::remove_file(host.path("ballast")).expect("room");
    host.until("there is room again", |host| {
        host.run(&[&ENQUEUE[..], &["--wait"]].concat()).code == 0
    });
}

/// B9: not one byte is left; nothing that was enqueued is lost, and work goes on once there is room.
#[test]
#[ignore = "run by a test above, on a disk of its own"]
fn without_a_byte_left() {
    let host = TestHost::new().with_deployed(&["misbehave"]);
    let mut worker = host.worker(&[]);
    let id = host.enqueue("misbehave", &json!({"fate": "sleep", "ms": 1_500}), &[]);
    host.until_state(&id, "running");
    fill(&host.path("ballast"));
    worker.hear("again");
    std::fs::remove_file(host.path("ballast")).expect("room");
    let outcome = host.outcome(&id);
    assert_eq!(outcome["state"], "succeeded", "{outcome}");
    assert_eq!(outcome["attempts"][0]["number"], 1, "{outcome}");
}

/// Takes every byte that the disk has left.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
