//! `Origin`: the URL of an issuer's keys, or of the discovery document that names it.

use std::sync::Arc;

use crate::fetch::{Endpoint, EndpointError, Transport};
use crate::jwks::discovery::Discovery;

/// The location of an issuer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A configured JWKS URL.
    Jwks { issuer: Arc<str>, endpoint: Endpoint },
    /// The `jwks_uri` of the issuer's discovery document.
    Discovery(Discovery),
}

impl Origin {
    /// Creates the origin of an issuer with a configured JWKS URL.
    pub(crate) fn jwks(issuer: &str, endpoint: Endpoint) -> Self {
        Self::Jwks { issuer: Arc::from(issuer), endpoint }
    }

    /// Creates the origin of an issuer with a discovery document.
    pub(crate) fn discovery(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::new(issuer).map(Self::Discovery)
    }

    /// Like [`discovery`](Self::discovery), but allows plain http on every host.
    ///
    /// # Security
    ///
    /// An attacker on the network path can add their own keys to the key set.
    pub(crate) fn dangerous_discovery_over_http(issuer: &str) -> Result<Self, EndpointError> {
        Discovery::dangerous_over_http(issuer).map(Self::Discovery)
    }

    /// Allows only keys at the host and port of the issuer, if its discovery document names them.
    pub(crate) fn require_issuer_host(&mut self) {
        if let Self::Discovery(discovery) = self {
            discovery.require_issuer_host();
        }
    }

    /// Returns whether the first fetch needs TLS. A discovery document over plain http may name an https `jwks_uri`.
    pub(crate) fn transport(&self) -> Transport {
        let endpoint = match self {
            Self::Jwks { endpoint, .. } => endpoint,
            Self::Discovery(discovery) => discovery.openid(),
        };
        if endpoint.is_https() { Transport::Https } else { Transport::PlainHttp }
    }

    /// Returns whether this origin may have keys at `jwks_uri`. `hosts` are the allowed hosts of discovered URLs.
    pub(super) fn allows(&self, jwks_uri: &str, hosts: Option<&[String]>) -> bool {
        match self {
            Self::Jwks { endpoint, .. } => endpoint.as_str() == jwks_uri,
            Self::Discovery(discovery) => discovery.endpoint(jwks_uri, hosts).is_ok(),
        }
    }

    /// Returns the name in events and metrics: the issuer as configured, never a value from a token.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Jwks { issuer, .. } => issuer,
            Self::Discovery(discovery) => discovery.issuer(),
        }
    }
}
