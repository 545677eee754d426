//! `PublicUrl`: the URL under which clients reach the API, and the comparison of `htu` with it (RFC 9449 §4.3).
//!
//! # Security
//!
//! The expected URL is the configured one followed by the path of the request. It is never built from `Host` or forwarded headers:
//! a client chooses them, so such a URL would prove nothing. If several URLs are configured, the host of the request selects one of
//! them.
//!
//! The claim is normalized, the path of the request is not (RFC 3986 §6.2.2). A router matches the path as it is, so a proof for
//! `/admin` must not open `/files/../admin` or `/%61dmin`.

mod near_miss;
mod normal_form;

use std::fmt;
use std::net::IpAddr;

pub use self::near_miss::NearMiss;
use self::normal_form::{HttpUrl, Scheme, normal_path};
use crate::request::host::Host;

/// The URL under which clients reach the API: scheme, host, port, and the path prefix that a proxy removes, if any.
///
/// ```
/// use tower_bearer::request::{PublicUrl, PublicUrlError};
///
/// assert_eq!(PublicUrl::parse("https://API.northwind.com:443/svc1/")?.to_string(), "https://api.northwind.com/svc1");
/// assert_eq!(PublicUrl::parse("http://api.northwind.com"), Err(PublicUrlError::PlainHttp));
/// # Ok::<(), PublicUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    /// In lower case; an IPv6 address is in brackets and canonical.
    host: Box<str>,
    port: u16,
    /// The path without a slash at its end; empty for the root.
    base: Box<str>,
    /// The whole URL, without its default port.
    text: Box<str>,
}

/// Whether a request opens a WebSocket connection (RFC 6455 §4.1, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    None,
    WebSocket,
}

impl PublicUrl {
    /// Parses `https://host[:port][/path]`. One slash at the end is dropped. Plain http is allowed for a loopback host.
    ///
    /// # Errors
    ///
    /// Returns [`PublicUrlError`] for user information, a query, a fragment, dot segments, and for plain http to another host.
    pub fn parse(text: &str) -> Result<Self, PublicUrlError> {
        if text.contains(['?', '#']) {
            return Err(PublicUrlError::Query);
        }
        let url = HttpUrl::parse(text).ok_or(PublicUrlError::Malformed)?;
        if !matches!(url.scheme, Scheme::Https | Scheme::Http) {
            return Err(PublicUrlError::Malformed);
        }
        if url.scheme == Scheme::Http && !is_loopback(&url.host) {
            return Err(PublicUrlError::PlainHttp);
        }
        if normal_path(url.path) != url.path {
            return Err(PublicUrlError::Path);
        }
        let base = url.path.strip_suffix('/').unwrap_or(url.path);
        let port = if url.port == url.scheme.default_port() { String::new() } else { format!(":{}", url.port) };
        let text = format!("{}://{}{port}{base}", url.scheme.name(), url.host).into_boxed_str();
        Ok(Self { scheme: url.scheme, base: Box::from(base), port: url.port, host: url.host, text })
    }

    /// Checks that `htu` is the URL of a request with this path (RFC 9449 §4.3, check 9). Query and fragment of `htu` are ignored.
    ///
    /// # Errors
    ///
    /// Returns the near miss if exactly one part differs.
    pub(crate) fn check(&self, htu: &str, path: &str, handshake: Handshake) -> Result<(), Option<NearMiss>> {
        if self.is_text_of(htu, path) {
            return Ok(());
        }
        let claim = HttpUrl::parse(htu).ok_or(None)?;
        if self.matches(&claim, path, handshake) { Ok(()) } else { Err(self.near_miss(&claim, path, handshake)) }
    }

    /// Returns whether the host of a request is that of this URL, with its port.
    pub(crate) fn has_host(&self, host: &Host) -> bool {
        *host.as_str() == *self.host && host.port().unwrap_or(self.scheme.default_port()) == self.port
    }

    /// Returns whether two URLs have the same host and port.
    pub(crate) fn has_same_authority(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }

    /// Returns whether the claim is this URL followed by the path, byte for byte, so that nothing needs to be normalized. Nearly all
    /// claims of clients are.
    fn is_text_of(&self, htu: &str, path: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        htu.strip_prefix(&*self.text) == Some(path) && path.starts_with('/') && path.bytes().all(is_plain)
    }

    fn matches(&self, claim: &HttpUrl<'_>, path: &str, handshake: Handshake) -> bool {
        self.has_scheme(claim, handshake)
            && claim.host == self.host
            && claim.port == self.port
            && self.has_path(claim, path)
    }

    fn has_scheme(&self, claim: &HttpUrl<'_>, handshake: Handshake) -> bool {
        match handshake {
            Handshake::None => claim.scheme == self.scheme,
            Handshake::WebSocket => claim.scheme.as_http() == self.scheme,
        }
    }

    /// Returns whether the path of the claim is the base path followed by the path of the request: byte for byte, or after
    /// normalization if the path of the request is itself in normal form.
    fn has_path(&self, claim: &HttpUrl<'_>, path: &str) -> bool {
        // `*` and the authority form have no path (RFC 9112 §3.2).
        if !path.starts_with('/') {
            return false;
        }
        let is_expected = |claimed: &str| claimed.strip_prefix(&*self.base) == Some(path);
        if is_expected(claim.path) {
            return true;
        }
        // A normal path that is equal to the path of the request proves that the latter is in normal form.
        is_expected(&normal_path(claim.path))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicUrl({self})")
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why a public URL is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublicUrlError {
    /// The text is not `https://host[:port][/path]`. For example, it has user information or a host that is not ASCII.
    Malformed,
    /// The URL is plain http, and its host is not a loopback host.
    PlainHttp,
    /// The URL has a query or a fragment.
    Query,
    /// The path is not in normal form: it has dot segments or unnecessary percent-encoding (RFC 3986 §6.2.2).
    Path,
}

impl fmt::Display for PublicUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the URL is not `https://host[:port][/path]`",
            Self::PlainHttp => "the URL is plain http; clients reach the API over https",
            Self::Query => "the URL has a query or a fragment",
            Self::Path => "the path of the URL has dot segments or unnecessary percent-encoding",
        })
    }
}

impl std::error::Error for PublicUrlError {}

#[cfg(test)]
mod tests;
