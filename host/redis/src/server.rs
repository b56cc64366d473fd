//! What the server says of itself, and whether envelopes are safe with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use stem_core::store_error::StoreErrorKind;
use stem_core::units::ByteSize;

use crate::link::Link;
use crate::options::Options;
use crate::problem::{Problem, REPLICA, Stepped};
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
    let version = report.text("redis_version");
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u64| major < OLDEST) {
        let message = format!("the server has version {version}: {OLDEST}.0 or later is needed");
        return Err(Problem::new(StoreErrorKind::NotPermitted, message));
    }
    if report.text("role") == "slave" {
        let problem = Problem::new(StoreErrorKind::NotPermitted, "the server is a replica");
        return Err(problem.advised(REPLICA));
    }
    if report.evicts() {
        check_eviction(&report, options)?;
    }
    if options.warns {
        warn(&report, &settings, options);
    }
    Ok(())
}

/// Says where this server may lose what it keeps.
fn warn(report: &Report, settings: &Settings, options: &Options) {
    let server = options.url.to_string();
    if !report.is_persistent(settings) {
        tracing::warn!(%server, "nothing outlives this server: set `appendonly yes`");
    }
    let (replicas, wanted) = (report.replicas(), u64::from(options.wait_replicas));
    if replicas < wanted {
        tracing::warn!(%server, replicas, wanted, "nothing counts as kept until it has more replicas");
    }
}

/// Whether a server evicts that did not when it was opened: said whenever that changes.
#[derive(Default)]
pub(crate) struct EvictionWatch(AtomicBool);

impl EvictionWatch {
    pub(crate) async fn look(&self, link: &Link, options: &Options) -> Stepped<()> {
        if options.allows_eviction {
            return Ok(());
        }
        let report = Report::of(link, &["memory"]).await?;
        let (policy, server) = (report.text("maxmemory_policy"), options.url.to_string());
        match self.news(report.evicts()) {
            Some(true) => {
                tracing::error!(%server, policy, "its maxmemory-policy was changed: it drops envelopes when its memory is full");
            }
            Some(false) => tracing::info!(%server, policy, "it drops no envelopes any more"),
            None => {}
        }
        Ok(())
    }

    /// Whether it evicts, where that has changed.
    fn news(&self, evicts: bool) -> Option<bool> {
        let did_evict = self.0.swap(evicts, Ordering::Relaxed);
        (did_evict != evicts).then_some(evicts)
    }
}

fn check_eviction(report: &Report, options: &Options) -> Stepped<()> {
    let (policy, server) = (report.text("maxmemory_policy"), options.url.to_string());
    if options.allows_eviction {
        tracing::warn!(%server, policy, "this server drops envelopes when its memory is full");
        return Ok(());
    }
    let message = format!(
        "its maxmemory-policy is {policy}, so that it would drop envelopes when its memory is full"
    );
    let advice = "set it to noeviction, or allow eviction (--allow-eviction)";
    Err(Problem::new(StoreErrorKind::NotPermitted, message).advised(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(facts: &[(&str, &str)]) -> HashMap<String, String> {
        let facts = facts.iter();
        facts
            .map(|(name, fact)| ((*name).to_owned(), (*fact).to_owned()))
            .collect()
    }

    const SYNCED: [(&str, &str); 4] = [
        ("everysec", "may lose its last 2 s"),
        ("always", "survives any kill of the server"),
        ("no", "what the operating system has not written yet"),
        ("", "which may not be asked for"),
    ];

    /// B1: a figure is said only where it is one.
    #[test]
    fn durability_is_said_as_far_as_it_is_known() {
        let report = Report(facts(&[("aof_enabled", "1")]));
        for (fsync, said) in SYNCED {
            let known = [("appendfsync", fsync)];
            let known = if fsync.is_empty() { &[][..] } else { &known };
            let durability = report.durability(&Settings(facts(known)));
            assert!(durability.contains(said), "{durability}");
            assert_eq!(durability.contains("2 s"), fsync == "everysec", "{fsync}");
        }
    }

    /// B9: a running worker says that the policy was changed, and says it once.
    #[test]
    fn a_change_of_the_eviction_policy_is_news_once() {
        let watch = EvictionWatch::default();
        let news = [false, true, true, false, false].map(|evicts| watch.news(evicts));
        assert_eq!(news, [None, Some(true), None, Some(false), None]);
    }
}
