//! The errors of introspection.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::defaults;
use crate::fetch::{ExchangeError, FetchError, status_class};
use crate::jwks::RefreshError;

/// Why a token is rejected after introspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntrospectionRejection {
    /// The server says that the token is not active: it has expired, was revoked, or is unknown.
    Inactive,
    /// The answer of the server contradicts the claims of the signed token, so the answer is about another token.
    Contradicted {
        /// The claim that differs.
        claim: &'static str,
    },
    /// There is no answer. This says nothing about the token: the cause is this service or the server, not the client.
    #[non_exhaustive]
    Unavailable {
        /// The time until the client should retry, at least one second.
        retry_after: Duration,
        /// Why there is no answer.
        cause: IntrospectionError,
    },
}

impl fmt::Display for IntrospectionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive => f.write_str("the server says that the token is not active"),
            Self::Contradicted { claim } => write!(f, "the answer about the token contradicts its claim {claim}"),
            Self::Unavailable { .. } => f.write_str("the server gave no answer about the token"),
        }
    }
}

impl Error for IntrospectionRejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable { cause, .. } => Some(cause),
            Self::Inactive | Self::Contradicted { .. } => None,
        }
    }
}

/// Why a call to the introspection endpoint gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The server did not respond in time.
    Timeout,
    /// The HTTP exchange failed.
    Network {
        /// The error of the exchange.
        error: FetchError,
    },
    /// The server responded with a redirect, which is not followed, since the request contains credentials.
    Redirect,
    /// The server refused the credentials of this API: 401, 403, or 400 with the error `invalid_client`.
    CredentialsRefused,
    /// The status is not 200.
    Status {
        /// The status code.
        status: u16,
    },
    /// The media type of the response is neither that of JSON nor, with signed answers, that of RFC 9701.
    ContentType,
    /// The body is not one JSON object with unique names (RFC 7662 §2.2).
    InvalidAnswer,
    /// The member `active` is missing, or is neither `true` nor `false` (RFC 7662 §2.2).
    InvalidActive,
    /// A member of the answer does not have its registered type.
    MalformedMember {
        /// The name of the member.
        member: &'static str,
    },
    /// The answer is not signed, although only signed answers are accepted.
    Unsigned,
    /// The signed answer is not valid.
    Signed {
        /// What is wrong.
        error: SignedAnswerError,
    },
    /// The discovery document could not be read, or has no `introspection_endpoint`.
    Discovery {
        /// Why the document could not be read.
        error: RefreshError,
    },
    /// Too many requests wait for answers.
    Overloaded,
    /// The implementation of [`Fetch`](crate::fetch::Fetch) panicked.
    Panic,
    /// The tokio runtime in which the call ran was shut down.
    Interrupted,
    /// No tokio runtime is running, so no call can be sent.
    NoRuntime,
    /// The system has no entropy, so tokens cannot be distinguished safely.
    NoEntropy,
}

/// What is wrong with a signed answer (RFC 9701 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignedAnswerError {
    /// The answer is not a signed JWT.
    Form,
    /// The answer is encrypted (RFC 7516), which this crate does not support.
    Encrypted,
    /// `typ` is not `token-introspection+jwt`.
    Type,
    /// The algorithm is not one of the issuer's asymmetric algorithms.
    Algorithm,
    /// The issuer has no key for the answer, or its keys are not available.
    Key,
    /// The signature is invalid.
    Signature,
    /// `iss` is not the issuer.
    Issuer,
    /// `aud` does not contain the id of this API as a client.
    Audience,
    /// `iat` is missing, in the future, or older than a minute.
    IssuedAt,
    /// `token_introspection` is missing.
    Content,
}

impl IntrospectionError {
    /// Returns a stable snake_case name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network { error } => error.name(),
            Self::Redirect => "redirect",
            Self::CredentialsRefused => "credentials_refused",
            Self::Status { status: 429 } => "rate_limited",
            Self::Status { status } => status_class(status),
            Self::ContentType => "content_type",
            Self::InvalidAnswer => "invalid_answer",
            Self::InvalidActive => "invalid_active",
            Self::MalformedMember { .. } => "malformed_member",
            Self::Unsigned => "unsigned",
            Self::Signed { .. } => "invalid_signed_answer",
            Self::Discovery { error } => error.name(),
            Self::Overloaded => "overloaded",
            Self::Panic => "panic",
            Self::Interrupted => "interrupted",
            Self::NoRuntime => "no_runtime",
            Self::NoEntropy => "no_entropy",
        }
    }

    /// Returns whether the server did not respond. A response is no outage: only an outage allows to use an earlier answer.
    ///
    /// A failed TLS handshake is no outage, because someone did respond.
    pub(crate) const fn is_outage(self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Network { error } => {
                matches!(error, FetchError::Connect | FetchError::Closed | FetchError::Timeout | FetchError::Other)
            }
            Self::Discovery { error } => matches!(
                error,
                RefreshError::Timeout
                    | RefreshError::Network { error: FetchError::Connect | FetchError::Closed | FetchError::Other }
            ),
            _ => false,
        }
    }

    /// Returns whether the server, or a proxy in front of it, reported an error. It may do so for one token only.
    pub(crate) const fn is_server_error(self) -> bool {
        matches!(
            self,
            Self::Status { status: 500..=599 } | Self::Discovery { error: RefreshError::Status { status: 500..=599 } }
        )
    }
}

impl From<ExchangeError> for IntrospectionError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Fetch(FetchError::Timeout) => Self::Timeout,
            ExchangeError::Fetch(error) => Self::Network { error },
            ExchangeError::Redirect => Self::Redirect,
            ExchangeError::Status(status) if matches!(status.as_u16(), 401 | 403) => Self::CredentialsRefused,
            ExchangeError::Status(status) => Self::Status { status: status.as_u16() },
        }
    }
}

impl fmt::Display for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the introspection endpoint did not respond in time",
            Self::Network { error } => return error.fmt(f),
            Self::Redirect => "the introspection endpoint redirects, which is not followed",
            Self::CredentialsRefused => "the introspection endpoint refused the credentials of this API",
            Self::Status { status } => return write!(f, "the introspection endpoint responded with status {status}"),
            Self::ContentType => "the answer about the token has another media type than expected",
            Self::InvalidAnswer => "the answer about the token is not one JSON object with unique names",
            Self::InvalidActive => "the answer about the token has no member active that is true or false",
            Self::MalformedMember { member } => {
                return write!(f, "the member {member} of the answer about the token has a wrong type");
            }
            Self::Unsigned => "the answer about the token is not signed",
            Self::Signed { error } => return error.fmt(f),
            Self::Discovery { error } => return write!(f, "the introspection endpoint is not known: {error}"),
            Self::Overloaded => "too many requests wait for answers about tokens",
            Self::Panic => "the HTTP client panicked",
            Self::Interrupted => "the runtime of the call was shut down",
            Self::NoRuntime => "no tokio runtime is running",
            Self::NoEntropy => "the system has no entropy",
        })
    }
}

impl Error for IntrospectionError {}

impl fmt::Display for SignedAnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "the signed answer about the token is not a signed JWT",
            Self::Encrypted => "the answer about the token is encrypted; only signed answers are accepted",
            Self::Type => "the typ of the signed answer is not token-introspection+jwt",
            Self::Algorithm => "the algorithm of the signed answer is not one of the issuer's",
            Self::Key => "the issuer has no key for the signed answer",
            Self::Signature => "the signature of the signed answer is invalid",
            Self::Issuer => "the iss of the signed answer is not the issuer",
            Self::Audience => "the aud of the signed answer is not the client id of this API",
            Self::IssuedAt => "the iat of the signed answer is missing, in the future or too old",
            Self::Content => "the signed answer has no member token_introspection",
        })
    }
}

impl Error for SignedAnswerError {}

/// Why a call gave no answer, and when the client should retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable {
    pub(crate) cause: IntrospectionError,
    pub(crate) retry_after: Duration,
}

impl Unavailable {
    pub(super) fn new(cause: IntrospectionError, retry_after: Option<Duration>) -> Self {
        let retry_after = retry_after.unwrap_or_default();
        let retry_after = retry_after.clamp(defaults::RETRY_AFTER_MIN, defaults::INTROSPECTION_RETRY_AFTER_MAX);
        Self { cause, retry_after }
    }
}

impl From<IntrospectionError> for Unavailable {
    fn from(cause: IntrospectionError) -> Self {
        Self::new(cause, None)
    }
}

impl From<Unavailable> for IntrospectionRejection {
    fn from(Unavailable { cause, retry_after }: Unavailable) -> Self {
        Self::Unavailable { retry_after, cause }
    }
}

/// What is wrong with the settings of introspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntrospectionSettingError {
    /// The id or the secret of the client is empty, or has control characters.
    Credentials,
    /// The issuer has no `iss` value that is listed exactly, so there is no name for the issuer of opaque tokens.
    NoName,
    /// Signed answers name the client id of this API, and the authentication has none.
    NoClientId,
    /// Signed answers are verified with the public keys of the issuer, and the issuer has none.
    NoKeys,
    /// The issuer has algorithms, but no keys.
    AlgorithmsWithoutKeys,
    /// [`with_every_jwt`](super::Introspection::with_every_jwt) is set, but the issuer has no keys, so it has opaque tokens only.
    EveryJwtWithoutKeys,
    /// The prefix of tokens is empty, or has characters that no token has.
    Prefix,
    /// Several issuers have introspection, so each needs a prefix by which its opaque tokens are recognized.
    NoPrefix,
    /// The prefix of one issuer begins with that of another one.
    AmbiguousPrefix,
    /// The lifetime of positive answers is longer than 300 s.
    Ttl,
    /// The lifetime of negative answers is longer than 60 s.
    NegativeTtl,
    /// The grace period is longer than one hour.
    Grace,
    /// The timeout is not between 100 ms and 10 s.
    Timeout,
    /// The number of concurrent calls is not between 2 and 10,000.
    MaxCalls,
    /// The size of an answer is not between 1 KiB and 1 MiB.
    MaxAnswerBytes,
    /// [`dangerous_fail_open`](super::Introspection::dangerous_fail_open) is set, but JWTs are not introspected.
    FailOpenWithoutEveryJwt,
    /// The claims are to be those of the answer, but JWTs are not introspected.
    ClaimsWithoutEveryJwt,
}

impl fmt::Display for IntrospectionSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credentials => "has an empty client id, secret or token, or one with control characters",
            Self::NoName => "needs an issuer whose `iss` value is listed exactly",
            Self::NoClientId => "needs the client id for signed answers; set it with `with_client_id`",
            Self::NoKeys => "needs the issuer's public keys for signed answers; use an issuer with keys",
            Self::AlgorithmsWithoutKeys => "are listed, but the issuer has no keys",
            Self::EveryJwtWithoutKeys => {
                "includes JWTs, but the issuer has no keys to verify any; remove `with_every_jwt`"
            }
            Self::Prefix => "has a token prefix that is empty or that no token has",
            Self::NoPrefix => "needs `with_token_prefix`, because several issuers have introspection",
            Self::AmbiguousPrefix => "has a token prefix that begins with the prefix of another issuer",
            Self::Ttl => "has a ttl of more than 300 s",
            Self::NegativeTtl => "has a negative ttl of more than 60 s",
            Self::Grace => "has a grace period of more than one hour",
            Self::Timeout => "has a timeout that is not between 100 ms and 10 s",
            Self::MaxCalls => "has a number of calls that is not between 2 and 10,000",
            Self::MaxAnswerBytes => "has an answer size that is not between 1 KiB and 1 MiB",
            Self::ClaimsWithoutEveryJwt => "takes claims from answers, which has no effect without `with_every_jwt`",
            Self::FailOpenWithoutEveryJwt => "fails open, which has no effect without `with_every_jwt`",
        })
    }
}

impl Error for IntrospectionSettingError {}
