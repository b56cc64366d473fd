//! Where each setting comes from: flags win over the environment, the environment over `stem-host.toml`.
//!
//! An unknown key or a bad value stops the start: a setting that is silently ignored sends work to the wrong store.

mod environment;
mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use stem_core::names::{KeyId, Namespace, QueueName};
use stem_core::payload::DEFAULT_PAYLOAD_LIMIT;
use stem_core::units::ByteSize;

use crate::errors::Failure;
use crate::keys::{PRIVATE_KEYS, SigningSettings};
use crate::sandbox::CacheOptions;
use crate::secrets::SecretSettings;
use crate::stores::{ServerSettings, StoreUrl};
use file::{file_path, read_file};

pub use environment::Environment;

/// The file that is read from the current directory.
pub const FILE_NAME: &str = "stem-host.toml";
const PREFIX: &str = "STEM_";
const KEYS: [&str; 19] = [
    "broker-url",
    "result-backend-url",
    "namespace",
    "default-queue",
    "payload-limit",
    "log-level",
    "cache-dir",
    "cache-size",
    "secrets-dir",
    "signing-public-keys",
    "signing-public-keys-file",
    "signing-private-keys-file",
    "signing-active-key",
    "require-signed-modules",
    "tls-ca-cert",
    "tls-client-cert",
    "tls-client-key",
    "tls-allow-insecure",
    "allow-eviction",
];
/// In place of a folder: no compiled code is kept.
pub const NO_CACHE: &str = "none";
const DEFAULT_CACHE_SIZE: ByteSize = ByteSize::mib(1 << 10);
/// Variables that are no settings of the file.
const OTHER_VARIABLES: [&str; 2] = ["STEM_CONFIG", PRIVATE_KEYS];
/// What connections to servers are called where no command says more.
const CONNECTION_NAME: &str = "stem";

/// Settings given as flags; they hold for every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Where queues, modules and dead letters are: sqlite:PATH, redis://USER:PASSWORD@HOST:PORT/DATABASE (HOST alone will
    /// do; HOST,HOST is a cluster), redis-sentinel://HOST,HOST/MASTER, both with TLS as rediss…, or memory:
    #[arg(long, value_name = "URL", global = true, help_heading = "Stores")]
    pub broker_url: Option<String>,
    /// Where results are, if not where the broker is
    #[arg(long, value_name = "URL", global = true, help_heading = "Stores")]
    pub result_backend_url: Option<String>,
    /// Separates systems that share a store
    #[arg(long, value_name = "NAME", global = true, help_heading = "Stores")]
    pub namespace: Option<String>,
    /// The configuration file [default: stem-host.toml in this directory, if it is there]
    #[arg(long, value_name = "PATH", global = true, help_heading = "Stores")]
    pub config: Option<PathBuf>,
    /// Where compiled modules are kept, or none [default: stem in the user's cache directory]
    #[arg(long, value_name = "PATH", global = true, help_heading = "Stores")]
    pub cache_dir: Option<String>,
    /// Where workers find secrets that are not in STEM_SECRET_NAME: a file for each, named NAME
    #[arg(long, value_name = "PATH", global = true, help_heading = "Stores")]
    pub secrets_dir: Option<String>,
    /// The authority that signed the certificates of rediss:// servers [default: those that this machine trusts]
    #[arg(long, value_name = "PATH", global = true, help_heading = "Servers")]
    pub tls_ca_cert: Option<String>,
    /// The certificate that servers are shown
    #[arg(long, value_name = "PATH", global = true, help_heading = "Servers")]
    pub tls_client_cert: Option<String>,
    /// The key of that certificate; nobody but its owner may read it
    #[arg(long, value_name = "PATH", global = true, help_heading = "Servers")]
    pub tls_client_key: Option<String>,
    /// Take any certificate of a server: for tests alone
    #[arg(long, global = true, help_heading = "Servers")]
    pub tls_allow_insecure: bool,
    /// Use a server although it drops envelopes when its memory is full
    #[arg(long, global = true, help_heading = "Servers")]
    pub allow_eviction: bool,
    /// What is logged: error, warn, info, debug, trace, or a filter such as stem_worker=debug
    #[arg(long, value_name = "FILTER", global = true)]
    pub log_level: Option<String>,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where queues, modules and dead letters are.
    pub broker: StoreUrl,
    /// Where results are.
    pub results: StoreUrl,
    /// Separates systems that share a store.
    pub namespace: Namespace,
    /// Where envelopes go whose task names no queue.
    pub default_queue: QueueName,
    /// The largest payload that is taken (E3).
    pub payload_limit: ByteSize,
    /// Where compiled modules are kept, if anywhere (S5).
    pub cache: Option<CacheOptions>,
    /// Where the values of secrets are (M4).
    pub secrets: SecretSettings,
    /// Where signing keys are (X4).
    pub signing: SigningSettings,
    /// How servers are reached.
    pub servers: ServerSettings,
    /// What connections to servers are called, so that who looks there sees whose they are.
    pub connection_name: String,
    /// Whether it is logged what servers may lose: by those who stay.
    pub warns: bool,
    /// What is logged, if anything was said about it.
    pub log_level: Option<String>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
}

/// A value and who gave it.
struct Given {
    value: String,
    by: String,
    /// The folder of the file that it stands in.
    folder: Option<PathBuf>,
}

/// The name that the environment uses for a key of the file.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}

impl Config {
    /// Both stores at one place, and everything else by default.
    pub fn at(url: StoreUrl, namespace: Namespace, default_queue: QueueName) -> Self {
        Self {
            broker: url.clone(),
            results: url,
            namespace,
            default_queue,
            payload_limit: DEFAULT_PAYLOAD_LIMIT,
            cache: None,
            secrets: SecretSettings::default(),
            signing: SigningSettings::default(),
            servers: ServerSettings::default(),
            connection_name: CONNECTION_NAME.to_owned(),
            warns: false,
            log_level: None,
            file: None,
        }
    }

    /// Reads and joins all layers; a file of settings is looked for in `directory`.
    pub fn load(flags: &Flags, environment: &Environment, directory: &Path) -> Result<Self> {
        environment.check()?;
        let file = file_path(flags, environment, directory)?;
        let mut layers = Layers {
            flags,
            environment,
            file: match &file {
                Some(path) => read_file(path)?,
                None => BTreeMap::new(),
            },
            path: file.clone(),
        };
        let broker = match layers.take("broker-url") {
            Some(given) => given.store()?,
            None => environment.default_broker()?,
        };
        let results = match layers.take("result-backend-url") {
            Some(given) => given.store()?,
            None => broker.clone(),
        };
        Ok(Self {
            broker,
            results,
            namespace: layers.named("namespace", "stem", |name| Namespace::new(name))?,
            default_queue: layers.named("default-queue", "default", |name| QueueName::new(name))?,
            payload_limit: match layers.take("payload-limit") {
                Some(given) => given.parse(str::parse)?,
                None => DEFAULT_PAYLOAD_LIMIT,
            },
            cache: layers.cache()?,
            secrets: SecretSettings {
                variables: environment.secrets.read()?,
                directory: layers.take("secrets-dir").map(Given::path),
            },
            signing: layers.signing()?,
            servers: layers.servers()?,
            connection_name: CONNECTION_NAME.to_owned(),
            warns: false,
            log_level: layers.take("log-level").map(|given| given.value),
            file,
        })
    }
}

impl Flags {
    fn get(&self, key: &str) -> Option<&str> {
        let given = match key {
            "broker-url" => &self.broker_url,
            "result-backend-url" => &self.result_backend_url,
            "namespace" => &self.namespace,
            "log-level" => &self.log_level,
            "cache-dir" => &self.cache_dir,
            "secrets-dir" => &self.secrets_dir,
            "tls-ca-cert" => &self.tls_ca_cert,
            "tls-client-cert" => &self.tls_client_cert,
            "tls-client-key" => &self.tls_client_key,
            "tls-allow-insecure" => return self.tls_allow_insecure.then_some("true"),
            "allow-eviction" => return self.allow_eviction.then_some("true"),
            _ => &None,
        };
        given.as_deref()
    }
}

struct Layers<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    file: BTreeMap<String, String>,
    path: Option<PathBuf>,
}

impl Layers<'_> {
    fn take(&mut self, key: &str) -> Option<Given> {
        let variable = variable(key);
        if let Some(value) = self.flags.get(key) {
            return Some(Given::new(value, format!("--{key}")));
        }
        if let Some(value) = self.environment.get(&variable) {
            return Some(Given::new(value, variable.clone()));
        }
        let (value, path) = (self.file.remove(key)?, self.path.as_ref()?);
        Some(Given {
            folder: path.parent().map(Path::to_owned),
            ..Given::new(&value, format!("`{key}` in {}", path.display()))
        })
    }

    /// The folder that is named, or the user's own; its key lies with the user's data. Without a home there is none.
    fn cache(&mut self) -> Result<Option<CacheOptions>> {
        let size = match self.take("cache-size") {
            Some(given) => given.parse(str::parse)?,
            None => DEFAULT_CACHE_SIZE,
        };
        let folder = match self.take("cache-dir") {
            Some(given) if given.value == NO_CACHE => None,
            Some(given) => Some(given.path()),
            None => self.environment.cache_directory(),
        };
        Ok(folder.map(|folder| {
            let data = self.environment.data_directory();
            let key = data.unwrap_or_else(|| folder.clone()).join("cache.key");
            CacheOptions { folder, key, size }
        }))
    }

    /// Keys are read where they are needed: most commands need none.
    fn signing(&mut self) -> Result<SigningSettings> {
        let active = self.take("signing-active-key");
        Ok(SigningSettings {
            private: self.environment.private_keys.clone(),
            private_file: self.take("signing-private-keys-file").map(Given::path),
            public: self.take("signing-public-keys").map(|given| given.value),
            public_file: self.take("signing-public-keys-file").map(Given::path),
            active: active
                .map(|given| given.parse(|id| KeyId::new(id)))
                .transpose()?,
            is_required: self.truth("require-signed-modules")?,
        })
    }

    /// Files are read where a server is reached; that they belong together is seen at once.
    fn servers(&mut self) -> Result<ServerSettings> {
        let mut path = |key| self.take(key).map(Given::path);
        let authority = path("tls-ca-cert");
        let client = (path("tls-client-cert"), path("tls-client-key"));
        Ok(ServerSettings {
            authority,
            client: ServerSettings::pair(client.0, client.1)?,
            allows_insecure: self.truth("tls-allow-insecure")?.unwrap_or_default(),
            allows_eviction: self.truth("allow-eviction")?.unwrap_or_default(),
        })
    }

    fn truth(&mut self, key: &str) -> Result<Option<bool>> {
        let given = self.take(key);
        given.map(|given| given.parse(truth)).transpose()
    }

    fn named<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T> {
        let given = self.take(key);
        given
            .unwrap_or_else(|| Given::new(default, "the default".to_owned()))
            .parse(parse)
    }
}

/// Reads `true` or `false`.
fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(format!("`{other}` is neither true nor false")),
    }
}

impl Given {
    fn new(value: &str, by: String) -> Self {
        Self {
            value: value.to_owned(),
            by,
            folder: None,
        }
    }

    fn parse<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T> {
        parse(&self.value)
            .map_err(|problem| Failure::usage(format!("read {}", self.by), problem).into())
    }

    /// A path; one in a file is meant from that file's folder.
    fn path(self) -> PathBuf {
        self.folder.unwrap_or_default().join(self.value)
    }

    /// A store; a path in a file is meant from that file's folder.
    fn store(&self) -> Result<StoreUrl> {
        let url = self.parse(StoreUrl::parse)?;
        Ok(match &self.folder {
            Some(folder) => url.within(folder),
            None => url,
        })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
