//! How far an address reaches: which ones a granted name may lead to (S6).
//!
//! From IANA's registries of special-purpose addresses, and the addresses at which clouds tell a machine its secrets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// To the internet.
    Public,
    /// To this machine, or to a network of somebody's own.
    Private,
    /// To nothing that a name should lead to: metadata, one's own link, many machines, or nobody.
    Never,
}

impl Reach {
    /// Of this address.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // Metadata and the like: of Alibaba, of Azure.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never,
        [10 | 127, ..] | [192, 168, ..] => Reach::Private,
        [172, second, ..] if (16..32).contains(&second) => Reach::Private,
        // A carrier's own network.
        [100, second, ..] if (64..128).contains(&second) => Reach::Private,
        // "This" network; one's own link, with most clouds' metadata; protocols (Oracle's metadata), documents, 6to4.
        [0, ..] | [169, 254, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => Reach::Never,
        // Benchmarks, documents.
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never,
        // Many machines, reserved, everybody.
        [224..=255, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // IPv4 in other clothes: mapped, translated (NAT64), tunnelled (6to4).
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Metadata and services of Amazon, metadata of Google.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => Reach::Never,
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Protocols, with Teredo; documents.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Never,
        [0x2000..=0x3fff, ..] => Reach::Public,
        // What is not given out to anybody.
        _ => Reach::Never,
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
