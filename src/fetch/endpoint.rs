//! `Endpoint`: a URL that may be fetched.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;

/// An absolute https URL without user information or fragment; plain http only on loopback, or by the caller's word.
///
/// ```
/// use tower_bearer::fetch::{Endpoint, EndpointError};
///
/// let keys = Endpoint::new("https://login.example.com/.well-known/jwks.json")?;
/// assert_eq!(keys.as_str(), "https://login.example.com/.well-known/jwks.json");
/// assert!(Endpoint::new("http://127.0.0.1:9000/jwks").is_ok());
/// assert_eq!(Endpoint::new("http://login.example.com/jwks"), Err(EndpointError::PlainHttp));
/// # Ok::<(), EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Takes an https URL, or an http URL whose host is `localhost`, `127.0.0.0/8` or `[::1]`.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url, PlainHttp::OnLoopback)
    }

    /// Takes http URLs of any host, too.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    ///
    /// # Security
    ///
    /// Whoever stands between this process and the server can put keys of their own into the set, and then sign tokens.
    pub fn dangerous_allow_http(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url, PlainHttp::Anywhere)
    }

    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Says whether the connection to it needs TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.0.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
    }

    pub(crate) fn parse(url: &str, plain: PlainHttp) -> Result<Self, EndpointError> {
        vet_octets(url)?;
        let uri: Uri = url.parse().map_err(|_| EndpointError::Malformed)?;
        let authority = uri.authority().ok_or(EndpointError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(EndpointError::Malformed);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if plain.allows(authority.host()) => {}
            Some("http") => return Err(EndpointError::PlainHttp),
            _ => return Err(EndpointError::Malformed),
        }
        Ok(Self(Arc::from(url)))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", &*self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a URL may not be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an absolute `https://` or `http://` URL with a host.
    Malformed,
    /// Plain http beyond loopback; of an issuer, [`dangerous_allow_http`](crate::Issuer::dangerous_allow_http) allows it.
    PlainHttp,
    /// A user name or password stands in the URL.
    UserInfo,
    /// A fragment stands in the URL.
    Fragment,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an absolute https URL",
            Self::PlainHttp => "plain http is allowed on loopback only; use https",
            Self::UserInfo => "a URL with user name or password is not allowed",
            Self::Fragment => "a URL with a fragment is not allowed",
        })
    }
}

impl std::error::Error for EndpointError {}

/// Where plain http is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    Nowhere,
    OnLoopback,
    Anywhere,
}

impl PlainHttp {
    fn allows(self, host: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::OnLoopback => is_loopback(host),
            Self::Anywhere => true,
        }
    }
}

/// RFC 3986 §2: a URL, or a reference to one, is ASCII, and not all of it. It may stand in a challenge, and two parsers could
/// read anything else differently.
pub(super) fn vet_octets(url: &str) -> Result<(), EndpointError> {
    if url.contains('#') {
        return Err(EndpointError::Fragment);
    }
    if !url.bytes().all(|octet| octet.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&octet)) {
        return Err(EndpointError::Malformed);
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_https_anywhere_and_http_on_loopback_only() {
        for url in [
            "https://a.example/",
            "https://a.example:8443/x?y=z",
            "http://localhost:1/",
            "http://127.9.9.9/",
            "http://[::1]:80/",
        ] {
            assert_eq!(Endpoint::new(url).map(|e| e.as_str().to_owned()), Ok(url.to_owned()));
            assert_eq!(Endpoint::new(url).map(|e| e.is_https()), Ok(url.starts_with("https")));
        }
        for url in [
            "http://a.example/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(Endpoint::new(url), Err(EndpointError::PlainHttp), "{url}");
            assert!(Endpoint::dangerous_allow_http(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn refuses_what_is_no_plain_url() {
        for (url, error) in [
            ("", EndpointError::Malformed),
            ("a.example", EndpointError::Malformed),
            ("/path", EndpointError::Malformed),
            ("file:///etc/passwd", EndpointError::Malformed),
            ("ftp://a.example/", EndpointError::Malformed),
            ("https://", EndpointError::Malformed),
            ("https://u:p@a.example/", EndpointError::UserInfo),
            ("http://127.0.0.1@a.example/", EndpointError::UserInfo),
            ("https://a.example/#x", EndpointError::Fragment),
            ("https://a.example/\r\nx", EndpointError::Malformed),
            ("https://a.example/é", EndpointError::Malformed),
            ("https://é.example/", EndpointError::Malformed),
            ("https://a.example/ x", EndpointError::Malformed),
            ("https://a.example\\@b.example/", EndpointError::Malformed),
            ("https://a.example/b\\c", EndpointError::Malformed),
            ("https://a.example/{tenant}", EndpointError::Malformed),
            ("https://a.example/\"", EndpointError::Malformed),
            ("https://a.example\\.b.example/", EndpointError::Malformed),
        ] {
            assert_eq!(Endpoint::new(url), Err(error), "{url}");
        }
    }
}
