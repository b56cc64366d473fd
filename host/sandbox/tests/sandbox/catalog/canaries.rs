//! A share of the envelopes on a new version first (M3).

use bytes::Bytes;
use stem_core::executor::Executor;
use stem_core::ids::{Digest, EnvelopeId};
use stem_core::module_store::{Activation, ModuleStore};
use stem_core::names::DeploymentName;
use stem_core::outcome::FailureKind;

use super::shop::{Shop, other_version};
use crate::common::block_on;
use crate::common::hostile::running;

/// M3: chosen by a hash of the envelope's id, so that a retry stays on its version.
#[test]
fn a_canary_has_its_share_and_an_envelope_stays_where_it_is() {
    block_on(async {
        let shop = Shop::open().await;
        shop.program("word-count", None).await;
        let new = shop
            .deploy_canary("texts", &other_version("0x6a6a"), "25%")
            .await;
        let ids: Vec<EnvelopeId> = (0..2_000).map(|_| EnvelopeId::new()).collect();
        let modules = shop.modules(&ids).await;
        let on_canary = modules.iter().filter(|module| **module == new).count();
        // Six deviations from the mean of a fair draw.
        assert!((384..=616).contains(&on_canary), "{on_canary}");
        assert_eq!(shop.modules(&ids).await, modules);
    });
}

/// M3
#[test]
fn a_canary_that_is_ended_or_replaced_has_no_share_any_more() {
    block_on(async {
        let shop = Shop::open().await;
        let old = shop.program("word-count", None).await.digest();
        let ids = [EnvelopeId::new()];
        for answer in ["0x6a6a", "0x6b6b"] {
            let new = shop
                .deploy_canary("texts", &other_version(answer), "100%")
                .await;
            assert_eq!(shop.modules(&ids).await, [new]);
        }
        let name = DeploymentName::new("texts").expect("a good name");
        shop.shelf.end_canary(&name).await.expect("ended");
        shop.catalog.refresh().await.expect("refreshed");
        assert_eq!(shop.modules(&ids).await, [old]);
    });
}

/// M3: what only the canary has is not deployed yet, and what it cannot run stays with the active version.
#[test]
fn a_canary_shares_only_the_tasks_that_the_active_version_has() {
    block_on(async {
        let shop = Shop::open().await;
        let old = shop.program("word-count", None).await.digest();
        let other = running("(global.get $ok)").component();
        shop.deploy_canary("texts", &other, "100%").await;
        assert_eq!(shop.modules(&[EnvelopeId::new()]).await, [old]);
        let (kind, _) = shop.refusal("hostile", None).await;
        assert_eq!(kind, FailureKind::UnknownTask);
    });
}

/// M3
#[test]
fn a_canary_that_cannot_be_loaded_leaves_all_envelopes_with_the_active_version() {
    block_on(async {
        let shop = Shop::open().await;
        let old = shop.program("word-count", None).await.digest();
        let new = shop
            .deploy_canary("texts", &other_version("0x6b6b"), "1%")
            .await;
        shop.shelf.put(new, Bytes::from_static(b"other bytes"));
        shop.deploy_canary("texts", &other_version("0x6a6a"), "100%")
            .await;
        shop.shelf
            .alter(|canary| canary.sealed.manifest = Bytes::from_static(b"\xc1"));
        shop.catalog.refresh().await.expect("refreshed");
        assert_eq!(shop.modules(&[EnvelopeId::new()]).await, [old]);
    });
}

/// M3: one that somebody has replaced was replaced for a reason.
#[test]
fn a_canary_that_is_replaced_by_one_that_cannot_be_loaded_has_no_share() {
    block_on(async {
        let shop = Shop::open().await;
        let old = shop.program("word-count", None).await.digest();
        shop.deploy_canary("texts", &other_version("0x6b6b"), "100%")
            .await;
        let next = other_version("0x6a6a");
        shop.shelf.hold(Digest::of(&next));
        let manifest = shop.manifest("texts", &next).await;
        shop.shelf.add(&Activation {
            canary: Some("100%".parse().expect("a share")),
            ..Activation::new(next, manifest, None)
        });
        shop.refusal("not-deployed", None).await;
        assert_eq!(shop.modules(&[EnvelopeId::new()]).await, [old]);
    });
}
