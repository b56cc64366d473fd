//! TLS to the server, with a certificate of each side and an authority of the test's own (X5).

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use stem_core::store_error::StoreErrorKind;
use stem_redis::{Options, Store, Tls};
use stem_testkit::builders::publication;
use stem_testkit::process::Process;
use tempfile::TempDir;

use crate::server::{Server, Usable as _};
use crate::settings::refusal;

/// An authority, and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // What has the name of its signer counts as signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("it is signed"))
    }

    /// A certificate for this machine and its key, in PEM.
    fn sign(&self) -> (Vec<u8>, Vec<u8>) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("good names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("it is signed");
        (certificate.pem().into(), key.serialize_pem().into())
    }
}

/// A server that lets in whoever shows a certificate of the authority.
struct Secured {
    server: Server,
    authority: Authority,
    _files: TempDir,
}

impl Secured {
    fn start() -> Self {
        let (authority, files) = (Authority::new(), TempDir::new().expect("a folder"));
        let (certificate, key) = authority.sign();
        let write = |name: &str, bytes: &[u8]| {
            let path = files.path().join(name);
            fs::write(&path, bytes).expect("it is written");
            path.display().to_string()
        };
        let ca = write("ca.pem", authority.0.pem().as_bytes());
        let (certificate, key) = (write("server.pem", &certificate), write("server.key", &key));
        let server = Server::start(&[
            "--port",
            "0",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
        ]);
        Self {
            server,
            authority,
            _files: files,
        }
    }

    fn options(&self) -> Options {
        let mut options = self.server.options();
        options.url.0 = self.server.url().replace("redis:", "rediss:");
        options.tls = Tls {
            ca_certificate: Some(self.authority.0.pem().into()),
            client: Some(self.authority.sign()),
            allows_insecure: false,
        };
        options
    }
}

/// X5: every connection, also the one that listens.
#[tokio::test]
async fn both_sides_show_a_certificate() {
    let secured = Secured::start();
    let store = Store::open(secured.options()).await.expect("it connects");
    let here = Process::named("here", store.stores());
    let mut wakeups = here.work().await;
    let id = here.add(&publication()).await;
    let delivery = here.next_delivery(&mut *wakeups).await;
    assert_eq!(delivery.receipt.id, id);
}

/// X5: it says where, with which options, and what to look at.
#[tokio::test]
async fn a_handshake_that_fails_says_why() {
    let secured = Secured::start();
    let mut stranger = secured.options();
    stranger.tls.ca_certificate = Some(Authority::new().0.pem().into());
    let mut unknown = secured.options();
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
