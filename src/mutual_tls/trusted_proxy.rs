//! `TrustedProxy`: the peers that may send the certificate of a client in a header.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;

use crate::keys::{Secret, SecretError};
use crate::mutual_tls::error::CertificateError;
use crate::mutual_tls::network::{Network, NetworkError};
use crate::request::RequestHead;

/// The peers that may send the certificate of a client in a header: the proxies in front of the API.
///
/// The header of any other peer is ignored, as if it were absent.
///
/// # Security
///
/// A certificate is public. Every trusted peer can act as any client whose token it has. The proxy must remove the header from the
/// requests of clients, or replace it (RFC 9440 §4).
#[derive(Clone)]
pub struct TrustedProxy {
    pub(crate) trust: Trust,
    /// Another source of the peer's address than [`PeerAddress`].
    pub(crate) peer_address: Option<PeerAddressFunction>,
}

/// Errors of the settings are reported with those of the other settings of the API.
#[derive(Clone)]
pub(crate) enum Trust {
    /// The networks of the peer's address, as they are configured.
    Networks(Vec<ConfiguredNetwork>),
    /// The name of a header, as it is configured, and its value.
    SecretHeader {
        name: String,
        parsed: Option<HeaderName>,
        secret: Result<Secret, SecretError>,
    },
    Predicate(Arc<dyn Fn(&RequestHead<'_>) -> bool + Send + Sync>),
    AnyPeer,
}

/// The text of a network, and the network.
#[derive(Clone)]
pub(crate) struct ConfiguredNetwork {
    pub(crate) text: String,
    pub(crate) network: Result<Network, NetworkError>,
}

pub(crate) type PeerAddressFunction = Arc<dyn Fn(&RequestHead<'_>) -> Option<IpAddr> + Send + Sync>;

impl TrustedProxy {
    /// Trusts the peers with an address in one of these networks: `10.0.0.0/8`, or a single address, `127.0.0.1`.
    ///
    /// The address is that of the TCP connection. The server inserts it into the extensions of each request, as [`PeerAddress`];
    /// [`with_peer_address`](Self::with_peer_address) reads another extension. A request without it is not trusted.
    ///
    /// An empty list, a malformed network, and a network with bits after its prefix are configuration errors. An IPv4 address equals
    /// the IPv6 address that contains it (`::ffff:127.0.0.1`).
    #[must_use]
    pub fn from_networks<T: Into<String>>(networks: impl IntoIterator<Item = T>) -> Self {
        let networks = networks.into_iter().map(|text| {
            let text = text.into();
            ConfiguredNetwork { network: text.parse(), text }
        });
        Self::new(Trust::Networks(networks.collect()))
    }

    /// Trusts the requests in which the header `name` has the value `secret`, once. It is compared in constant time. The header is marked
    /// as sensitive, so that logs of headers do not show it.
    ///
    /// Use it for a proxy whose addresses are not known, such as a CDN that adds a header to each request. Use a secret of 32 random
    /// bytes, encoded as text. A name that is not the name of a header, and a secret that is empty or a key file, are configuration
    /// errors.
    ///
    /// ```
    /// use tower_bearer::Secret;
    /// use tower_bearer::mutual_tls::TrustedProxy;
    ///
    /// # let text = "mW2kV0nXcQ8sY5uJ7hB3tR1zL6pD9fGa";
    /// // `text` is from the environment.
    /// let proxy = TrustedProxy::from_secret_header("X-CDN-Secret", Secret::from_text(text));
    /// # let _ = proxy;
    /// ```
    ///
    /// # Security
    ///
    /// Everyone who knows the secret can send the certificate of any client. The proxy must send it over TLS.
    #[must_use]
    pub fn from_secret_header(name: impl Into<String>, secret: impl Into<Result<Secret, SecretError>>) -> Self {
        let name = name.into();
        let parsed = HeaderName::try_from(&name).ok();
        Self::new(Trust::SecretHeader { name, parsed, secret: secret.into() })
    }

    /// Trusts the requests for which `is_trusted` returns `true`, such as those of a Unix socket.
    ///
    /// ```
    /// use tower_bearer::mutual_tls::TrustedProxy;
    ///
    /// #[derive(Clone)]
    /// struct FromUnixSocket;
    ///
    /// let proxy = TrustedProxy::from_predicate(|request| request.extensions().get::<FromUnixSocket>().is_some());
    /// # let _ = proxy;
    /// ```
    ///
    /// # Security
    ///
    /// Clients choose the values of headers. For a header that contains a secret of the proxy, use
    /// [`from_secret_header`](Self::from_secret_header).
    #[must_use]
    pub fn from_predicate(is_trusted: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Trust::Predicate(Arc::new(is_trusted)))
    }

    /// Trusts every peer. Use it only if the network lets nobody except for the proxy reach the API.
    ///
    /// # Security
    ///
    /// Everyone who reaches the API directly can send the certificate of any client, which is public.
    #[must_use]
    pub fn dangerous_trust_any_peer() -> Self {
        Self::new(Trust::AnyPeer)
    }

    fn new(trust: Trust) -> Self {
        Self { trust, peer_address: None }
    }

    /// Sets the function that returns the address of the peer, for [`from_networks`](Self::from_networks). Default: [`PeerAddress`] in
    /// the extensions of the request. For a proxy that is not trusted by its address, it is a configuration error.
    ///
    /// axum inserts another extension if the application is served with `into_make_service_with_connect_info`:
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::ConnectInfo;
    /// use tower_bearer::mutual_tls::TrustedProxy;
    ///
    /// let proxy = TrustedProxy::from_networks(["10.0.0.0/8"]).with_peer_address(|request| {
    ///     request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
    /// });
    /// # let _ = proxy;
    /// ```
    ///
    /// # Security
    ///
    /// Do not read the address from a header such as `X-Forwarded-For`: a client can send it.
    #[must_use]
    pub fn with_peer_address(
        mut self,
        address: impl Fn(&RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.peer_address = Some(Arc::new(address));
        self
    }

    /// Checks that the peer of a request is trusted.
    pub(super) fn check(&self, request: &RequestHead<'_>) -> Result<(), CertificateError> {
        let is_trusted = match &self.trust {
            Trust::Networks(networks) => {
                let peer = match &self.peer_address {
                    Some(address) => address(request),
                    None => request.extensions().get().map(|PeerAddress(address)| *address),
                };
                let peer = peer.ok_or(CertificateError::UnknownPeer)?;
                networks.iter().flat_map(|configured| &configured.network).any(|network| network.contains(peer))
            }
            Trust::SecretHeader { parsed, secret, .. } => {
                let mut fields = parsed.iter().flat_map(|name| request.headers().get_all(name));
                match (fields.next(), fields.next(), secret) {
                    (Some(field), None, Ok(secret)) => secret.is_equal(field.as_bytes()),
                    _ => false,
                }
            }
            Trust::Predicate(is_trusted) => is_trusted(request),
            Trust::AnyPeer => true,
        };
        if is_trusted { Ok(()) } else { Err(CertificateError::UntrustedPeer) }
    }

    /// Returns the header with the secret of the proxy.
    pub(super) fn secret_header(&self) -> Option<&HeaderName> {
        match &self.trust {
            Trust::SecretHeader { parsed, .. } => parsed.as_ref(),
            Trust::Networks(_) | Trust::Predicate(_) | Trust::AnyPeer => None,
        }
    }
}

impl fmt::Debug for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.trust {
            Trust::Networks(networks) => {
                f.debug_list().entries(networks.iter().map(|configured| &configured.text)).finish()
            }
            Trust::SecretHeader { name, .. } => f.debug_tuple("SecretHeader").field(name).finish(),
            Trust::Predicate(_) => f.write_str("TrustedProxy(..)"),
            Trust::AnyPeer => f.write_str("AnyPeer"),
        }
    }
}

/// The address of the peer of a connection, in the extensions of its requests.
///
/// ```
/// use std::net::SocketAddr;
///
/// use http::Request;
/// use tower_bearer::mutual_tls::PeerAddress;
///
/// let peer: SocketAddr = "192.0.2.7:51234".parse()?; // from `TcpListener::accept`
/// let mut request = Request::get("/orders").body(())?;
/// request.extensions_mut().insert(PeerAddress::from(peer));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress(IpAddr);

impl From<IpAddr> for PeerAddress {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip())
    }
}
