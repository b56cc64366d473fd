//! What the server says of itself, and whether envelopes are safe with it.

use std::collections::HashMap;

use stem_core::store_error::StoreErrorKind;
use stem_core::units::ByteSize;

use crate::link::Link;
use crate::options::Options;
use crate::problem::{Problem, Stepped};
use crate::reply;

/// The oldest major version that has all that the scripts use.
const OLDEST: u64 = 7;

/// What `INFO` says.
pub(crate) struct Report(HashMap<String, String>);

impl Report {
    /// Asks for some sections.
    pub(crate) async fn of(link: &Link, sections: &[&str]) -> Stepped<Self> {
        let mut command = redis::cmd("INFO");
        command.arg(sections);
        let text = reply::text(link.run(&command).await?)?;
        let facts = text.lines().filter_map(|line| line.split_once(':'));
        let facts = facts.map(|(name, fact)| (name.to_owned(), fact.to_owned()));
        Ok(Self(facts.collect()))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    pub(crate) fn used(&self) -> ByteSize {
        ByteSize(self.number("used_memory"))
    }

    /// How much memory it may use, if that is limited.
    pub(crate) fn most(&self) -> Option<ByteSize> {
        Some(ByteSize(self.number("maxmemory"))).filter(|most| most.0 > 0)
    }

    /// How many servers copy what this one does.
    pub(crate) fn replicas(&self) -> u64 {
        self.number("connected_slaves")
    }

    pub(crate) fn evicts(&self) -> bool {
        !matches!(self.text("maxmemory_policy"), "" | "noeviction")
    }

    /// What a commit survives (B1).
    pub(crate) fn durability(&self, settings: &Settings) -> String {
        let fsync = settings.get("appendfsync");
        match (self.text("aof_enabled"), fsync) {
            ("1", Some("always")) => {
                "survives any kill of the server (appendonly, appendfsync always)".to_owned()
            }
            ("1", Some("everysec")) => {
                "survives any kill of our processes; may lose its last 2 s when the server dies (appendonly, \
                 appendfsync everysec)"
                    .to_owned()
            }
            ("1", Some(fsync)) => format!(
                "survives any kill of our processes; loses what the operating system has not written yet when the \
                 machine dies (appendonly, appendfsync {fsync})"
            ),
            ("1", None) => {
                "survives any kill of our processes; what it loses when the machine dies is up to its appendfsync, \
                 which may not be asked for (appendonly)"
                    .to_owned()
            }
            _ if settings.get("save").is_some_and(|save| !save.is_empty()) => {
                "loses what came after its last snapshot when the server dies (appendonly is off)"
                    .to_owned()
            }
            _ => "none: everything goes when the server dies (appendonly and save are off)"
                .to_owned(),
        }
    }

    fn is_persistent(&self, settings: &Settings) -> bool {
        // Where nobody may ask for `save`, only the other one is known.
        self.text("aof_enabled") == "1" || settings.get("save").is_none_or(|save| !save.is_empty())
    }
}

/// What `CONFIG GET` says, where we may ask.
pub(crate) struct Settings(HashMap<String, String>);

impl Settings {
    pub(crate) async fn of(link: &Link) -> Stepped<Self> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(&["appendfsync", "save"]);
        let pairs = match link.run(&command).await {
            Ok(redis::Value::Map(pairs)) => pairs,
            Ok(value) => return Self::read(value),
            Err(problem) if problem.kind == StoreErrorKind::Unavailable => return Err(problem),
            // Managed servers do not let everybody ask.
            Err(_) => return Ok(Self(HashMap::new())),
        };
        let text = |(name, value)| Ok((reply::text(name)?, reply::text(value)?));
        Ok(Self(pairs.into_iter().map(text).collect::<Stepped<_>>()?))
    }

    fn read(value: redis::Value) -> Stepped<Self> {
        let pairs = reply::pairs(value)?.into_iter();
        let text = |bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self(
            pairs
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        ))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Refuses a server that cannot keep envelopes, and says where one may lose them.
pub(crate) async fn check(link: &Link, options: &Options) -> Stepped<()> {
    let sections = ["server", "memory", "persistence", "replication"];
    let report = Report::of(link, &sections).await?;
    let settings = Settings::of(link).await?;
    let (version, server) = (report.text("redis_version"), options.url.to_string());
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u64| major < OLDEST) {
        let message = format!("the server has version {version}: {OLDEST}.0 or later is needed");
        return Err(Problem::new(StoreErrorKind::NotPermitted, message));
    }
    if report.evicts() {
        check_eviction(&report, options)?;
    }
    if !report.is_persistent(&settings) {
        tracing::warn!(%server, "nothing outlives this server: set `appendonly yes`");
    }
    let (replicas, wanted) = (report.replicas(), u64::from(options.wait_replicas));
    if replicas < wanted {
        tracing::warn!(%server, replicas, wanted, "nothing counts as kept until it has more replicas");
    }
    Ok(())
}

fn check_eviction(report: &Report, options: &Options) -> Stepped<()> {
    let (policy, server) = (report.text("maxmemory_policy"), options.url.to_string());
    if options.allows_eviction {
        tracing::warn!(%server, policy, "this server drops envelopes when its memory is full");
        return Ok(());
    }
    let message = format!(
        "its maxmemory-policy is {policy}, so that it would drop envelopes when its memory is full: set it to \
         noeviction, or allow eviction (--allow-eviction)"
    );
    Err(Problem::new(StoreErrorKind::NotPermitted, message))
}
