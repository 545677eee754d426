//! Determines the host that a request names (RFC 9110 §7.2).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::Ipv6Addr;
use std::str::FromStr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Uri};

/// A host name in lower case. Its port, if there is one, does not count in comparisons.
///
/// An IPv6 address is in brackets and in its canonical form (RFC 5952). A name with a trailing dot differs from the same
/// name without it.
///
/// ```
/// use tower_bearer::request::Host;
///
/// assert_eq!(Host::parse("API.Northwind.com:8443")?.as_str(), "api.northwind.com");
/// assert_eq!(Host::parse("[2001:DB8:0::1]:443")?.as_str(), "[2001:db8::1]");
/// assert!(Host::parse("user@api.northwind.com").is_err());
/// # Ok::<(), tower_bearer::request::HostError>(())
/// ```
#[derive(Clone)]
pub struct Host {
    name: Box<str>,
    port: Option<u16>,
}

impl Host {
    /// Parses `host[:port]`.
    ///
    /// # Errors
    ///
    /// Returns [`HostError::Malformed`] for any other text: user information, a path, white space, an empty name, an invalid
    /// port.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let authority: Authority = text.parse().map_err(|_| HostError::Malformed)?;
        Self::from_authority(&authority)
    }

    /// Returns the host of a request: the authority of its target (`:authority` in HTTP/2, absolute form) or, without an
    /// authority, the `Host` header.
    ///
    /// Returns `Ok(None)` if the request names no host.
    ///
    /// # Errors
    ///
    /// Returns [`HostError`] if `Host` is present more than once, is malformed, or differs from the target.
    ///
    /// # Security
    ///
    /// The client chooses the `Host` header. Do not use the host for an access decision, unless a proxy in front of the service
    /// sets or checks it.
    pub fn from_request(target: &Uri, headers: &HeaderMap) -> Result<Option<Self>, HostError> {
        let mut fields = headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(HostError::Multiple);
        }
        let field_host = match field {
            None => None,
            Some(field) => Some(Self::parse(field.to_str().map_err(|_| HostError::Malformed)?)?),
        };
        match (target.authority().map(Self::from_authority).transpose()?, field_host) {
            (Some(target), Some(field_host)) if target != field_host => Err(HostError::Contradiction),
            (Some(host), _) | (None, Some(host)) => Ok(Some(host)),
            (None, None) => Ok(None),
        }
    }

    /// Returns the name in lower case, without port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the port; `None` if it is absent or empty.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    fn from_authority(authority: &Authority) -> Result<Self, HostError> {
        let (whole, host) = (authority.as_str(), authority.host());
        let port = whole.strip_prefix(host).ok_or(HostError::Malformed)?;
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // RFC 3986 §3.2.3: the port may be empty.
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| HostError::Malformed)?)
            }
            None | Some(_) => return Err(HostError::Malformed),
        };
        let name = Self::canonical(host).ok_or(HostError::Malformed)?;
        Ok(Self { name: name.into_boxed_str(), port })
    }

    /// Returns a host name, or an IPv6 address in brackets, in its canonical form.
    pub(super) fn canonical(host: &str) -> Option<String> {
        if let Some(address) = host.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(format!("[{address}]"));
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte))
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        name.split('.').all(is_label).then(|| host.to_ascii_lowercase())
    }
}

/// Compares the names, without the ports.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Host {}

impl PartialOrd for Host {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Host {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name).finish()
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// Parses `host[:port]`, like [`Host::parse`].
impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

/// The reason why the host of a request cannot be determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostError {
    /// The host is not `host[:port]`.
    Malformed,
    /// The request has more than one `Host` field (RFC 9112 §3.2).
    Multiple,
    /// `Host` and the request target name different hosts.
    Contradiction,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the host is malformed",
            Self::Multiple => "the request has more than one Host field",
            Self::Contradiction => "the Host field and the request target name different hosts",
        })
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn find(target: &str, fields: &[&[u8]]) -> Result<Option<String>, HostError> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(HOST, HeaderValue::from_bytes(field).expect("a field value"));
        }
        let target: Uri = target.parse().expect("a target");
        Host::from_request(&target, &headers).map(|host| host.map(|host| host.as_str().to_owned()))
    }

    #[test]
    fn ignores_port_and_case() {
        for (target, field) in [
            ("/", "API.Brand-A.com"),
            ("/", "api.brand-a.com:8443"),
            ("https://Api.brand-a.com:1/x", "api.BRAND-a.com:2"),
        ] {
            assert_eq!(find(target, &[field.as_bytes()]), Ok(Some("api.brand-a.com".to_owned())), "{target} {field}");
        }
        assert_eq!(find("https://api.brand-a.com/", &[]), Ok(Some("api.brand-a.com".to_owned())));
        for (field, host) in [
            ("api.example:", "api.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]:", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("localhost", "localhost"),
            ("Api.example.", "api.example."),
        ] {
            assert_eq!(find("/", &[field.as_bytes()]), Ok(Some(host.to_owned())), "{field}");
        }
        assert_eq!(find("/", &[]), Ok(None));
    }

    #[test]
    fn returns_the_port_and_compares_without_it() {
        let host = |text| Host::parse(text).expect(text);
        assert_eq!(
            (host("a.example:8443").port(), host("a.example:").port(), host("a.example").port()),
            (Some(8443), None, None)
        );
        assert_eq!(host("[::1]:80").port(), Some(80));
        assert_eq!(host("a.example:1"), host("a.example:2"));
    }

    #[test]
    fn rejects_duplicate_contradictory_and_malformed_hosts() {
        assert_eq!(find("/", &[b"a.example", b"a.example"]), Err(HostError::Multiple));
        assert_eq!(find("https://a.example/", &[b"b.example"]), Err(HostError::Contradiction));
        assert_eq!(find("https://a.example/", &[b"a.example."]), Err(HostError::Contradiction));
        assert_eq!(find("https://[::1]/", &[b"[::2]"]), Err(HostError::Contradiction));
        assert_eq!(find("https://u@a.example/", &[]), Err(HostError::Malformed));
        assert_eq!(find("https://u@a.example/", &[b"a.example"]), Err(HostError::Malformed));
        for field in [
            &b""[..],
            b"a b",
            b"a.example/x",
            b"u@a.example",
            b"u:p@a.example",
            b"a.example:x",
            b"a.example:+1",
            b"a.example:99999",
            b"a.example, b.example",
            b"\xe9",
            b"https://a.example",
            b"::1",
            b"[::1",
            b"::1]:80",
            b"[::1]x",
            b"a[::1]",
            b"[]",
            b"[a.example]",
            b"[::1%25eth0]",
            b"a.example:80@b.example",
            b"a%2eexample",
            b"a.example\tb",
            b" ",
            b".",
            b"..",
            b"a..example",
            b".a.example",
            b":80",
        ] {
            assert_eq!(find("/", &[field]), Err(HostError::Malformed), "{field:?}");
        }
    }
}
