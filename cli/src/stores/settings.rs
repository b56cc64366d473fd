//! What connections to servers are made with: files of certificates and keys, and what is put up with.

use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_redis::Tls;

use crate::errors::Failure;
use crate::guarded_file::{Guard, PRIVATE, PUBLIC};

/// How servers are reached; the same for every server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// The authority that signed the servers' certificates.
    pub authority: Option<PathBuf>,
    /// The certificate and the key that we show.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate of a server will do.
    pub allows_insecure: bool,
    /// Whether a server that drops keys when it is full is used all the same.
    pub allows_eviction: bool,
}

/// What a file holds.
struct Kind {
    what: &'static str,
    /// What stands in the line before it.
    begins: &'static str,
    guard: Guard,
}

const CERTIFICATE: Kind = Kind {
    what: "certificate",
    begins: "-----BEGIN CERTIFICATE-----",
    guard: PUBLIC,
};
const KEY: Kind = Kind {
    what: "key",
    begins: "PRIVATE KEY-----",
    guard: PRIVATE,
};

impl ServerSettings {
    /// A certificate is nothing without its key.
    pub fn pair(
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Option<(PathBuf, PathBuf)>> {
        let missing = match (certificate, key) {
            (Some(certificate), Some(key)) => return Ok(Some((certificate, key))),
            (None, None) => return Ok(None),
            (Some(_), None) => {
                "there is a certificate (STEM_TLS_CLIENT_CERT) without its key: STEM_TLS_CLIENT_KEY names it"
            }
            (None, Some(_)) => {
                "there is a key (STEM_TLS_CLIENT_KEY) without its certificate: STEM_TLS_CLIENT_CERT names it"
            }
        };
        Err(Failure::usage("read the TLS settings", missing).into())
    }

    /// Whether anything is said about TLS.
    pub fn is_about_tls(&self) -> bool {
        self.authority.is_some() || self.client.is_some() || self.allows_insecure
    }

    /// Reads the files.
    pub fn tls(&self) -> Result<Tls> {
        let authority = self.authority.as_deref();
        let authority = authority.map(|path| CERTIFICATE.read(path)).transpose()?;
        let client = match &self.client {
            Some((certificate, key)) => Some((CERTIFICATE.read(certificate)?, KEY.read(key)?)),
            None => None,
        };
        Ok(Tls {
            ca_certificate: authority,
            client,
            allows_insecure: self.allows_insecure,
        })
    }

    /// The same for the environment of another process of ours.
    pub fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let (certificate, key) = self.client.clone().unzip();
        let truth = |is_so: bool| is_so.then(|| PathBuf::from("true"));
        let all = [
            ("STEM_TLS_CA_CERT", self.authority.clone()),
            ("STEM_TLS_CLIENT_CERT", certificate),
            ("STEM_TLS_CLIENT_KEY", key),
            ("STEM_TLS_ALLOW_INSECURE", truth(self.allows_insecure)),
            ("STEM_ALLOW_EVICTION", truth(self.allows_eviction)),
        ];
        let given = |(name, value): (_, Option<PathBuf>)| Some((name, value?));
        all.into_iter().filter_map(given).collect()
    }
}

impl Kind {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let attempted = format!("read the TLS {} in {}", self.what, path.display());
        let text = self.guard.read(path, &attempted)?;
        match text.contains(self.begins) {
            true => Ok(text.into_bytes()),
            false => {
                let problem = format!("there is no {} in PEM in it", self.what);
                Err(Failure::usage(attempted, problem).into())
            }
        }
    }
}
