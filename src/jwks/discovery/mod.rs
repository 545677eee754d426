//! Discovery of the `jwks_uri` of an issuer (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).

mod schedule;

use std::sync::Arc;

use http::Uri;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fetch::{Endpoint, EndpointError, PlainHttp};
use crate::jwks::error::RefreshError;
use crate::keys;
use crate::token;

pub(super) use self::schedule::Rediscovery;

/// An issuer, the URLs of its discovery documents, and their validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Discovery {
    issuer: Arc<str>,
    openid: Endpoint,
    fallbacks: Arc<[Endpoint]>,
    /// The hosts for which `jwks_uri` may use plain http.
    linked: PlainHttp,
    key_hosts: KeyHosts,
}

/// The hosts at which keys may be, if the policy does not list any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyHosts {
    Any,
    /// Only the host and port of the issuer.
    Issuer,
}

impl Discovery {
    /// Creates the discovery of an issuer identifier: an https URL without query and fragment (RFC 8414 §2).
    ///
    /// # Errors
    ///
    /// See [`EndpointError`]; a query is [`EndpointError::Malformed`].
    pub(crate) fn new(issuer: &str) -> Result<Self, EndpointError> {
        Self::parse(issuer, PlainHttp::OnLoopback)
    }

    /// Like [`new`](Self::new), but allows plain http on every host, for the documents and for their `jwks_uri`.
    ///
    /// # Errors
    ///
    /// See [`EndpointError`]; a query is [`EndpointError::Malformed`].
    ///
    /// # Security
    ///
    /// An attacker on the network path can add their own keys to the key set.
    pub(crate) fn dangerous_over_http(issuer: &str) -> Result<Self, EndpointError> {
        Self::parse(issuer, PlainHttp::Anywhere)
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Allows only keys at the host and port of the issuer, and at the hosts that the policy lists.
    pub(super) fn require_issuer_host(&mut self) {
        self.key_hosts = KeyHosts::Issuer;
    }

    /// Returns the URL of the OpenID Connect document: the suffix follows the whole issuer.
    pub(crate) fn openid(&self) -> &Endpoint {
        &self.openid
    }

    /// Returns the URLs that are requested in this order if there is no OpenID Connect document at its usual URL. Both have the
    /// suffix between host and path: the RFC 8414 document, and the OpenID Connect document at the place that RFC 8414 §5
    /// defines for it, which differs from the usual one if the issuer has a path.
    pub(super) fn fallbacks(&self) -> &[Endpoint] {
        &self.fallbacks
    }

    /// Returns whether a document is a JSON object. Many servers respond with a page to every URL.
    pub(super) fn is_object(document: &[u8]) -> bool {
        object(document).is_some_and(|document| serde_json::from_str::<IgnoredAny>(document).is_ok())
    }

    /// Parses a document and returns a URL in it. `hosts` are the allowed hosts of this URL.
    ///
    /// Its `issuer` must equal the configured one, code point by code point. Otherwise any tenant of a shared server could
    /// publish the document of any other (OpenID Connect Discovery §4.3, RFC 8414 §3.3).
    pub(super) fn read(
        &self,
        document: &[u8],
        wanted: DocumentMember,
        hosts: Option<&[String]>,
    ) -> Result<Endpoint, RefreshError> {
        let document = object(document).ok_or(RefreshError::InvalidDiscovery)?;
        if token::has_reserved_member(document) {
            return Err(RefreshError::InvalidDiscovery);
        }
        let document: Document = serde_json::from_str(document).map_err(|_| RefreshError::InvalidDiscovery)?;
        if document.issuer != *self.issuer {
            return Err(RefreshError::IssuerMismatch);
        }
        let (url, unlisted_hosts) = match wanted {
            DocumentMember::JwksUri => (document.jwks_uri, self.key_hosts),
            // A list may name only the host of the keys. The issuer has issued the tokens, so it may always receive them.
            DocumentMember::IntrospectionEndpoint if hosts.is_some() => {
                (document.introspection_endpoint, KeyHosts::Issuer)
            }
            DocumentMember::IntrospectionEndpoint => (document.introspection_endpoint, self.key_hosts),
        };
        self.allowed(&url.ok_or(RefreshError::InvalidDiscovery)?, hosts, unlisted_hosts)
    }

    /// Parses a `jwks_uri`, and checks whether keys may be fetched from it.
    pub(super) fn endpoint(&self, jwks_uri: &str, hosts: Option<&[String]>) -> Result<Endpoint, RefreshError> {
        self.allowed(jwks_uri, hosts, self.key_hosts)
    }

    /// Parses a URL of a document, and checks its host: it must be one of `hosts`, or one that `unlisted_hosts` allows beside them.
    fn allowed(&self, url: &str, hosts: Option<&[String]>, unlisted_hosts: KeyHosts) -> Result<Endpoint, RefreshError> {
        let endpoint = Endpoint::parse(url, self.linked).map_err(|_| RefreshError::JwksUriNotAllowed)?;
        let is_listed = hosts.map(|hosts| is_on(&endpoint, hosts));
        let is_allowed = match unlisted_hosts {
            KeyHosts::Any => is_listed.unwrap_or(true),
            KeyHosts::Issuer => is_listed.unwrap_or(false) || self.openid.within_origin(endpoint.as_str()).is_some(),
        };
        if is_allowed { Ok(endpoint) } else { Err(RefreshError::JwksUriNotAllowed) }
    }

    fn parse(issuer: &str, plain_http: PlainHttp) -> Result<Self, EndpointError> {
        Endpoint::parse(issuer, plain_http)?;
        let uri: Uri = issuer.parse().map_err(|_| EndpointError::Malformed)?;
        let (Some(scheme), Some(authority), None) = (uri.scheme_str(), uri.authority(), uri.query()) else {
            return Err(EndpointError::Malformed);
        };
        let path = uri.path().strip_suffix('/').unwrap_or(uri.path());
        let inserted = |infix: &str| Endpoint::parse(&format!("{scheme}://{authority}{infix}{path}"), plain_http);
        let mut fallbacks = vec![inserted(OAUTH_INFIX)?];
        if !path.is_empty() {
            fallbacks.push(inserted(OPENID_SUFFIX)?);
        }
        Ok(Self {
            issuer: Arc::from(issuer),
            key_hosts: KeyHosts::Any,
            openid: Endpoint::parse(&format!("{scheme}://{authority}{path}{OPENID_SUFFIX}"), plain_http)?,
            fallbacks: fallbacks.into(),
            // Plain http on loopback is only allowed if the issuer itself is configured so.
            linked: match plain_http {
                PlainHttp::OnLoopback if scheme == "https" => PlainHttp::Nowhere,
                as_configured => as_configured,
            },
        })
    }
}

/// A URL in a discovery document.
#[derive(Clone, Copy, Debug)]
pub(super) enum DocumentMember {
    JwksUri,
    /// RFC 8414 §2.
    IntrospectionEndpoint,
}

/// The members that are used. A duplicate of one of them makes the document invalid.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
}

/// Returns the text of a document that starts like a JSON object (RFC 8414 §3.2). serde would also deserialize a [`Document`]
/// from an array of two strings. All of it is UTF-8, also members that are ignored (RFC 8259 §8.1).
fn object(document: &[u8]) -> Option<&str> {
    let document = keys::without_byte_order_mark(document);
    str::from_utf8(document).ok().filter(|document| document.trim_ascii_start().starts_with('{'))
}

fn is_on(endpoint: &Endpoint, hosts: &[String]) -> bool {
    let Ok(uri) = endpoint.as_str().parse::<Uri>() else { return false };
    uri.host().is_some_and(|host| hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)))
}

/// OpenID Connect Discovery 1.0 §4.
const OPENID_SUFFIX: &str = "/.well-known/openid-configuration";

/// RFC 8414 §3.
const OAUTH_INFIX: &str = "/.well-known/oauth-authorization-server";

#[cfg(test)]
mod tests;
