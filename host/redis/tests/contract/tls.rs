//! TLS to the server, with a certificate of each side and an authority of the test's own (X5).

use stem_core::store_error::StoreErrorKind;
use stem_redis::{Options, Store, Tls};
use stem_testkit::builders::publication;
use stem_testkit::process::Process;
use stem_testkit::secure_server::{Authority, SecureServer};

use crate::server::Usable as _;
use crate::settings::refusal;

fn options(secured: &SecureServer) -> Options {
    let mut options = secured.server().options();
    options.url.0 = secured.url();
    options.tls = Tls {
        ca_certificate: Some(secured.bytes("ca.pem")),
        client: Some((secured.bytes("client.pem"), secured.bytes("client.key"))),
        allows_insecure: false,
    };
    options
}

/// X5: every connection, also the one that listens.
#[tokio::test]
async fn both_sides_show_a_certificate() {
    let secured = SecureServer::default();
    let store = Store::open(options(&secured)).await.expect("it connects");
    let here = Process::named("here", store.stores());
    let mut wakeups = here.work().await;
    let id = here.add(&publication()).await;
    let delivery = here.next_delivery(&mut *wakeups).await;
    assert_eq!(delivery.receipt.id, id);
}

/// X5: it says where, with which options, and what to look at.
#[tokio::test]
async fn a_handshake_that_fails_says_why() {
    let secured = SecureServer::default();
    let mut stranger = options(&secured);
    stranger.tls.ca_certificate = Some(Authority::default().certificate().into());
    let mut unknown = options(&secured);
    unknown.tls.client = None;
    for options in [stranger, unknown] {
        let said = options.tls.to_string();
        let (kind, message) = refusal(options).await;
        assert_eq!(kind, StoreErrorKind::Unavailable);
        assert!(
            message.contains("127.0.0.1") && message.contains(&said),
            "{message}"
        );
    }
}
