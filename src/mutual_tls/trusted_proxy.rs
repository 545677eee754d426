//! `TrustedProxy`: the peers that may send the certificate of a client in a header.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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
pub struct TrustedProxy(pub(crate) Trust);

#[derive(Clone)]
pub(crate) enum Trust {
    /// The networks of the peer's address, as they are configured. Errors are reported with those of the other settings.
    Networks {
        networks: Vec<ConfiguredNetwork>,
        peer_address: PeerAddressFunction,
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

type PeerAddressFunction = Arc<dyn Fn(&RequestHead<'_>) -> Option<IpAddr> + Send + Sync>;

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
        let peer_address: PeerAddressFunction =
            Arc::new(|request| request.extensions().get().map(|PeerAddress(address)| *address));
        Self(Trust::Networks { networks: networks.collect(), peer_address })
    }

    /// Trusts the requests for which `is_trusted` returns `true`: those of a Unix socket, or those with a header that contains a secret
    /// of the proxy.
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
    /// Clients choose the values of headers. Compare a secret in constant time.
    #[must_use]
    pub fn from_predicate(is_trusted: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self(Trust::Predicate(Arc::new(is_trusted)))
    }

    /// Trusts every peer. Use it only if the network lets nobody except for the proxy reach the API.
    ///
    /// # Security
    ///
    /// Everyone who reaches the API directly can send the certificate of any client, which is public.
    #[must_use]
    pub fn dangerous_trust_any_peer() -> Self {
        Self(Trust::AnyPeer)
    }

    /// Sets the function that returns the address of the peer, for [`from_networks`](Self::from_networks). Default: [`PeerAddress`] in
    /// the extensions of the request.
    ///
    /// axum inserts an extension of its own, if the application is served with `into_make_service_with_connect_info`:
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
        if let Trust::Networks { peer_address, .. } = &mut self.0 {
            *peer_address = Arc::new(address);
        }
        self
    }

    /// Checks that the peer of a request is trusted.
    pub(super) fn check(&self, request: &RequestHead<'_>) -> Result<(), CertificateError> {
        let is_trusted = match &self.0 {
            Trust::Networks { networks, peer_address } => {
                let peer = peer_address(request).ok_or(CertificateError::UnknownPeer)?;
                networks.iter().flat_map(|configured| &configured.network).any(|network| network.contains(peer))
            }
            Trust::Predicate(is_trusted) => is_trusted(request),
            Trust::AnyPeer => true,
        };
        if is_trusted { Ok(()) } else { Err(CertificateError::UntrustedPeer) }
    }
}

impl fmt::Debug for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Trust::Networks { networks, .. } => {
                f.debug_list().entries(networks.iter().map(|configured| &configured.text)).finish()
            }
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
