//! Why a refresh failed, and what a caller without keys is told.

use std::fmt;
use std::time::Duration;

use crate::fetch::FetchError;
use crate::keys::KeyError;

/// Why an attempt to fetch keys brought none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshError {
    /// No answer within the time for an attempt, or for the operation.
    Timeout,
    /// The exchange failed below HTTP.
    Network {
        /// How.
        error: FetchError,
    },
    /// The server answered with a redirect that is not followed: none is, unless the policy lets those
    /// [of the same origin](crate::jwks::RefreshPolicy::with_same_origin_redirects) be.
    Redirect,
    /// A status other than 200, or than the 304 that was asked for.
    Status {
        /// The status code.
        status: u16,
    },
    /// 304, though the request was not conditional.
    UnexpectedNotModified,
    /// The body is no JWK Set: a login page, truncated JSON, a member `keys` twice, a member name that serde_json reserves.
    InvalidDocument,
    /// The set has more keys than are looked at.
    TooManyKeys,
    /// The set has no key that can verify one of the API's algorithms.
    NoUsableKeys,
    /// The discovery document is not JSON with `issuer` and `jwks_uri`, or has a member name that serde_json reserves.
    InvalidDiscovery,
    /// The discovery document is another issuer's.
    IssuerMismatch,
    /// `jwks_uri` is no URL that may be fetched, such as plain http without
    /// [`dangerous_allow_http`](crate::Issuer::dangerous_allow_http), or a host that
    /// [`with_jwks_hosts`](crate::jwks::RefreshPolicy::with_jwks_hosts) does not list.
    JwksUriRefused,
    /// The [`Fetch`](crate::fetch::Fetch) implementation panicked.
    Panic,
    /// The runtime that carried the attempt ended.
    Interrupted,
    /// No tokio runtime is running, so nothing can be fetched.
    NoRuntime,
    /// The key source was closed.
    SourceClosed,
}

impl RefreshError {
    /// A short fixed name, fit for a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network { error } => error.name(),
            Self::Redirect => "redirect",
            Self::Status { status: 400..=499 } => "http_4xx",
            Self::Status { status: 500..=599 } => "http_5xx",
            Self::Status { .. } => "http_other",
            Self::UnexpectedNotModified => "unexpected_304",
            Self::InvalidDocument => "invalid_document",
            Self::TooManyKeys => "too_many_keys",
            Self::NoUsableKeys => "empty_set",
            Self::InvalidDiscovery => "invalid_discovery",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::JwksUriRefused => "jwks_uri_refused",
            Self::Panic => "panic",
            Self::Interrupted => "interrupted",
            Self::NoRuntime => "no_runtime",
            Self::SourceClosed => "closed_source",
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
            Self::Timeout => "the server did not answer in time",
            Self::Network { error } => return error.fmt(f),
            Self::Redirect => "the server answered with a redirect, which is not followed",
            Self::Status { status } => return write!(f, "the server answered with status {status}"),
            Self::UnexpectedNotModified => "the server answered 304 to an unconditional request",
            Self::InvalidDocument => "the document is not a JWK set",
            Self::TooManyKeys => "the key set has more keys than allowed",
            Self::NoUsableKeys => "the key set has no usable key",
            Self::InvalidDiscovery => "the discovery document has no issuer and jwks_uri",
            Self::IssuerMismatch => "the discovery document belongs to another issuer",
            Self::JwksUriRefused => {
                "the jwks_uri of the discovery document is not allowed; plain http needs `dangerous_allow_http`, and a list of \
                 hosts must name its host"
            }
            Self::Panic => "the fetcher panicked",
            Self::Interrupted => "the runtime that fetched keys ended",
            Self::NoRuntime => "no tokio runtime is running",
            Self::SourceClosed => "the key source is closed",
        })
    }
}

impl std::error::Error for RefreshError {}

/// No key may be used now: none was ever loaded, or the last ones are too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeysUnavailable {
    /// Time to the next attempt, at least a second.
    pub(crate) retry_after: Duration,
    /// For how long none could be used: since the last ones expired, or since they were first asked for.
    pub(crate) since: Duration,
    /// What keeps them away, if that is known.
    pub(crate) cause: Option<RefreshError>,
}

/// Why [`KeySource::ready_within`](crate::jwks::KeySource::ready_within) gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotReadyError {
    /// What the last attempt failed of, if one has ended.
    pub last_error: Option<RefreshError>,
}

impl fmt::Display for NotReadyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last_error {
            Some(error) => write!(f, "no usable keys: {error}"),
            None => f.write_str("no usable keys yet"),
        }
    }
}

impl std::error::Error for NotReadyError {}
