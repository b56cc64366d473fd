//! Addresses of every kind, and how far each reaches.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_all(expected: Reach, addresses: &[&str]) {
    for text in addresses {
        let address: IpAddr = text.parse().expect(text);
        assert_eq!(Reach::of(address), expected, "{text}");
    }
}

const PUBLIC: [&str; 26] = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:200::",
    "2001:db7:ffff::",
    "2001:db9::",
    "2a00::1",
    "3fff:1000::",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2002:101:101::",
];

/// S6
#[test]
fn the_internets_addresses_are_public() {
    assert_all(Reach::Public, &PUBLIC);
}

const PRIVATE: [&str; 20] = [
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.255.255",
    "::1",
    "fc00::",
    "fd12:3456::1",
    "fdff:ffff::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::192.168.1.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::5",
];

/// S6
#[test]
fn private_addresses_are_private_in_every_form() {
    assert_all(Reach::Private, &PRIVATE);
}

const NEVER: [&str; 41] = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.0",
    "169.254.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "2001::1",
    "2001:1ff::",
    "2001:20::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "1fff::",
];

/// S6
#[test]
fn no_name_leads_to_metadata_links_or_many_machines() {
    assert_all(Reach::Never, &NEVER);
}

proptest! {
    /// S6: what the standard library calls special is never public.
    #[test]
    fn no_special_ipv4_address_is_public(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let is_special = address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_multicast() || address.is_broadcast() || address.is_documentation()
            || address.is_unspecified();
        prop_assert!(!is_special || Reach::of(address.into()) > Reach::Public);
    }

    /// S6: an IPv4 address reaches as far in the clothes of IPv6 as in its own.
    #[test]
    fn ipv4_in_ipv6_reaches_as_far_as_ipv4(bits: u32) {
        let address = Ipv4Addr::from_bits(bits);
        let [high, low] = [(bits >> 16) as u16, bits as u16];
        let reach = Reach::of(address.into());
        prop_assert_eq!(Reach::of(address.to_ipv6_mapped().into()), reach);
        for segments in [[0x64, 0xff9b, 0, 0, 0, 0, high, low], [0x2002, high, low, 0, 0, 0, 0, 1]] {
            prop_assert_eq!(Reach::of(Ipv6Addr::from(segments).into()), reach);
        }
    }

    /// S6
    #[test]
    fn no_special_ipv6_address_is_public(bits: u128) {
        let address = Ipv6Addr::from_bits(bits);
        let is_global = (0x2000..=0x3fff).contains(&address.segments()[0]);
        let is_embedded = address.to_ipv4_mapped().is_some() || address.segments()[..2] == [0x64, 0xff9b];
        prop_assert!(is_global || is_embedded || Reach::of(address.into()) > Reach::Public);
    }
}
