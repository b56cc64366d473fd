//! What is signed runs, and what was altered does not (M2).

use std::sync::atomic::Ordering;

use bytes::Bytes;
use stem_core::executor::Executor;
use stem_core::ids::Digest;
use stem_core::manifest::{Manifest, SignaturePolicy};
use stem_core::module_store::Deployment;
use stem_core::names::{DeploymentName, KeyId, TaskName};
use stem_core::outcome::FailureKind;
use stem_core::signing::PrivateKey;

use super::shop::{Shop, other_version};
use crate::common::hostile::running;
use crate::common::{block_on, guest, sandbox};

/// A key that signs modules.
fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyId::new("ci").expect("a good name"), [seed; 32])
}

/// Asks for signatures of this key.
fn asking_for(key: &PrivateKey) -> SignaturePolicy {
    SignaturePolicy {
        keys: [key.public()].into_iter().collect(),
        is_required: true,
    }
}

/// A shop that asks for signatures of a key, with a signed deployment of `word-count`.
async fn shop_with_texts() -> Shop {
    let shop = Shop::asking(sandbox(4), asking_for(&key(1))).await;
    shop.deploy_signed("texts", &guest("word_count"), Some(&key(1)))
        .await;
    shop
}

/// Adds a signed deployment of `hostile`.
async fn deploy_others(shop: &Shop) {
    let other = running("(global.get $ok)").component();
    shop.deploy_signed("others", &other, Some(&key(1))).await;
}

/// A shop that asks for signatures of a key, with two signed deployments: `texts`, and `others` as the newer one.
async fn signed_shop() -> Shop {
    let shop = shop_with_texts().await;
    deploy_others(&shop).await;
    shop
}

/// What is said of `word-count` when a new version of it has this signature.
async fn refusal(shop: &Shop, stranger: Option<&PrivateKey>) -> String {
    shop.deploy_signed("texts", &other_version("0x6a6a"), stranger)
        .await;
    shop.catalog.refresh().await.expect("refreshed");
    let (kind, message) = shop.refusal("word-count", None).await;
    assert_eq!(kind, FailureKind::BadSignature);
    message
}

/// M2
#[test]
fn what_is_signed_runs_and_what_is_not_is_refused() {
    block_on(async {
        let shop = signed_shop().await;
        shop.program("word-count", None).await;
        let unsigned = refusal(&shop, None).await;
        assert!(
            unsigned.ends_with("is refused: it is not signed"),
            "{unsigned}"
        );
        let forged = refusal(&shop, Some(&key(2))).await;
        let said = "it is not what was signed with the key `ci`";
        assert!(forged.ends_with(said), "{forged}");
        shop.program("hostile", None).await;
    });
}

type Change = fn(&mut Deployment);

/// What whoever can write to the store could do to a signed deployment.
const CHANGES: [(&str, Change); 6] = [
    ("its policy", |one| {
        let mut manifest = Manifest::decode(&one.sealed.manifest).expect("a manifest");
        manifest.tasks[0].policy.max_attempts = 99;
        one.sealed.manifest = manifest.seal(None).manifest;
    }),
    ("its bytes", |one| {
        one.sealed.manifest = Bytes::from_static(b"\xc1")
    }),
    ("its signature", |one| one.sealed.signature = None),
    ("its module", |one| one.digest = Digest::of(b"another")),
    ("its name", |one| {
        one.name = DeploymentName::new("stranger").expect("a good name");
    }),
    ("its tasks", |one| {
        one.tasks[0].name = TaskName::new("stranger").expect("a good name");
    }),
];

/// M2: also that of a deployment that was ready, once the store says that something has changed.
#[test]
fn a_deployment_that_was_altered_runs_nothing_and_the_others_go_on() {
    block_on(async {
        for (changed, change) in CHANGES {
            let shop = signed_shop().await;
            shop.program("hostile", None).await;
            shop.shelf.alter(change);
            shop.catalog.refresh().await.expect("refreshed");
            let is_renamed = changed == "its tasks";
            let task = if is_renamed { "stranger" } else { "hostile" };
            let (kind, message) = shop.refusal(task, None).await;
            assert_eq!(kind, FailureKind::BadSignature, "{changed}: {message}");
            shop.program("word-count", None).await;
        }
    });
}

/// M2: pinned to a module is not past its signature.
#[test]
fn a_pinned_module_must_be_signed_too() {
    block_on(async {
        let shop = signed_shop().await;
        let module = other_version("0x6a6a");
        shop.deploy_signed("texts", &module, None).await;
        let (kind, _) = shop.refusal("word-count", Some(Digest::of(&module))).await;
        assert_eq!(kind, FailureKind::BadSignature);
    });
}

/// M2, S4: without keys a bad read is the store's fault; with them, bytes that stay wrong are somebody's doing.
#[test]
fn a_signed_deployment_whose_module_is_another_is_refused() {
    block_on(async {
        let shop = shop_with_texts().await;
        let module = guest("word_count");
        let digest = Digest::of(&module);
        // Nothing is awaited before this, so that the catalog cannot have read the right bytes.
        shop.shelf.put(digest, Bytes::from_static(b"other bytes"));
        deploy_others(&shop).await;
        let (kind, message) = shop.refusal("word-count", None).await;
        assert_eq!(kind, FailureKind::BadSignature);
        assert!(message.contains("not what was deployed"), "{message}");
        shop.program("hostile", None).await;
        shop.shelf.put(digest, module);
        shop.program("word-count", None).await;
    });
}

/// M2: an attempt costs no signature.
#[test]
fn nothing_is_asked_of_the_store_or_of_a_signature_where_a_task_is_ready() {
    block_on(async {
        let shop = signed_shop().await;
        shop.program("word-count", None).await;
        shop.shelf.is_away.store(true, Ordering::SeqCst);
        let asked = shop.shelf.asked.load(Ordering::SeqCst);
        shop.program("word-count", None).await;
        assert_eq!(shop.shelf.asked.load(Ordering::SeqCst), asked);
    });
}
