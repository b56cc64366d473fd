//! A private Redis server that speaks TLS alone, and an authority of the test's own that has signed for both sides.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::redis_server::Server;

/// An authority that nobody else knows.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // What has the name of its signer counts as signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("it is signed"))
    }
}

impl Authority {
    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this machine and its key, in PEM.
    pub fn sign(&self) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("good names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("it is signed");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server that lets in whoever shows a certificate of the authority.
pub struct SecureServer {
    server: Server,
    files: TempDir,
}

impl Default for SecureServer {
    fn default() -> Self {
        let files = TempDir::new().expect("a folder for certificates");
        let authority = Authority::default();
        let write = |name: &str, text: &str| write(files.path(), name, text);
        let ca = write("ca.pem", &authority.certificate());
        let [(certificate, key), _] = ["server", "client"].map(|side| {
            let (certificate, key) = authority.sign();
            let certificate = write(&format!("{side}.pem"), &certificate);
            (certificate, write(&format!("{side}.key"), &key))
        });
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
        Self { server, files }
    }
}

impl SecureServer {
    /// The server itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its first database.
    pub fn url(&self) -> String {
        self.server.url().replace("redis:", "rediss:")
    }

    /// A file in PEM: `ca.pem`, `client.pem` or `client.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// What is in it.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("it was written")
    }
}

/// Writes a file that nobody else may read, as a user keeps a key.
fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path).expect("a new file");
    file.write_all(text.as_bytes()).expect("it is written");
    path.display().to_string()
}
