//! `Network`: a range of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses. An IPv6 address that contains an IPv4 address (`::ffff:192.0.2.1`) counts as the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Returns whether the network contains an address.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let common_bits = match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
            _ => return false,
        };
        common_bits >= self.prefix
    }
}

/// Parses an address, or an address and the length of its prefix: `10.0.0.0/8`.
impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let bits = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        let prefix = match prefix {
            None => bits,
            Some(text) => {
                let prefix: u32 = text.parse().map_err(|_| NetworkError::Malformed)?;
                // Otherwise it has a sign or leading zeros.
                let is_canonical = text == prefix.to_string();
                Some(prefix).filter(|prefix| is_canonical && *prefix <= bits).ok_or(NetworkError::Malformed)?
            }
        };
        if has_host_bits(address, prefix) {
            return Err(NetworkError::HostBits);
        }
        Ok(match (address.to_canonical(), prefix.checked_sub(MAPPED_BITS)) {
            (mapped @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => Self { address: mapped, prefix },
            _ => Self { address, prefix },
        })
    }
}

/// Returns whether bits after the prefix are set.
fn has_host_bits(address: IpAddr, prefix: u32) -> bool {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_shl(prefix).is_some_and(|host| host != 0),
        IpAddr::V6(address) => address.to_bits().checked_shl(prefix).is_some_and(|host| host != 0),
    }
}

/// The bits before the IPv4 address in an IPv6 address that contains one (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u32 = Ipv6Addr::BITS.saturating_sub(Ipv4Addr::BITS);

/// The reason why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkError {
    /// The text is neither an IP address nor an IP address with the length of a prefix, such as `10.0.0.0/8`.
    Malformed,
    /// Bits after the prefix are set, such as in `10.0.0.1/8`: a mistake in the address or in the length.
    HostBits,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "is not an IP address or network, such as `10.0.0.0/8`",
            Self::HostBits => "has bits after its prefix; write the first address of the network, or the address alone",
        })
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect(network).contains(address.parse().expect(address))
    }

    #[test]
    fn contains_the_addresses_with_its_prefix() {
        for (network, address, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.128/25", "10.0.0.127", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::1", "127.0.0.1", false),
        ] {
            assert_eq!(contains(network, address), expected, "{network} {address}");
        }
    }

    #[test]
    fn an_address_in_both_notations_is_the_same() {
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("::ffff:127.0.0.1", "127.0.0.1"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!contains("::ffff:10.0.0.0/104", "11.1.2.3"));
        // A network of IPv6 addresses contains no IPv4 address.
        assert!(!contains("::/0", "127.0.0.1"));
        assert!(!contains("::/0", "::ffff:127.0.0.1"));
        assert!(!contains("0.0.0.0/0", "::1"));
    }

    #[test]
    fn rejects_host_bits_and_other_texts() {
        for text in ["10.0.0.1/8", "10.0.0.1/0", "2001:db8::1/64", "::ffff:10.0.0.1/104", "127.0.0.1/31"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::HostBits), "{text}");
        }
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            " 10.0.0.0/8",
            "::/129",
            "::1%lo",
            "[::1]",
            "localhost",
            "10.0.0.0/-1",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed), "{text}");
        }
    }
}
