//! What buckets promise: what was put is read everywhere, counting and swapping are one step, and nothing is written for
//! a delivery that has lost its lease.

use futures::join;
use stem_core::broker::Delivery;
use stem_core::key_value::{BucketStatus, Change, Fill, Refusal, Swapped, Writing};
use stem_core::state::EndState;

use crate::builders::{DEFAULT_BUCKET, bucket_name, fence, publication, put, removal, writing};
use crate::fixture::Fixture;
use crate::process::{Process, ROUNDS};

/// So many keys: `k0`, `k1` and so on.
fn keys(number: usize) -> Vec<Change> {
    (0..number)
        .map(|number| put(&format!("k{number}"), "v"))
        .collect()
}

fn texts<const N: usize>(values: [&str; N]) -> Vec<Option<String>> {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    values.into_iter().map(text).collect()
}

fn status(keys: u64, bytes: u64) -> BucketStatus {
    BucketStatus {
        name: bucket_name(DEFAULT_BUCKET),
        fill: Fill { keys, bytes },
    }
}

/// S2
pub async fn a_value_is_read_in_another_process(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let changes = [put("a", "1"), put("b", "2")];
    assert_eq!(here.change(&writing(), &changes).await, Ok(()));
    let values = there.values(&["b", "nothing", "a"]).await;
    assert_eq!(values, texts(["2", "", "1"]));
    here.fill(&[put("a", "3")]).await;
    assert_eq!(there.values(&["a"]).await, texts(["3"]));
}

/// S2: a bucket is as durable as what is published.
pub async fn a_value_outlives_who_put_it(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.fill(&[put("a", "1")]).await;
    drop(here);
    let (_, there) = Process::two(fixture).await;
    assert_eq!(there.values(&["a"]).await, texts(["1"]));
}

/// S2: bytes and names are kept as they are.
pub async fn keys_and_values_are_any_bytes(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let value: Vec<u8> = (0..=255).collect();
    let names = ["", " ", "A", "a", "ü\u{1F980}", "a\u{0}b", "%_*"];
    let changes = names.map(|name| Change {
        value: Some(value.clone().into()),
        ..put(name, "")
    });
    here.fill(&changes).await;
    let stored = here.get(DEFAULT_BUCKET, &names).await.expect("small");
    assert!(stored.iter().flatten().all(|stored| stored.value == value));
    assert_eq!(stored.iter().flatten().count(), names.len());
    assert_eq!(here.key_names(100).await.len(), names.len());
}

/// S2
pub async fn a_removed_key_is_gone(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.fill(&keys(3)).await;
    let changes = [removal("k1"), removal("was never there")];
    here.fill(&changes).await;
    assert_eq!(there.values(&["k0", "k1"]).await, texts(["v", ""]));
    assert_eq!(there.version("k1").await, None);
    assert_eq!(there.key_names(100).await, ["k0", "k2"]);
}

/// S2: as if they had been made one after the other.
pub async fn the_last_change_of_a_key_counts(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let changes = [put("a", "1"), put("b", "1"), removal("b"), put("a", "22")];
    here.fill(&changes).await;
    assert_eq!(here.values(&["a", "b"]).await, texts(["22", ""]));
    assert_eq!(here.buckets().await, [status(1, 3)]);
    here.fill(&[]).await;
    assert_eq!(here.buckets().await, [status(1, 3)]);
}

/// S2
pub async fn keys_are_listed_page_by_page(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    assert_eq!(here.key_names(10).await, <[&str; 0]>::default());
    here.fill(&keys(25)).await;
    for limit in [1, 5, 10, 25, 1_000] {
        let mut names = here.key_names(limit).await;
        names.sort_by_key(|name| name[1..].parse::<u32>().expect("a number"));
        let all: Vec<_> = (0..25).map(|number| format!("k{number}")).collect();
        assert_eq!(names, all, "{limit} at once");
    }
    assert_eq!(here.key_page(u64::MAX, 10).await.keys, []);
}

/// S2: what stays is listed once, whatever comes and goes.
pub async fn a_page_stays_good_while_keys_come_and_go(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.fill(&keys(4)).await;
    let first = here.key_page(0, 2).await;
    let gone = first.keys[1].as_str().to_owned();
    let changes = [
        removal(&gone),
        put(first.keys[0].as_str(), "new"),
        put("z", "v"),
    ];
    here.fill(&changes).await;
    let rest = here.key_page(first.next.expect("more"), 10).await;
    let mut names: Vec<_> = rest.keys.iter().map(|key| key.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(!names.contains(&first.keys[0].as_str()) && names.contains(&"z"));
}

/// S2
pub async fn a_counter_counts_from_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    assert_eq!(here.increment(&writing(), "n", 5).await, Ok(5));
    assert_eq!(there.increment(&writing(), "n", -7).await, Ok(-2));
    assert_eq!(here.values(&["n"]).await, texts(["-2"]));
    here.fill(&[put("n", "40")]).await;
    assert_eq!(there.increment(&writing(), "n", 2).await, Ok(42));
    assert_eq!(here.buckets().await, [status(1, 3)]);
}

/// S2
pub async fn what_is_no_number_is_not_counted_on(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let largest = i64::MAX.to_string();
    let changes = [put("word", "four"), put("most", &largest)];
    here.fill(&changes).await;
    let word = here.increment(&writing(), "word", 1).await;
    assert_eq!(word, Err(Refusal::NoNumber));
    let most = here.increment(&writing(), "most", 1).await;
    assert_eq!(most, Err(Refusal::Overflow));
    let values = here.values(&["word", "most"]).await;
    assert_eq!(values, texts(["four", &largest]));
}

/// S2: two processes that count at once lose no count.
pub async fn counting_is_one_step(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let count = async |process: &Process| {
        for _ in 0..ROUNDS.0 {
            let counted = process.increment(&writing(), "n", 1).await;
            counted.expect("a number");
        }
    };
    join!(count(&here), count(&there));
    let sum = (2 * ROUNDS.0).to_string();
    assert_eq!(here.values(&["n"]).await, texts([&sum]));
}

/// S2
pub async fn a_swap_writes_where_nobody_else_has_written(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let first = here.swap(&writing(), &put("a", "1"), None).await;
    assert_eq!(first, Ok(Swapped::Done));
    let version = there.version("a").await;
    let second = there.swap(&writing(), &put("a", "2"), version).await;
    assert_eq!(second, Ok(Swapped::Done));
    assert_eq!(here.values(&["a"]).await, texts(["2"]));
    let version = here.version("a").await;
    let removed = here.swap(&writing(), &removal("a"), version).await;
    assert_eq!(removed, Ok(Swapped::Done));
    assert_eq!(there.values(&["a"]).await, texts([""]));
}

/// S2: also where what was put is what was there before.
pub async fn a_swap_after_another_write_changes_nothing(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let same = [put("a", "1")];
    here.fill(&same).await;
    let seen = here.version("a").await;
    for changes in [&same[..], &[removal("a")], &same] {
        there.fill(changes).await;
        let late = here.swap(&writing(), &put("a", "2"), seen).await;
        let now = there.version("a").await;
        assert_eq!(late, Ok(Swapped::Changed { now }));
    }
    let new = here.swap(&writing(), &put("a", "2"), None).await;
    assert!(matches!(new, Ok(Swapped::Changed { now: Some(_) })));
    assert_eq!(here.values(&["a"]).await, texts(["1"]));
}

/// S2: a value comes with the version that it has.
pub async fn a_version_names_one_value(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.fill(&keys(2)).await;
    let stored = here
        .get(DEFAULT_BUCKET, &["k0", "k1"])
        .await
        .expect("small");
    for (stored, name) in stored.into_iter().flatten().zip(["k0", "k1"]) {
        assert_eq!(Some(stored.version), here.version(name).await);
    }
    let before = here.version("k0").await;
    here.fill(&[put("k1", "w")]).await;
    assert_eq!(here.version("k0").await, before);
}

/// S2
pub async fn a_bucket_never_sees_the_keys_of_another(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let other = Writing {
        bucket: bucket_name("other"),
        ..writing()
    };
    here.fill(&[put("a", "1")]).await;
    here.change(&other, &[put("a", "2"), put("b", "2")])
        .await
        .expect("room");
    assert_eq!(here.values(&["a", "b"]).await, texts(["1", ""]));
    assert_eq!(here.key_names(10).await, ["a"]);
    assert_eq!(here.clear(10).await, 1);
    let kept = here.get("other", &["a"]).await.expect("small");
    assert_eq!(kept.iter().flatten().count(), 1);
}

/// B14
pub async fn a_namespace_never_sees_the_buckets_of_another(fixture: &dyn Fixture) {
    let (here, stranger) = Process::strangers(fixture).await;
    here.fill(&[put("a", "1")]).await;
    assert_eq!(stranger.values(&["a"]).await, texts([""]));
    assert_eq!(stranger.buckets().await, []);
    assert_eq!(stranger.increment(&writing(), "a", 5).await, Ok(5));
    assert_eq!(stranger.clear(10).await, 1);
    assert_eq!(here.values(&["a"]).await, texts(["1"]));
}

/// Writes to the default bucket for a delivery.
fn held_by(delivery: &Delivery) -> Writing {
    Writing {
        fence: fence(delivery),
        ..writing()
    }
}

/// R1: none of what it tries is written.
async fn assert_may_not_write(process: &Process, late: &Writing) {
    let before = process.buckets().await;
    let lost = Refusal::LeaseLost;
    assert_eq!(
        process.change(late, &[put("late", "1")]).await,
        Err(lost.clone())
    );
    assert_eq!(
        process.change(late, &[removal("a")]).await,
        Err(lost.clone())
    );
    assert_eq!(process.increment(late, "late", 1).await, Err(lost.clone()));
    let swapped = process.swap(late, &put("late", "1"), None).await;
    assert_eq!(swapped, Err(lost));
    assert_eq!(process.buckets().await, before);
}

/// R1
pub async fn a_lost_delivery_writes_to_no_bucket(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.add(&publication()).await;
    let late = held_by(&here.lose_one(fixture).await);
    let holder = held_by(&there.claim_one().await);
    let written = there.change(&holder, &[put("a", "1")]).await;
    assert_eq!(written, Ok(()));
    assert_may_not_write(&here, &late).await;
    assert_eq!(here.values(&["a"]).await, texts(["1"]));
}

/// R1: as what was claimed is settled.
pub async fn a_lease_that_ended_and_was_not_taken_still_writes(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.add(&publication()).await;
    let holder = held_by(&here.lose_one(fixture).await);
    assert_eq!(here.change(&holder, &[put("a", "1")]).await, Ok(()));
    assert_eq!(here.increment(&holder, "n", 1).await, Ok(1));
}

/// R1
pub async fn a_delivery_that_has_ended_writes_to_no_bucket(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    for state in [EndState::Succeeded, EndState::Failed] {
        here.add(&publication()).await;
        let late = held_by(&here.end_next(state).await);
        assert_may_not_write(&here, &late).await;
    }
}
