//! The errors of key sources.

use std::fmt;
use std::time::Duration;

use crate::fetch::{ExchangeError, FetchError, status_class};
use crate::keys::KeyError;

/// Why a fetch of keys failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshError {
    /// The server did not respond within the timeout of the attempt or of the operation.
    Timeout,
    /// The HTTP exchange failed.
    Network {
        /// The error of the exchange.
        error: FetchError,
    },
    /// The server responded with a redirect that is not followed. By default, no redirect is followed; see
    /// [`with_same_origin_redirects`](crate::jwks::RefreshPolicy::with_same_origin_redirects).
    Redirect,
    /// The status is neither 200 nor, for a conditional request, 304.
    Status {
        /// The status code.
        status: u16,
    },
    /// The server responded 304 to an unconditional request.
    UnexpectedNotModified,
    /// The body is not a JWK Set. Examples: a login page, truncated JSON, two members `keys`, a member name that serde_json
    /// reserves.
    InvalidDocument,
    /// The key set has more keys than the policy allows.
    TooManyKeys,
    /// The key set has no key for any of the API's algorithms.
    NoUsableKeys,
    /// The discovery document is not JSON with `issuer` and `jwks_uri`, or has a member name that serde_json reserves.
    InvalidDiscovery,
    /// The discovery document belongs to another issuer.
    IssuerMismatch,
    /// `jwks_uri` or `introspection_endpoint` is not allowed: plain http without
    /// [`dangerous_allow_http`](crate::Issuer::dangerous_allow_http), or a host that
    /// [`with_jwks_hosts`](crate::jwks::RefreshPolicy::with_jwks_hosts) does not list.
    JwksUriNotAllowed,
    /// The [`Fetch`](crate::fetch::Fetch) implementation panicked.
    Panic,
    /// The tokio runtime in which the fetch ran was shut down.
    Interrupted,
    /// No tokio runtime is running, so nothing can be fetched.
    NoRuntime,
    /// The key source was closed.
    SourceClosed,
}

impl RefreshError {
    /// Returns a stable snake_case name, for logs and metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network { error } => error.name(),
            Self::Redirect => "redirect",
            Self::Status { status } => status_class(status),
            Self::UnexpectedNotModified => "unexpected_304",
            Self::InvalidDocument => "invalid_document",
            Self::TooManyKeys => "too_many_keys",
            Self::NoUsableKeys => "empty_set",
            Self::InvalidDiscovery => "invalid_discovery",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::JwksUriNotAllowed => "jwks_uri_not_allowed",
            Self::Panic => "panic",
            Self::Interrupted => "interrupted",
            Self::NoRuntime => "no_runtime",
            Self::SourceClosed => "source_closed",
        }
    }
}

impl From<FetchError> for RefreshError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Timeout => Self::Timeout,
            error => Self::Network { error },
        }
    }
}

impl From<ExchangeError> for RefreshError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Fetch(error) => error.into(),
            ExchangeError::Redirect => Self::Redirect,
            ExchangeError::Status(status) => Self::Status { status: status.as_u16() },
        }
    }
}

impl From<KeyError> for RefreshError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::TooManyKeys { .. } => Self::TooManyKeys,
            _ => Self::InvalidDocument,
        }
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the server did not respond in time",
            Self::Network { error } => return error.fmt(f),
            Self::Redirect => "the server responded with a redirect, which is not followed",
            Self::Status { status } => return write!(f, "the server responded with status {status}"),
            Self::UnexpectedNotModified => "the server responded 304 to an unconditional request",
            Self::InvalidDocument => "the document is not a JWK set",
            Self::TooManyKeys => "the key set has more keys than allowed",
            Self::NoUsableKeys => "the key set has no usable key",
            Self::InvalidDiscovery => "the discovery document is not a JSON object with issuer and jwks_uri",
            Self::IssuerMismatch => "the discovery document belongs to another issuer",
            Self::JwksUriNotAllowed => {
                "the jwks_uri or introspection_endpoint of the discovery document is not allowed; plain http needs \
                 `dangerous_allow_http`, and a list of hosts must name its host"
            }
            Self::Panic => "the `Fetch` implementation panicked",
            Self::Interrupted => "the tokio runtime in which keys were fetched was shut down",
            Self::NoRuntime => "no tokio runtime is running",
            Self::SourceClosed => "the key source is closed",
        })
    }
}

impl std::error::Error for RefreshError {}

/// No key is usable now: none was ever loaded, or the last ones have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeysUnavailable {
    /// The time to the next attempt, at least a second.
    pub(crate) retry_after: Duration,
    /// The time for which no key has been usable: since the last ones expired, or since the first use of the source.
    pub(crate) unavailable_for: Duration,
    /// Why no key is usable, if that is known.
    pub(crate) cause: Option<RefreshError>,
}

/// The error of [`KeySource::ready`](crate::jwks::KeySource::ready) and
/// [`KeySource::ready_within`](crate::jwks::KeySource::ready_within). Its `source()` is the [`last_error`](Self::last_error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NotReadyError {
    pub(super) last_error: Option<RefreshError>,
}

impl NotReadyError {
    /// Returns why the last fetch failed; `None` if no fetch has ended yet.
    #[must_use]
    pub fn last_error(&self) -> Option<RefreshError> {
        self.last_error
    }
}

impl fmt::Display for NotReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.last_error.is_some() { "no usable keys" } else { "no usable keys yet" })
    }
}

impl std::error::Error for NotReadyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let error: &(dyn std::error::Error + 'static) = self.last_error.as_ref()?;
        Some(error)
    }
}
