//! The umbrella over every stage's small error.

use std::fmt;
use std::time::Duration;

use crate::claims::{ClaimError, ClaimErrorReason, CustomClaimsError};
use crate::jwks::RefreshError;
use crate::request::HostError;
use crate::request::credential::CredentialError;
use crate::requirement::UnmetRequirement;
use crate::token::{Algorithm, TokenError};

/// Why a request gets no claims: the first check that failed, in the fixed order of the pipeline.
///
/// `Display` says it to the operator, never to the client: what the client may know is the challenge's business.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no credential, or one of another scheme.
    NoCredential,
    /// The credential is doubled or malformed (RFC 6750 §3.1: `invalid_request`).
    Credential(CredentialError),
    /// The request's host cannot be told, and the API binds issuers to hosts.
    Host(HostError),
    /// The credential is no token that could be judged.
    Token(TokenError),
    /// The claimed issuer is none that is trusted here.
    Issuer(IssuerError),
    /// The token's `alg` is not in the issuer's list.
    Algorithm {
        /// What the token claims.
        algorithm: Algorithm,
    },
    /// A claim refuses already before the signature is looked at.
    UnverifiedClaims(ClaimError),
    /// The issuer has no key for this token.
    Key(KeyNotFound),
    /// The signature does not hold.
    Signature,
    /// The token is genuine, and a claim refuses it.
    Claims(ClaimError),
    /// The token is genuine, and its claims are not of the shape of the application's own type.
    CustomClaims(CustomClaimsError),
    /// A check of the application's refuses.
    Check(CheckError),
    /// The token is good, and does not allow this.
    Requirement(UnmetRequirement),
    /// The issuer's keys could not be had; the token was not judged. Clients are told when to come back, and no more.
    KeysUnavailable {
        /// Until the next attempt, at least a second.
        retry_after: Duration,
        /// For how long no key could be used: since the last ones expired, or since the first were asked for.
        since: Duration,
        /// What the last attempt failed of, or what keeps any from being made; `None` if none has ended yet.
        cause: Option<RefreshError>,
    },
}

/// Why no trusted issuer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuerError {
    /// The token has no `iss`.
    Missing,
    /// `iss` is not one string.
    Malformed,
    /// `iss` is not a configured issuer.
    Unknown {
        /// How it misses a configured one by a hair, if it does.
        near: Option<NearMiss>,
    },
    /// `iss` is trusted, but not under the host that the request used.
    NotForHost,
    /// The host that the request used belongs to no issuer, or there is none.
    UnknownHost,
}

/// How an `iss` resembles a configured issuer without being it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NearMiss {
    /// The token's `iss` lacks the trailing slash.
    MissingSlash,
    /// The token's `iss` has a trailing slash too many.
    ExtraSlash,
    /// Only upper and lower case differ.
    Case,
    /// Only `http` and `https` differ.
    Scheme,
}

/// Why the issuer has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyNotFound {
    /// The key set has no such `kid`.
    Unknown {
        /// How long ago the issuer confirmed that set; `None` for keys and secrets that were given.
        ///
        /// It is zero where the set was fetched for this very token. Tests that want an exact value read it off a
        /// [`FakeClock`](crate::testing::FakeClock), others leave it out with `..`.
        age: Option<Duration>,
    },
    /// The `kid` is there, or the token has none, and no such key is usable: it was skipped (its size, its `use`, its
    /// encoding), it is for another algorithm, or its `kid` is revoked.
    NotForVerification,
    /// The token has no `kid`, and more than one key fits.
    Ambiguous,
}

/// A check of the application's own that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CheckError;

impl CheckError {
    /// Refuses the token as invalid: 401 `invalid_token`.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Default for CheckError {
    fn default() -> Self {
        Self::new()
    }
}

/// The kinds of rejection, for logs and metrics: few, fixed, and without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RejectionKind {
    /// No credential of the Bearer scheme.
    NoCredential,
    /// A doubled or malformed credential, or host.
    InvalidRequest,
    /// No token, or one that cannot be read one way only.
    MalformedToken,
    /// Longer than allowed.
    TokenTooLong,
    /// Not a trusted issuer.
    Issuer,
    /// Not an allowed algorithm.
    Algorithm,
    /// No such key.
    KeyNotFound,
    /// The signature does not hold.
    Signature,
    /// `typ`, or the marks of an ID token.
    TokenType,
    /// `aud` names other APIs.
    Audience,
    /// `exp` lies in the past.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// `iat` is in the future, so that the age of the token is unknown.
    IssuedInFuture,
    /// The token is older than the maximum age.
    TooOld,
    /// A claim that must be there is missing, or empty.
    MissingClaim,
    /// A claim has another type than registered, or is out of range.
    MalformedClaim,
    /// The client that the token was issued to is another, or none.
    Client,
    /// The organization that the token is for is another, or none.
    Organization,
    /// Bound to a key.
    Confirmation,
    /// Not of the application's shape.
    CustomClaims,
    /// The application's own check.
    Check,
    /// Not enough scope or permission.
    InsufficientScope,
    /// Authentication too weak or too old.
    InsufficientAuthentication,
    /// No keys: nobody's fault but ours or the issuer's.
    KeysUnavailable,
}

impl Rejection {
    /// The kind, by which callers, logs and metrics tell rejections apart.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::NoCredential => RejectionKind::NoCredential,
            Self::Credential(_) | Self::Host(_) => RejectionKind::InvalidRequest,
            Self::Token(TokenError::TooLong { .. }) => RejectionKind::TokenTooLong,
            Self::Token(_) => RejectionKind::MalformedToken,
            Self::Issuer(IssuerError::Missing) => RejectionKind::MissingClaim,
            Self::Issuer(IssuerError::Malformed) => RejectionKind::MalformedClaim,
            Self::Issuer(_) => RejectionKind::Issuer,
            Self::Algorithm { .. } => RejectionKind::Algorithm,
            Self::Key(_) => RejectionKind::KeyNotFound,
            Self::Signature => RejectionKind::Signature,
            Self::UnverifiedClaims(error) | Self::Claims(error) => claim_kind(error),
            Self::CustomClaims(_) => RejectionKind::CustomClaims,
            Self::Check(_) => RejectionKind::Check,
            Self::Requirement(UnmetRequirement::Authentication { .. }) => RejectionKind::InsufficientAuthentication,
            Self::Requirement(_) => RejectionKind::InsufficientScope,
            Self::KeysUnavailable { .. } => RejectionKind::KeysUnavailable,
        }
    }

    /// The fixed name of what keeps the issuer's keys away.
    pub(crate) fn cause_name(&self) -> Option<&'static str> {
        match self {
            Self::KeysUnavailable { cause, .. } => cause.map(RefreshError::name),
            _ => None,
        }
    }

    /// Says whether the signature was looked at. Where it was not, nothing of the token is known to be true.
    #[must_use]
    pub fn signature_checked(&self) -> bool {
        match self {
            Self::NoCredential
            | Self::Credential(_)
            | Self::Host(_)
            | Self::Token(_)
            | Self::Issuer(_)
            | Self::Algorithm { .. }
            | Self::UnverifiedClaims(_)
            | Self::Key(_)
            | Self::KeysUnavailable { .. } => false,
            Self::Signature | Self::Claims(_) | Self::CustomClaims(_) | Self::Check(_) | Self::Requirement(_) => true,
        }
    }
}

fn claim_kind(error: &ClaimError) -> RejectionKind {
    match error {
        ClaimError::TokenType | ClaimError::IdToken { .. } => RejectionKind::TokenType,
        ClaimError::Issuer(reason) => reason_kind(*reason, RejectionKind::Issuer),
        ClaimError::Audience(reason) => reason_kind(*reason, RejectionKind::Audience),
        ClaimError::Expiry(reason) => reason_kind(*reason, RejectionKind::Expired),
        ClaimError::Expired => RejectionKind::Expired,
        ClaimError::NotYetValid => RejectionKind::NotYetValid,
        ClaimError::IssuedInFuture => RejectionKind::IssuedInFuture,
        ClaimError::TooOld => RejectionKind::TooOld,
        ClaimError::NotBefore | ClaimError::Subject | ClaimError::JwtId => RejectionKind::MalformedClaim,
        ClaimError::IssuedAt(reason) | ClaimError::Required { reason, .. } => {
            reason_kind(*reason, RejectionKind::MalformedClaim)
        }
        ClaimError::Client(ClaimErrorReason::Malformed) | ClaimError::Organization(ClaimErrorReason::Malformed) => {
            RejectionKind::MalformedClaim
        }
        // Tokens without client or organization are common: this API is not for them.
        ClaimError::Client(_) => RejectionKind::Client,
        ClaimError::Organization(_) => RejectionKind::Organization,
        ClaimError::Confirmation => RejectionKind::Confirmation,
    }
}

fn reason_kind(reason: ClaimErrorReason, mismatch: RejectionKind) -> RejectionKind {
    match reason {
        ClaimErrorReason::Missing => RejectionKind::MissingClaim,
        ClaimErrorReason::Malformed => RejectionKind::MalformedClaim,
        ClaimErrorReason::Mismatch => mismatch,
    }
}

impl RejectionKind {
    /// A fixed name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::InvalidRequest => "invalid_request",
            Self::MalformedToken => "malformed_token",
            Self::TokenTooLong => "token_too_long",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::KeyNotFound => "key_not_found",
            Self::Signature => "signature",
            Self::TokenType => "token_type",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::TooOld => "too_old",
            Self::MissingClaim => "missing_claim",
            Self::MalformedClaim => "malformed_claim",
            Self::Client => "client",
            Self::Organization => "organization",
            Self::Confirmation => "confirmation",
            Self::CustomClaims => "custom_claims",
            Self::Check => "check",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientAuthentication => "insufficient_authentication",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredential => f.write_str("no bearer token"),
            Self::Credential(error) => error.fmt(f),
            Self::Host(error) => error.fmt(f),
            Self::Token(error) => error.fmt(f),
            Self::Issuer(error) => error.fmt(f),
            Self::Algorithm { algorithm } => write!(f, "{algorithm} is not an algorithm of this issuer"),
            Self::UnverifiedClaims(error) => write!(f, "{error} (signature not checked)"),
            Self::Key(error) => error.fmt(f),
            Self::Signature => f.write_str("the signature does not hold"),
            Self::Claims(error) => error.fmt(f),
            Self::CustomClaims(_) => f.write_str("the claims are not of the application's shape"),
            Self::Check(_) => f.write_str("a check of the application refuses"),
            Self::Requirement(unmet) => unmet.fmt(f),
            Self::KeysUnavailable { cause: None, .. } => f.write_str("the issuer's keys are not available"),
            Self::KeysUnavailable { cause: Some(cause), .. } => {
                write!(f, "the issuer's keys are not available: {cause}")
            }
        }
    }
}

impl std::error::Error for Rejection {
    /// The member and the reason of [`Rejection::CustomClaims`]; what `Display` says of any other rejection is all.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CustomClaims(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "iss is missing",
            Self::Malformed => "iss is not one string",
            Self::Unknown { near: None } => "iss is not a trusted issuer",
            Self::Unknown { near: Some(NearMiss::MissingSlash | NearMiss::ExtraSlash) } => {
                "iss is not a trusted issuer; one differs by the trailing slash only"
            }
            Self::Unknown { near: Some(NearMiss::Case) } => {
                "iss is not a trusted issuer; one differs by upper and lower case only"
            }
            Self::Unknown { near: Some(NearMiss::Scheme) } => {
                "iss is not a trusted issuer; one differs by http and https only"
            }
            Self::NotForHost => "iss is trusted, but not under the host of this request",
            Self::UnknownHost => "the host of this request, if one is known, belongs to no issuer",
        })
    }
}

impl fmt::Display for KeyNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown { .. } => "the issuer has no key of that kid",
            Self::NotForVerification => "the issuer has no usable key for the token's kid and algorithm",
            Self::Ambiguous => "the token has no kid, and more than one key of the issuer fits",
        })
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check of the application refuses")
    }
}

impl std::error::Error for IssuerError {}
impl std::error::Error for KeyNotFound {}
impl std::error::Error for CheckError {}
