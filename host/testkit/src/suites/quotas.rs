//! What a bucket's quota promises: what is over it is refused and changes nothing, and room that is given back is room.

use stem_core::key_value::{BucketStatus, Change, Fill, LARGEST_READ, Quota, Refusal, Writing};
use stem_core::units::ByteSize;

use crate::builders::{DEFAULT_BUCKET, bucket_name, put, removal, writing};
use crate::fixture::Fixture;
use crate::process::Process;

/// Somebody who may put no more than so many keys into the default bucket.
fn with_keys(keys: u64) -> Writing {
    let quota = Quota {
        keys,
        ..Quota::default()
    };
    Writing { quota, ..writing() }
}

/// Somebody who may put no more than this into it, in all and as one value.
fn with_bytes(total: ByteSize, value: ByteSize) -> Writing {
    let quota = Quota {
        total,
        value,
        ..Quota::default()
    };
    Writing { quota, ..writing() }
}

/// So many keys: `k0`, `k1` and so on.
fn keys(number: usize) -> Vec<Change> {
    (0..number)
        .map(|number| put(&format!("k{number}"), "v"))
        .collect()
}

fn status(keys: u64, bytes: u64) -> BucketStatus {
    BucketStatus {
        name: bucket_name(DEFAULT_BUCKET),
        fill: Fill { keys, bytes },
    }
}

/// R4
pub async fn a_bucket_takes_no_more_keys_than_its_quota(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let writing = with_keys(3);
    let full = Refusal::TooManyKeys { quota: 3 };
    here.fill(&keys(3)).await;
    let changed = here.change(&writing, &[put("n", "1")]).await;
    assert_eq!(changed, Err(full.clone()));
    let counted = here.increment(&writing, "n", 1).await;
    assert_eq!(counted, Err(full.clone()));
    let swapped = here.swap(&writing, &put("n", "1"), None).await;
    assert_eq!(swapped, Err(full));
    assert_eq!(here.buckets().await, [status(3, 9)]);
}

/// R4: keys count with their values.
pub async fn a_bucket_takes_no_more_bytes_than_its_quota(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let quota = ByteSize(10);
    let writing = with_bytes(quota, quota);
    here.fill(&[put("ab", "12345678")]).await;
    for change in [put("ab", "123456789"), put("x", "")] {
        let refused = here.change(&writing, &[change]).await;
        assert_eq!(refused, Err(Refusal::TooManyBytes { quota }));
    }
    assert_eq!(here.buckets().await, [status(1, 10)]);
}

/// R4: nor is anything else of the batch written.
pub async fn a_batch_over_the_quota_changes_nothing(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.fill(&keys(2)).await;
    let batch = [put("k0", "new"), removal("k1"), put("a", ""), put("b", "")];
    let refused = here.change(&with_keys(2), &batch).await;
    assert_eq!(refused, Err(Refusal::TooManyKeys { quota: 2 }));
    let values = here.values(&["k0", "k1", "a"]).await;
    assert_eq!(values, [Some("v".to_owned()), Some("v".to_owned()), None]);
    assert_eq!(here.buckets().await, [status(2, 6)]);
}

/// R4: also within one batch.
pub async fn room_that_was_given_back_can_be_used(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let writing = with_bytes(ByteSize(10), ByteSize(10));
    here.fill(&[put("a", "123456789")]).await;
    let batch = [put("a", "1"), put("b", "1234567")];
    assert_eq!(here.change(&writing, &batch).await, Ok(()));
    assert_eq!(here.buckets().await, [status(2, 10)]);
    let batch = [removal("b"), put("c", "1234567")];
    assert_eq!(here.change(&writing, &batch).await, Ok(()));
    assert_eq!(here.key_names(10).await, ["a", "c"]);
}

/// R4
pub async fn a_value_over_its_limit_is_refused(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let limit = ByteSize(4);
    let writing = with_bytes(ByteSize(100), limit);
    let changes = [put("a", "1234"), put("b", "12345")];
    let refused = Err(Refusal::ValueTooLarge { length: 5, limit });
    assert_eq!(here.change(&writing, &changes).await, refused);
    let swapped = here.swap(&writing, &changes[1], None).await;
    assert_eq!(swapped.map(|_| ()), refused);
    assert_eq!(here.buckets().await, []);
    assert_eq!(here.change(&writing, &changes[..1]).await, Ok(()));
}

/// R4: two deployments may share a bucket with quotas of their own.
pub async fn each_writer_is_held_to_its_own_quota(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    let small = with_keys(1);
    here.fill(&keys(3)).await;
    let refused = there.change(&small, &[put("k3", "v")]).await;
    assert_eq!(refused, Err(Refusal::TooManyKeys { quota: 1 }));
    for change in [put("k0", "longer"), removal("k1")] {
        assert_eq!(there.change(&small, &[change]).await, Ok(()));
    }
    assert_eq!(here.key_names(10).await, ["k0", "k2"]);
}

/// R4: one call takes no more of this host's memory than it may.
pub async fn values_too_large_for_one_answer_are_refused(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    let writing = with_bytes(ByteSize(LARGEST_READ.0 * 2), LARGEST_READ);
    let half = "v".repeat(LARGEST_READ.as_usize() / 2);
    let changes = [put("a", &half), put("b", &half), put("c", "v")];
    assert_eq!(here.change(&writing, &changes).await, Ok(()));
    let fits = here.get(DEFAULT_BUCKET, &["a", "b"]).await;
    assert!(fits.is_ok_and(|stored| stored.iter().all(Option::is_some)));
    let refused = here.get(DEFAULT_BUCKET, &["a", "b", "c"]).await;
    assert_eq!(refused, Err(Refusal::ReadTooLarge));
}

/// R4
pub async fn a_bucket_that_holds_nothing_is_gone(fixture: &dyn Fixture) {
    let here = Process::here(fixture).await;
    here.fill(&[removal("a")]).await;
    assert_eq!(here.buckets().await, []);
    here.fill(&[put("\u{fc}", "12")]).await;
    assert_eq!(here.buckets().await, [status(1, 4)]);
    here.fill(&[removal("\u{fc}")]).await;
    assert_eq!(here.buckets().await, []);
}

/// R4
pub async fn a_bucket_is_cleared_in_chunks(fixture: &dyn Fixture) {
    let (here, there) = Process::two(fixture).await;
    here.fill(&keys(5)).await;
    here.fill(&[put("\u{fc}", "longer")]).await;
    assert_eq!(there.clear(4).await, 4);
    assert_eq!(here.buckets().await, [status(2, 11)]);
    assert_eq!(there.clear(4).await, 2);
    assert_eq!(there.clear(4).await, 0);
    assert_eq!(here.buckets().await, []);
    assert_eq!(here.values(&["k4"]).await, [None]);
}
