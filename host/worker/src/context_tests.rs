//! What a guest is told when its checkpoint is not kept, and as whom it writes.

use stem_core::names::Namespace;
use stem_core::store_error::StoreErrorKind;
use stem_core::stores::Stores;
use stem_testkit::builders::{DEFAULT_QUEUE, envelope, first_fence, queue_name};
use stem_testkit::clock::ManualClock;

use super::*;

fn context() -> Context {
    let clock = ManualClock::shared();
    let namespace = Namespace::new("test").expect("a name");
    let store = stem_memory::Store::new(namespace, Arc::clone(&clock) as _);
    let stores = Stores::on_one(store, Arc::clone(&clock) as _);
    let fence = first_fence();
    Context {
        fence,
        clock,
        results: Arc::clone(&stores.results),
        key_value: Arc::clone(&stores.key_value),
        progress: Arc::default(),
        waits: Arc::default(),
        limit: ByteSize(10),
        receipt: Receipt {
            id: fence.id,
            delivery: fence.delivery,
            position: 0,
        },
        lease: Duration::from_secs(15),
        parent: Parent::of(&envelope()),
        client: Arc::new(Client::new(stores, queue_name(DEFAULT_QUEUE))),
    }
}

/// E3: nothing goes past the limit as a media type.
#[tokio::test]
async fn a_checkpoint_with_a_content_type_that_is_none_is_refused() {
    let saved = |content_type: String| async {
        let checkpoint = Payload::new(content_type, "1");
        context().save_checkpoint(checkpoint).await
    };
    assert_eq!(saved("text/plain".to_owned()).await, Ok(()));
    for bad in ["x".repeat(256), "text/\u{1b}[2J".to_owned()] {
        assert!(matches!(saved(bad).await, Err(CheckpointError::Other(_))));
    }
}

/// R1
#[test]
fn a_bucket_is_written_to_as_the_delivery_that_runs() {
    let context = context();
    let buckets = context.buckets().expect("a worker has a store for them");
    assert_eq!(buckets.fence, context.fence);
}

#[test]
fn a_guest_is_not_told_where_the_store_lies() {
    let error = |kind| refused(StoreError::new(kind, "save", "/srv/stem.db"));
    let away = error(StoreErrorKind::Unavailable);
    assert_eq!(
        away,
        CheckpointError::Unavailable("try again later".to_owned())
    );
    let damaged = error(StoreErrorKind::Unreadable);
    assert_eq!(
        damaged,
        CheckpointError::Other("the store refused it".to_owned())
    );
}
