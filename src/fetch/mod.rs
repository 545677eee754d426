//! The network: one door, which users can replace.
//!
//! Keys and discovery documents are fetched through [`Fetch`]. The crate brings a backend over `reqwest`
//! (feature `reqwest`, on by default); any other HTTP client fits behind the same trait. Whatever stands behind it,
//! the caller in `jwks` wraps every attempt in its own deadline and counts the octets itself.

#[cfg(feature = "reqwest")]
mod address;
mod client_error;
mod endpoint;
#[cfg(feature = "reqwest")]
mod lookup;
mod reference;
#[cfg(feature = "reqwest")]
mod reqwest;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub use self::client_error::{BuildClientError, BuildClientErrorKind};
pub(crate) use self::endpoint::PlainHttp;
pub use self::endpoint::{Endpoint, EndpointError};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{ReqwestFetch, ReqwestFetchBuilder};

/// Fetches a document over HTTP.
///
/// An implementation makes exactly one `GET`: it follows no redirect, keeps no cookies, decodes no content coding
/// beyond what it counts against `max_bytes`, and does not retry. It needs no deadline of its own; dropping the
/// future must abort the exchange.
///
/// # Security
///
/// The URL comes from the configuration or from a discovery document of the configured issuer, never from a token.
pub trait Fetch: fmt::Debug + Send + Sync + 'static {
    /// Starts the exchange.
    fn fetch(&self, request: FetchRequest) -> FetchFuture;
}

impl<F: Fetch + ?Sized> Fetch for Arc<F> {
    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        (**self).fetch(request)
    }
}

/// Fetches nothing, where nothing is to be fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nothing;

impl Fetch for Nothing {
    fn fetch(&self, _: FetchRequest) -> FetchFuture {
        Box::pin(std::future::ready(Err(FetchError::Connect)))
    }
}

/// Whether an https URL is among those to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// There is one: a client without CA certificates is of no use.
    Https,
    /// All are plain http.
    PlainHttp,
}

/// The backend that is used where none is given; `None` if the crate was built without one.
#[cfg(feature = "reqwest")]
pub(crate) fn default_backend(transport: Transport) -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    let backend = match (ReqwestFetch::new(), transport) {
        (Err(_), Transport::PlainHttp) => ReqwestFetch::without_trust_store(),
        (built, _) => built,
    };
    Some(backend.map(|backend| -> Arc<dyn Fetch> { Arc::new(backend) }))
}

/// The backend that is used where none is given; `None` if the crate was built without one.
#[cfg(not(feature = "reqwest"))]
pub(crate) fn default_backend(_: Transport) -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    None
}

/// The future of [`Fetch::fetch`].
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<FetchResponse, FetchError>> + Send>>;

/// One `GET` to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Where to.
    pub endpoint: Endpoint,
    /// Request headers to send (`accept`, `if-none-match`, `cache-control`).
    pub headers: HeaderMap,
    /// Largest body, in octets after any decoding, that may be returned; more is [`FetchError::TooLarge`].
    pub max_bytes: usize,
}

impl FetchRequest {
    /// A request without headers.
    #[must_use]
    pub fn new(endpoint: Endpoint, max_bytes: usize) -> Self {
        Self { endpoint, headers: HeaderMap::new(), max_bytes }
    }
}

/// What came back. `Debug` shows neither headers nor body, which hold what a careless server publishes.
#[derive(Clone)]
#[non_exhaustive]
pub struct FetchResponse {
    /// The status, whatever it is.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The body, at most `max_bytes` long; only that of a 200 is ever looked at.
    pub body: Bytes,
}

impl FetchResponse {
    /// A response made of its parts.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }
}

impl fmt::Debug for FetchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchResponse")
            .field("status", &self.status)
            .field("octets", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why a fetch gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection: name not found, refused, unreachable.
    Connect,
    /// The connection closed before an answer began; safe to try once more on a fresh one.
    Closed,
    /// TLS failed: wrong host, expired or unknown certificate.
    Tls,
    /// The host has no address that may be connected to, see `ReqwestFetchBuilder::with_public_addresses_only`.
    AddressRefused,
    /// The body is longer than `max_bytes`.
    TooLarge,
    /// The backend's own time limit ran out.
    Timeout,
    /// Anything else on the wire.
    Other,
}

impl FetchError {
    /// A fixed name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::AddressRefused => "address_refused",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection could be made",
            Self::Closed => "the connection closed before an answer",
            Self::Tls => "the TLS handshake failed",
            Self::AddressRefused => "the host has no public address",
            Self::TooLarge => "the body is larger than allowed",
            Self::Timeout => "the exchange took too long",
            Self::Other => "the exchange failed",
        })
    }
}

impl std::error::Error for FetchError {}
