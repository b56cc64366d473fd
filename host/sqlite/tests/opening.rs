//! What opening promises: what cannot be used is refused with what to do about it, and nothing is changed.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use stem_core::broker::Broker;
use stem_core::clock::SystemClock;
use stem_core::grants::Grants;
use stem_core::module_store::{Deployment, ModuleStore};
use stem_core::names::Namespace;
use stem_core::queues::Queues;
use stem_core::store_error::{StoreError, StoreErrorKind};
use stem_core::upkeep::{Fact, Upkeep as _};
use stem_sqlite::{Options, Store, Synchronous};
use stem_testkit::builders::{fresh_namespace, publication};
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a folder for the test")
}

fn options(path: &Path) -> Options {
    Options::new(path, fresh_namespace(), SystemClock::shared())
}

async fn open(path: &Path) -> Result<Arc<Store>, StoreError> {
    Store::open(options(path)).await
}

/// Why a path is refused, with the whole message.
async fn refusal(path: &Path) -> (StoreErrorKind, String) {
    let Err(error) = open(path).await else {
        panic!("{} is refused", path.display());
    };
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    (error.kind(), format!("{error}: {cause}"))
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` in: {message}");
    }
}

fn written(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("stem.db");
    fs::write(&path, bytes).expect("a file for the test");
    path
}

#[tokio::test]
async fn a_store_is_made_for_its_user_alone() {
    let folder = folder();
    let path = folder.path().join("data/stem.db");
    let store = open(&path).await.expect("a store opens");
    let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode() & 0o777);
    for (name, expected) in [
        ("data", 0o700),
        ("data/stem.db", 0o600),
        ("data/stem.db-wal", 0o600),
        ("data/stem.db-wake", 0o700),
    ] {
        let found = mode(&folder.path().join(name)).expect("it is there");
        assert_eq!(found, expected, "{name}: {found:o}");
    }
    drop(store);
    assert!(
        mode(&folder.path().join("data/stem.db-wal")).is_err(),
        "the log is in the database"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = folder();
    let text = b"shopping list: bread, butter, and many other things, so many that a header would fit in here\n";
    let path = written(&folder, text);
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, StoreErrorKind::Unreadable);
    assert_says(
        &message,
        &["stem.db", "no SQLite database", "choose another path"],
    );
    assert_eq!(fs::read(&path).expect("it is there"), text);
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    drop(open(&path).await.expect("a store opens"));
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[100..].fill(0xa5);
    let path = written(&folder, &bytes);
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, StoreErrorKind::Unreadable);
    assert_says(
        &message,
        &["malformed", "restore the database from a backup"],
    );
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let other = Connection::open(&path).expect("a database");
    other
        .execute_batch("CREATE TABLE bread (butter)")
        .expect("a table");
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, StoreErrorKind::Unreadable);
    assert_says(&message, &["another program", "choose another path"]);
    let tables = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0));
    assert_eq!(tables, Ok(1));
}

#[tokio::test]
async fn a_newer_format_is_refused_with_both_versions() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    drop(open(&path).await.expect("a store opens"));
    upgrade(&path);
    let (kind, message) = refusal(&path).await;
    assert_eq!(kind, StoreErrorKind::Unreadable);
    assert_says(&message, &["format 99", "format 4", "upgrade"]);
}

fn upgrade(path: &Path) {
    let newer = Connection::open(path).expect("a database");
    newer
        .pragma_update(None, "user_version", 99)
        .expect("another version");
}

/// A deployment without tasks, in the layout of format 1.
const DEPLOYED: &str = "PRAGMA application_id = 1400137069; PRAGMA user_version = 1;
    INSERT INTO namespaces (name) VALUES ('stem');
    INSERT INTO deployments VALUES (1, 'texts', 1, zeroblob(32), 1, 0, 1, x'90');";

/// M3: what an older build has deployed is still there.
#[tokio::test]
async fn an_older_format_is_brought_up_to_this_one() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    drop(older(&path));
    let namespace = Namespace::new("stem").expect("a name");
    let options = Options::new(&path, namespace, SystemClock::shared());
    let store = Store::open(options).await.expect("a store opens");
    let deployments = store.deployments().await.expect("they are listed");
    assert_eq!(deployments[0].grants, Grants::default());
}

/// The deployments of this database that are listed, and whether they are damaged.
async fn damages(path: &Path) -> Vec<(String, bool)> {
    let namespace = Namespace::new("stem").expect("a name");
    let options = Options::new(path, namespace, SystemClock::shared());
    let store = Store::open(options).await.expect("a store opens");
    let listed = store.deployments().await.expect("they are listed");
    let seen = |one: &Deployment| (one.name.to_string(), one.damage.is_some());
    listed.iter().map(seen).collect()
}

/// A database of format 1 with one deployment, `texts`.
fn older(path: &Path) -> Connection {
    let older = Connection::open(path).expect("a database");
    for sql in [include_str!("../src/schema/v1.sql"), DEPLOYED] {
        older.execute_batch(sql).expect("the older layout");
    }
    older
}

/// A deployment whose tasks nobody can read.
const UNREADABLE: &str =
    "INSERT INTO deployments VALUES (1, 'broken', 1, zeroblob(32), 1, 0, 1, x'c1');";

/// M3: what cannot be read stands in nobody's way.
#[tokio::test]
async fn a_damaged_deployment_of_an_older_format_is_brought_up_as_damaged() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let older = older(&path).execute_batch(UNREADABLE);
    older.expect("the older layout");
    let expected = [("broken".to_owned(), true), ("texts".to_owned(), false)];
    assert_eq!(damages(&path).await, expected);
}

/// Of one the digest is damaged; of the other nothing can be shown, since it is the name.
const DAMAGE: &str = "INSERT INTO deployments
    SELECT namespace, 'short', 1, x'00', 1, 0, 1, tasks, manifest, NULL, 0, NULL FROM deployments;
    INSERT INTO deployments
    SELECT namespace, 'no name', 1, digest, 1, 0, 1, tasks, manifest, NULL, 0, NULL
        FROM deployments WHERE name = 'texts';";

/// M2: a row that was damaged hides no other.
#[tokio::test]
async fn a_damaged_deployment_does_not_hide_the_others() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let file = older(&path);
    assert_eq!(damages(&path).await.len(), 1);
    file.execute_batch(DAMAGE).expect("two damaged rows");
    let expected = [("short".to_owned(), true), ("texts".to_owned(), false)];
    assert_eq!(damages(&path).await, expected);
}

#[tokio::test]
async fn a_format_that_changes_while_the_store_is_open_stops_what_writes_and_reads() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let store = open(&path).await.expect("a store opens");
    let first = store.publish(&[publication()]).await;
    first.expect("it is published");
    upgrade(&path);
    let second = store.publish(&[publication()]).await;
    let error = second.expect_err("another format");
    assert_eq!(error.kind(), StoreErrorKind::Unreadable);
    let error = store.queues().await.expect_err("another format");
    assert_eq!(error.kind(), StoreErrorKind::Unreadable);
    assert_eq!(envelopes(&path), 1);
}

fn envelopes(path: &Path) -> i64 {
    let connection = Connection::open(path).expect("a database");
    let sql = "SELECT count(*) FROM envelopes";
    let count = connection.query_row(sql, [], |row| row.get(0));
    count.expect("a table can be counted")
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_refused_by_name() {
    let folder = folder();
    let file = written(&folder, b"");
    for path in [file.join("stem.db"), folder.path().to_owned()] {
        let (kind, message) = refusal(&path).await;
        assert_eq!(kind, StoreErrorKind::NotPermitted, "{message}");
        assert_says(&message, &[&path.display().to_string(), "may write"]);
    }
}

/// Two ways to one file are one store: with one turnstile, and with wake-ups for both.
#[tokio::test]
async fn a_link_leads_to_the_store_itself() {
    let folder = folder();
    let (real, link) = (folder.path().join("stem.db"), folder.path().join("link.db"));
    drop(open(&real).await.expect("a store opens"));
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let facts = facts(options(&link)).await;
    assert_eq!(facts["path"], Fact::Text(real.display().to_string()));
    assert!(!folder.path().join("link.db-wake").exists());
}

#[tokio::test]
async fn many_can_make_the_same_store_at_once() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let opened = futures::future::join_all((0..8).map(|_| open(&path))).await;
    let stores: Result<Vec<_>, _> = opened.into_iter().collect();
    assert_eq!(stores.expect("all of them open").len(), 8);
}

/// What a store says of itself, by name.
async fn facts(options: Options) -> BTreeMap<&'static str, Fact> {
    let store = Store::open(options).await.expect("a store opens");
    let facts = store.describe().await.expect("the store answers");
    facts.into_iter().collect()
}

#[tokio::test]
async fn a_store_says_what_it_is() {
    let folder = folder();
    let path = folder.path().join("stem.db");
    let facts = facts(options(&path)).await;
    assert_eq!(facts["store"], "sqlite".into());
    assert_eq!(facts["path"], Fact::Text(path.display().to_string()));
    assert_eq!(facts["format"], Fact::Count(4));
}

/// B1
#[tokio::test]
async fn a_store_says_what_a_commit_survives() {
    let folder = folder();
    for (synchronous, words) in [
        (Synchronous::Normal, ["any kill", "may lose"]),
        (Synchronous::Full, ["any kill", "and power loss"]),
    ] {
        let options = Options {
            synchronous,
            ..options(&folder.path().join("stem.db"))
        };
        let durability = format!("{:?}", facts(options).await["durability"]);
        assert_says(&durability, &words);
    }
}
