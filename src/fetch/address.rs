//! Which IP addresses are public.
//!
//! The other addresses are those of the IANA special-purpose registries (RFC 6890), and a few addresses of cloud services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether an address is globally reachable: not of this machine, of a private network or of a reserved range.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| is_public_v6(v6), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || SPECIAL_V4.iter().any(|(network, bits)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *bits);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let is_in = |(network, bits): &(Ipv6Addr, u32)| (address.to_bits() ^ network.to_bits()).leading_zeros() >= *bits;
    is_in(&GLOBAL_UNICAST) && !SPECIAL_V6.iter().any(is_in)
}

/// Returns the IPv4 address to which packets for this IPv6 address are delivered.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // IPv4-mapped (RFC 4291 §2.5.5.2): the operating system opens an IPv4 connection.
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        // NAT64 (RFC 6052 §2.1): a translator opens an IPv4 connection.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        // 6to4 (RFC 3056 §2): a relay at that address unwraps the packet.
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Networks by prefix, in addition to those that the standard library checks.
const SPECIAL_V4: [(Ipv4Addr, u32); 7] = [
    // This network (RFC 791 §3.2); operating systems treat 0.0.0.0 as loopback.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Shared between a carrier and its customers (RFC 6598), and the metadata service of a cloud.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // The platform services of a cloud (Azure), at an address that looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Protocol assignments (RFC 6890 §2.1), and the metadata service of a cloud.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // 6to4 relays, deprecated (RFC 7526).
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Benchmarks (RFC 2544).
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Reserved (RFC 1112 §4), including broadcast.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Global unicast addresses (RFC 4291 §2.4). Outside of it are loopback, private (`fc00::/7`, RFC 4193), link-local and
/// multicast addresses, the deprecated IPv4-compatible addresses, and ranges that are not assigned yet.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const SPECIAL_V6: [(Ipv6Addr, u32); 3] = [
    // Protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation (RFC 3849, RFC 9637).
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().expect(text))
    }

    /// The first and the last address of each network, and the addresses before and after it, if those are public.
    #[test]
    fn rejects_special_v4_networks_up_to_their_first_and_last_address() {
        for (network, before, first, last, after) in [
            ("this network", None, "0.0.0.0", "0.255.255.255", Some("1.0.0.0")),
            ("private 10", Some("9.255.255.255"), "10.0.0.0", "10.255.255.255", Some("11.0.0.0")),
            ("shared", Some("100.63.255.255"), "100.64.0.0", "100.127.255.255", Some("100.128.0.0")),
            ("loopback", Some("126.255.255.255"), "127.0.0.0", "127.255.255.255", Some("128.0.0.0")),
            ("wire server", Some("168.63.129.15"), "168.63.129.16", "168.63.129.16", Some("168.63.129.17")),
            ("link-local", Some("169.253.255.255"), "169.254.0.0", "169.254.255.255", Some("169.255.0.0")),
            ("private 172", Some("172.15.255.255"), "172.16.0.0", "172.31.255.255", Some("172.32.0.0")),
            ("assignments", Some("191.255.255.255"), "192.0.0.0", "192.0.0.255", Some("192.0.1.0")),
            ("documentation 1", Some("192.0.1.255"), "192.0.2.0", "192.0.2.255", Some("192.0.3.0")),
            ("6to4 relays", Some("192.88.98.255"), "192.88.99.0", "192.88.99.255", Some("192.88.100.0")),
            ("private 192", Some("192.167.255.255"), "192.168.0.0", "192.168.255.255", Some("192.169.0.0")),
            ("benchmarks", Some("198.17.255.255"), "198.18.0.0", "198.19.255.255", Some("198.20.0.0")),
            ("documentation 2", Some("198.51.99.255"), "198.51.100.0", "198.51.100.255", Some("198.51.101.0")),
            ("documentation 3", Some("203.0.112.255"), "203.0.113.0", "203.0.113.255", Some("203.0.114.0")),
            ("multicast", Some("223.255.255.255"), "224.0.0.0", "239.255.255.255", None),
            ("reserved", None, "240.0.0.0", "255.255.255.255", None),
        ] {
            for outside in [before, after].into_iter().flatten() {
                assert!(public(outside), "{outside} is next to {network}");
            }
            for inside in [first, last] {
                assert!(!public(inside), "{inside} is in {network}");
            }
        }
    }

    #[test]
    fn rejects_special_v6_networks_up_to_their_first_and_last_address() {
        let last = "ffff:ffff:ffff:ffff";
        for (inside, outside) in [
            ("1fff:ffff:ffff:ffff:L", "2000::"),
            ("2001::", "2000:ffff:ffff:ffff:L"),
            ("2001:1ff:ffff:ffff:L", "2001:200::"),
            ("2001:db8::", "2001:db7:ffff:ffff:L"),
            ("2001:db8:ffff:ffff:L", "2001:db9::"),
            ("3fff::", "3ffe:ffff:ffff:ffff:L"),
            ("3fff:fff:ffff:ffff:L", "3fff:1000::"),
            ("4000::", "3fff:ffff:ffff:ffff:L"),
        ] {
            let [inside, outside] = [inside, outside].map(|address| address.replace('L', last));
            assert!(!public(&inside), "{inside}");
            assert!(public(&outside), "{outside}");
        }
        for address in [
            "::",
            "::1",
            "100::1",
            "fbff::1",
            "fc00::",
            "fd00:ec2::254",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "5f00::1",
        ] {
            assert!(!public(address), "{address}");
        }
        for address in ["2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2400:cb00::1"] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn rejects_v6_addresses_that_embed_a_special_v4_address() {
        for v4 in
            ["0.0.0.0", "10.0.0.1", "100.100.100.200", "127.0.0.1", "169.254.169.254", "192.168.1.1", "255.255.255.255"]
        {
            let bytes = v4.parse::<Ipv4Addr>().expect(v4).octets();
            let [high, low] = [[bytes[0], bytes[1]], [bytes[2], bytes[3]]].map(u16::from_be_bytes);
            for address in [
                format!("::ffff:{v4}"),
                format!("::{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{high:x}:{low:x}::"),
                format!("2002:{high:x}:{low:x}:1:2:3:4:5"),
            ] {
                assert!(!public(&address), "{address}");
            }
        }
        for address in ["::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "2002:5db8:d822::1"] {
            assert!(public(address), "{address}");
        }
        // Forms that are not routed on the internet, whatever they embed: IPv4-compatible, IPv4-translated, local NAT64.
        for address in
            ["::93.184.216.34", "::ffff:0:93.184.216.34", "64:ff9b:1::93.184.216.34", "64:ff9b::1:93.184.216.34"]
        {
            assert!(!public(address), "{address}");
        }
    }
}
