//! Where a module may send requests: a scheme, a host and a port, as an operator grants them (S6).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes that a host's name can have.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the open.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it stands in an origin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Name(String),
    /// Every name that ends with a dot and this one.
    Below(String),
    Address(IpAddr),
}

/// One or, with `*.` before its host's name, many places that requests may go to.
///
/// `https://api.example.com`, `http://10.0.0.5:8080`, `https://[2001:db8::1]`, `https://*.example.com`; `api.example.com`
/// is `https://api.example.com`. What `*.` stands for is one label or more, never none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// A text that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no origin such as https://api.example.com: {problem}")]
pub struct OriginError {
    text: String,
    problem: &'static str,
}

impl Origin {
    /// Whether a request to this place is meant; a host that is an IPv6 address stands in brackets, as in a URL.
    pub fn covers(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.port == port && self.host.covers(host)
    }

    /// Whether many hosts are meant.
    pub fn is_pattern(&self) -> bool {
        matches!(self.host, Host::Below(_))
    }
}

impl Host {
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Address(address) => literal(host) == Some(*address),
            Self::Below(name) => {
                let above = host.len().checked_sub(name.len());
                above.is_some_and(|above| {
                    let (labels, rest) = host.as_bytes().split_at(above);
                    rest.eq_ignore_ascii_case(name.as_bytes())
                        && labels.len() > 1
                        && labels.ends_with(b".")
                        && !labels.starts_with(b".")
                })
            }
        }
    }
}

/// The address that a URL's host is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => {
            let inner: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
            Some(inner.into())
        }
        None => Some(host.parse::<Ipv4Addr>().ok()?.into()),
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        read(text).map_err(|problem| OriginError {
            text: text.chars().take(80).flat_map(char::escape_debug).collect(),
            problem,
        })
    }
}

fn read(text: &str) -> Result<Origin, &'static str> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        Some(_) => return Err("its scheme is neither http nor https"),
        None => (Scheme::Https, text),
    };
    if rest.contains(['/', '?', '#']) {
        return Err("it has a path; a grant is for all paths, so leave it and its slash away");
    }
    if rest.contains('@') {
        return Err("it has a user in it; a secret belongs into [grants.http-headers]");
    }
    let (host, port) = split_port(rest)?;
    let port = match port {
        None => scheme.default_port(),
        Some(digits) => read_port(digits)?,
    };
    let host = read_host(host)?;
    Ok(Origin { scheme, host, port })
}

fn split_port(rest: &str) -> Result<(&str, Option<&str>), &'static str> {
    if !rest.starts_with('[') {
        let split = rest.split_once(':');
        return Ok(split.map_or((rest, None), |(host, port)| (host, Some(port))));
    }
    let end = rest.find(']').ok_or("its bracket is not closed")? + 1;
    let (host, after) = rest.split_at(end);
    match (after.strip_prefix(':'), after) {
        (Some(port), _) => Ok((host, Some(port))),
        (None, "") => Ok((host, None)),
        (None, _) => Err("something other than a port follows its bracket"),
    }
}

fn read_port(digits: &str) -> Result<u16, &'static str> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(port) if is_number && port > 0 => Ok(port),
        _ => Err("its port is none of 1 to 65535; an IPv6 address stands in brackets"),
    }
}

fn read_host(host: &str) -> Result<Host, &'static str> {
    if let Some(address) = literal(host) {
        return Ok(Host::Address(address));
    }
    if host.starts_with('[') {
        return Err("what stands in its brackets is no IPv6 address");
    }
    let name = host.strip_prefix("*.");
    if name.unwrap_or(host).contains('*') {
        return Err("a * stands only at its beginning, with a dot behind it: *.example.com");
    }
    if name.is_some_and(|name| !name.contains('.')) {
        return Err("*. stands before a name of two labels or more: *.example.com");
    }
    match name {
        Some(name) => Ok(Host::Below(read_name(name)?)),
        None => Ok(Host::Name(read_name(host)?)),
    }
}

fn read_name(name: &str) -> Result<String, &'static str> {
    if !name.is_ascii() {
        return Err("its host is not ASCII: write it as DNS has it (xn--…)");
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        return Err("its host is no name of DNS and no address");
    }
    // Resolvers read these as addresses, in forms that look like none.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(last) || last.starts_with("0x") || last.starts_with("0X") {
        return Err("its host ends with a number: write an address in its usual form");
    }
    Ok(name.to_ascii_lowercase())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port == self.scheme.default_port() {
            true => Ok(()),
            false => write!(f, ":{}", self.port),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
