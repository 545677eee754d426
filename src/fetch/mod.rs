//! The HTTP client, which users can replace.
//!
//! Keys and discovery documents are fetched through the trait [`Fetch`], and tokens are introspected through it. The crate has an
//! implementation with `reqwest` (feature `reqwest`, enabled by default); the trait can be implemented with any other HTTP client.
//! The crate applies a deadline to each attempt and checks the size of the body, whatever the implementation.

#[cfg(feature = "reqwest")]
mod address;
mod client_error;
mod endpoint;
mod exchange;
#[cfg(feature = "reqwest")]
mod lookup;
mod redirect;
mod reference;
#[cfg(feature = "reqwest")]
mod reqwest;
mod response_time;
mod timeout;

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

pub use self::client_error::{BuildClientError, BuildClientErrorKind};
pub(crate) use self::endpoint::PlainHttp;
pub use self::endpoint::{Endpoint, EndpointError};
pub(crate) use self::exchange::{Exchange, ExchangeError, ExchangeFailure, ExchangeRules, FinalResponse, status_class};
pub(crate) use self::redirect::Redirects;
#[cfg(feature = "reqwest")]
pub use self::reqwest::{ReqwestFetch, ReqwestFetchBuilder};
#[cfg(fuzzing)]
pub(crate) use self::response_time::retry_after;
pub(crate) use self::response_time::{delta_seconds, seconds};
pub(crate) use self::timeout::{catch_panic, within};

/// Sends requests over HTTP.
///
/// An implementation sends exactly one request per call. It follows no redirects, stores no cookies and does not retry. If it decodes
/// a `Content-Encoding`, it compares the decoded size with `max_bytes`. It need not set a timeout. If the future is dropped, it must
/// abort the exchange.
///
/// # Security
///
/// The URL comes from the configuration or from a discovery document of the configured issuer, never from a token.
pub trait Fetch: fmt::Debug + Send + Sync + 'static {
    /// Starts a `GET`.
    fn fetch(&self, request: FetchRequest) -> FetchFuture;

    /// Starts a `POST` of a form. Only introspection needs it.
    ///
    /// The default sends nothing and fails with [`FetchError::Unsupported`], so that an implementation that was written for `GET`
    /// does not send the form in another way.
    ///
    /// # Security
    ///
    /// Headers and body contain credentials and a token: an implementation must not log them.
    fn post(&self, request: FormRequest) -> FetchFuture {
        drop(request);
        Box::pin(ready(Err(FetchError::Unsupported)))
    }

    /// Returns whether the implementation refuses connections to addresses that are not public, after name resolution and for each
    /// connection. [`Tenants`](crate::config::Tenants) require it. Default: `false`.
    ///
    /// # Security
    ///
    /// Return `true` only if no URL and no answer of a name server can lead to an internal address. See
    /// `ReqwestFetchBuilder::with_public_addresses_only`.
    fn connects_to_public_addresses_only(&self) -> bool {
        false
    }
}

impl<F: Fetch + ?Sized> Fetch for Arc<F> {
    fn connects_to_public_addresses_only(&self) -> bool {
        (**self).connects_to_public_addresses_only()
    }

    fn fetch(&self, request: FetchRequest) -> FetchFuture {
        (**self).fetch(request)
    }

    fn post(&self, request: FormRequest) -> FetchFuture {
        (**self).post(request)
    }
}

/// The implementation for a configuration in which no issuer has a URL. Every fetch fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoFetch;

impl Fetch for NoFetch {
    fn fetch(&self, _: FetchRequest) -> FetchFuture {
        Box::pin(ready(Err(FetchError::Connect)))
    }

    fn connects_to_public_addresses_only(&self) -> bool {
        true
    }
}

/// Whether any of the URLs to fetch is an https URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    /// All of them are plain http.
    PlainHttp,
    /// At least one is https: the client needs CA certificates.
    Https,
}

/// Returns the default implementation, or `None` if the crate was built without one.
#[cfg(feature = "reqwest")]
pub(crate) fn default_backend(transport: Transport) -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    let backend = match (ReqwestFetch::new(), transport) {
        (Err(_), Transport::PlainHttp) => ReqwestFetch::without_trust_store(),
        (built, _) => built,
    };
    Some(backend.map(|backend| -> Arc<dyn Fetch> { Arc::new(backend) }))
}

/// Returns the default implementation for public addresses, or `None` if the crate was built without one.
#[cfg(feature = "reqwest")]
pub(crate) fn public_backend() -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    let backend = ReqwestFetch::builder().with_public_addresses_only().build();
    Some(backend.map(|backend| -> Arc<dyn Fetch> { Arc::new(backend) }))
}

/// Returns the default implementation for public addresses, or `None` if the crate was built without one.
#[cfg(not(feature = "reqwest"))]
pub(crate) fn public_backend() -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    None
}

/// Returns the default implementation, or `None` if the crate was built without one.
#[cfg(not(feature = "reqwest"))]
pub(crate) fn default_backend(_: Transport) -> Option<Result<Arc<dyn Fetch>, BuildClientError>> {
    None
}

/// The future of [`Fetch::fetch`] and [`Fetch::post`].
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<FetchResponse, FetchError>> + Send>>;

/// A `GET` request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchRequest {
    /// The URL.
    pub endpoint: Endpoint,
    /// The headers to send: `accept`, `if-none-match`, `cache-control` and those of the policy.
    pub headers: HeaderMap,
    /// The largest accepted body, in bytes after decoding. For a larger body, return [`FetchError::TooLarge`].
    pub max_bytes: usize,
}

impl FetchRequest {
    /// Creates a request without headers.
    #[must_use]
    pub fn new(endpoint: Endpoint, max_bytes: usize) -> Self {
        Self { endpoint, headers: HeaderMap::new(), max_bytes }
    }
}

/// A `POST` request with a form as its body. `Debug` shows neither headers nor body, since they contain credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormRequest {
    /// The URL.
    pub endpoint: Endpoint,
    /// The headers to send: `content-type`, `accept` and possibly `authorization`.
    pub headers: HeaderMap,
    /// The form, as `application/x-www-form-urlencoded`.
    pub body: Bytes,
    /// The largest accepted body of the response, in bytes after decoding. For a larger one, return [`FetchError::TooLarge`].
    pub max_bytes: usize,
}

impl FormRequest {
    /// Creates a request with the header `content-type` of a form.
    #[must_use]
    pub fn new(endpoint: Endpoint, body: impl Into<Bytes>, max_bytes: usize) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Self { endpoint, headers, body: body.into(), max_bytes }
    }
}

impl fmt::Debug for FormRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormRequest").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The response to a [`FetchRequest`] or a [`FormRequest`]. `Debug` shows neither headers nor body, since they can contain confidential data.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchResponse {
    /// The status, which can be that of an error.
    pub status: StatusCode,
    /// The response headers.
    pub headers: HeaderMap,
    /// The body, at most `max_bytes` long. The crate uses only the body of a response 200 and, after a `POST`, of 400.
    pub body: Bytes,
}

impl FetchResponse {
    /// Creates a response from its parts.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }
}

impl fmt::Debug for FetchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchResponse")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why a fetch returned no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection could be opened: the name was not found, or the server refused the connection or was unreachable.
    Connect,
    /// The connection was closed before a response started. The request can be sent again on a new connection.
    Closed,
    /// The TLS handshake failed: wrong host name, expired certificate, or unknown certificate authority.
    Tls,
    /// The host has no address that is allowed; see `ReqwestFetchBuilder::with_public_addresses_only`.
    AddressNotAllowed,
    /// The body is longer than `max_bytes`.
    TooLarge,
    /// The timeout of the HTTP client expired.
    Timeout,
    /// The implementation of [`Fetch`] has no [`post`](Fetch::post).
    Unsupported,
    /// Any other error of the exchange.
    Other,
}

impl FetchError {
    /// Returns a stable snake_case name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Unsupported => "post_unsupported",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection could be opened",
            Self::Closed => "the connection closed before a response started",
            Self::Tls => "the TLS handshake failed",
            Self::AddressNotAllowed => "the host has no public address",
            Self::TooLarge => "the body is larger than allowed",
            Self::Timeout => "the exchange timed out",
            Self::Unsupported => "the HTTP client cannot send forms",
            Self::Other => "the exchange failed",
        })
    }
}

impl std::error::Error for FetchError {}
