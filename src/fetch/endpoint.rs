//! `Endpoint`: a URL of a key set or discovery document.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;

/// An absolute https URL without user information and fragment. Plain http is accepted on loopback, or if the caller allows
/// it.
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
    /// Parses an https URL, or an http URL whose host is `localhost`, `127.0.0.0/8` or `[::1]`.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    pub fn new(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url, PlainHttp::OnLoopback)
    }

    /// Parses an https URL, or an http URL with any host.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`].
    ///
    /// # Security
    ///
    /// An attacker on the network path to the server can add their own keys to the key set and then sign valid tokens.
    pub fn dangerous_allow_http(url: &str) -> Result<Self, EndpointError> {
        Self::parse(url, PlainHttp::Anywhere)
    }

    /// Returns the URL exactly as it was passed to the constructor.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the connection uses TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.0.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
    }

    pub(crate) fn parse(url: &str, plain: PlainHttp) -> Result<Self, EndpointError> {
        check_characters(url)?;
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

impl AsRef<str> for Endpoint {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Parses a URL, like [`Endpoint::new`].
impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        Self::new(url)
    }
}

/// Why a URL is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is not an absolute `https://` or `http://` URL with a host.
    Malformed,
    /// The URL is plain http to a host other than loopback. For an issuer,
    /// [`dangerous_allow_http`](crate::Issuer::dangerous_allow_http) allows it.
    PlainHttp,
    /// The URL contains a user name or password.
    UserInfo,
    /// The URL contains a fragment.
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

/// For which hosts plain http is allowed.
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

/// Checks the characters of a URL or URL reference: only a part of ASCII is allowed (RFC 3986 §2). A URL can appear in a
/// challenge, and two parsers could interpret other characters differently.
pub(super) fn check_characters(url: &str) -> Result<(), EndpointError> {
    if url.contains('#') {
        return Err(EndpointError::Fragment);
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)) {
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
    fn accepts_https_for_any_host_and_http_for_loopback_only() {
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
    fn rejects_text_that_is_no_plain_url() {
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
