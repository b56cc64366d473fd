//! What a deployment gives its module beyond computing: a module asks for it by importing an interface, and its operator
//! grants it, by name (S2).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::key_value::Quota;
use crate::names::{BucketName, TaskName};
use crate::origin::Origin;
use crate::secrets::SecretName;
use crate::sent_header::{SentName, Template};
use crate::task_glob::TaskGlob;

/// Something that a module has only where its operator grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Requests to other machines.
    #[serde(rename = "wasi:http")]
    Http,
    /// Values and secrets.
    #[serde(rename = "wasi:config")]
    Config,
    /// Buckets of the result store.
    #[serde(rename = "wasi:keyvalue")]
    KeyValue,
    /// Further envelopes.
    #[serde(rename = "stem:task/enqueue")]
    Enqueue,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http, Self::Config, Self::KeyValue, Self::Enqueue];

    /// What stands before the version in the names of its imports, and after `--stub`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "wasi:http",
            Self::Config => "wasi:config",
            Self::KeyValue => "wasi:keyvalue",
            Self::Enqueue => "stem:task/enqueue",
        }
    }

    /// The flag, and the line under `[grants]` of `stem.toml`, that would grant it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Http => "`--allow-http HOST`, or `http = [\"https://HOST\"]`",
            Self::Config => {
                "`--value KEY=VALUE` or `--secret NAME`, or `config = { KEY = \"VALUE\" }`"
            }
            Self::KeyValue => "`--allow-bucket NAME`, or `buckets = [\"NAME\"]`",
            Self::Enqueue => "`--allow-enqueue TASK`, or `enqueue = [\"TASK\"]`",
        }
    }
}

impl FromStr for Capability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            format!("`{name}` is nothing that is granted: it is one of {names}")
        })
    }
}

/// What a deployment gives its module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Grants {
    /// Where it may send requests: `https://api.example.com`, `http://10.0.0.5:8080`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<Origin>,
    /// The same for services whose names lead to private addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_private: Vec<Origin>,
    /// Headers that the host adds to requests, by their origin: `${secret:NAME}` stands for a secret's value, which
    /// the module cannot read unless `secrets` has it too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: BTreeMap<Origin, BTreeMap<SentName, Template>>,
    /// Tasks that it may enqueue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enqueue: Vec<TaskGlob>,
    /// Buckets that it may read and write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketName>,
    /// How much each of them may hold.
    #[serde(skip_serializing_if = "is_default")]
    pub bucket_quota: Quota,
    /// Values that it may read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Secrets that it may read; only their names are here.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// Its environment variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Whether its clocks and its random numbers are the same in every attempt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deterministic: bool,
    /// What it may import and never use: every call is refused.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stubs: BTreeSet<Capability>,
}

/// Grants that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantsError {
    /// Headers for where no request may go.
    #[error("`http-headers` has headers for `{0}`, which is not granted: add \"{0}\" to `http`")]
    Headers(Origin),
}

impl Grants {
    /// The names that `[grants]` of `stem.toml` has for them.
    pub const KEYS: [&str; 11] = [
        "http",
        "http-private",
        "http-headers",
        "enqueue",
        "buckets",
        "bucket-quota",
        "config",
        "secrets",
        "environment",
        "deterministic",
        "stubs",
    ];

    /// Adds what flags say: it goes before what is there.
    pub fn add(&mut self, flags: Self) {
        self.http.extend(flags.http);
        self.http_private.extend(flags.http_private);
        self.http_headers.extend(flags.http_headers);
        self.enqueue.extend(flags.enqueue);
        self.buckets.extend(flags.buckets);
        self.config.extend(flags.config);
        self.secrets.extend(flags.secrets);
        self.environment.extend(flags.environment);
        self.deterministic |= flags.deterministic;
        self.stubs.extend(flags.stubs);
    }

    /// Checks what only the whole can say: headers are for origins that are granted.
    pub fn check(&self) -> Result<(), GrantsError> {
        let is_granted =
            |origin: &&Origin| self.http.contains(origin) || self.http_private.contains(origin);
        match self.http_headers.keys().find(|origin| !is_granted(origin)) {
            None => Ok(()),
            Some(origin) => Err(GrantsError::Headers(origin.clone())),
        }
    }

    /// Every secret that an attempt needs: those that it may read, and those that stand in its headers.
    pub fn needed_secrets(&self) -> BTreeSet<&SecretName> {
        let templates = self.http_headers.values().flat_map(BTreeMap::values);
        let sent = templates.flat_map(Template::secrets);
        self.secrets.iter().chain(sent).collect()
    }

    /// Whether a module that needs this may be deployed.
    pub fn allows(&self, capability: Capability) -> bool {
        self.has(capability) || self.stubs.contains(&capability)
    }

    /// Whether a module may enqueue this task.
    pub fn allow_enqueueing(&self, task: &TaskName) -> bool {
        let is_stub = self.stubs.contains(&Capability::Enqueue);
        !is_stub && self.enqueue.iter().any(|glob| glob.matches(task))
    }

    /// The bucket of this name, if a module may use it.
    pub fn bucket(&self, name: &str) -> Option<&BucketName> {
        let is_stub = self.stubs.contains(&Capability::KeyValue);
        let mut buckets = self.buckets.iter().filter(|_| !is_stub);
        buckets.find(|bucket| bucket.as_str() == name)
    }

    /// Whether a module can do anything with this.
    pub fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Http => !self.http.is_empty() || !self.http_private.is_empty(),
            Capability::Config => !self.config.is_empty() || !self.secrets.is_empty(),
            Capability::KeyValue => !self.buckets.is_empty(),
            Capability::Enqueue => !self.enqueue.is_empty(),
        }
    }
}

fn is_default(quota: &Quota) -> bool {
    *quota == Quota::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str =
        r#"{"https://a.example": {"authorization": "Bearer ${secret:CRM_TOKEN}"}}"#;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    fn full() -> Grants {
        let pair = |key: &str| BTreeMap::from([(key.to_owned(), "v".to_owned())]);
        Grants {
            http: vec![origin("https://a.example")],
            http_private: vec![origin("http://crm.internal:8080")],
            http_headers: serde_json::from_str(HEADERS).expect("headers"),
            enqueue: vec!["mail.*".parse().expect("a pattern")],
            buckets: vec![BucketName::new("cache").expect("a name")],
            bucket_quota: Quota {
                keys: 10,
                ..Quota::default()
            },
            config: pair("region"),
            secrets: [SecretName::new("TOKEN").expect("a name")].into(),
            environment: pair("MODE"),
            deterministic: true,
            stubs: [Capability::Http].into(),
        }
    }

    /// M4: every grant has a name in the policy.
    #[test]
    fn every_grant_is_written_under_its_key_and_read_back() {
        let written = serde_json::to_value(full()).expect("written");
        let keys: BTreeSet<&str> = written
            .as_object()
            .expect("a map")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, BTreeSet::from(Grants::KEYS));
        let read: Grants = serde_json::from_value(written).expect("read");
        assert_eq!(read, full());
    }

    /// S2: a stub goes before what is listed.
    #[test]
    fn a_bucket_may_be_used_where_it_is_named_and_nothing_stubs_it() {
        let mut grants = full();
        assert!(grants.bucket("cache").is_some());
        assert_eq!(grants.bucket("cach"), None);
        grants.stubs.insert(Capability::KeyValue);
        assert_eq!(grants.bucket("cache"), None);
    }

    /// M4
    #[test]
    fn flags_are_added_to_the_file_and_go_before_it() {
        let mut grants = full();
        grants.add(Grants {
            http: vec![origin("https://b.example")],
            config: BTreeMap::from([("region".to_owned(), "us".to_owned())]),
            ..Grants::default()
        });
        assert_eq!(
            grants.http,
            ["https://a.example", "https://b.example"].map(origin)
        );
        assert_eq!(grants.config["region"], "us");
        assert!(grants.deterministic);
    }
    /// S2: a stub goes before what is listed.
    #[test]
    fn a_task_may_be_enqueued_where_a_pattern_means_it_and_nothing_stubs_it() {
        let mut grants = full();
        let task = |name: &str| TaskName::new(name).expect("a name");
        assert!(grants.allow_enqueueing(&task("mail.send")));
        assert!(!grants.allow_enqueueing(&task("email.send")));
        assert!(!Grants::default().allow_enqueueing(&task("mail.send")));
        grants.stubs.insert(Capability::Enqueue);
        assert!(!grants.allow_enqueueing(&task("mail.send")));
    }

    /// S6: a secret that stands in a header is no secret that the module may read.
    #[test]
    fn headers_are_for_granted_origins_and_their_secrets_for_the_host_alone() {
        assert_eq!(full().check(), Ok(()));
        let mut grants = full();
        grants.http.clear();
        grants.secrets.clear();
        let refused = grants.check().expect_err("no such origin").to_string();
        assert!(
            refused.contains("`https://a.example`, which is not granted"),
            "{refused}"
        );
        let needed = grants.needed_secrets();
        assert!(needed.iter().all(|name| name.as_str() == "CRM_TOKEN"));
        assert!(!grants.has(Capability::Config) || !grants.config.is_empty());
    }
}
