//! `Rejection`: the reason why a request is rejected. It contains the error of the check that failed.

mod error;

use std::fmt;
use std::time::Duration;

pub use self::error::{CheckError, IssuerDifference, IssuerError, KeyNotFoundError};
use crate::claims::{ClaimError, ClaimErrorReason, CustomClaimsError};
use crate::dpop::{ProofError, ReplayError};
use crate::introspection::IntrospectionRejection;
use crate::jwks::{KeyWaitError, KeysUnavailable, RefreshError};
use crate::mutual_tls::CertificateError;
use crate::request::{CredentialError, HostError};
use crate::requirement::{self, RequirementError, UnmetRequirement};
use crate::revocation::RevocationKind;
use crate::token::{Algorithm, TokenError};

/// The reason why a request is rejected: the first check that failed, in the fixed order of the checks.
///
/// `Display` is for the log of the operator. A client receives only the status and a challenge with this `error` code (RFC 6750
/// §3.1):
///
/// | [kind](Rejection::kind) | status | `error` |
/// |---|---|---|
/// | `NoCredential` | 401 | none |
/// | `InvalidRequest` | 400 | `invalid_request` |
/// | `InsufficientScope` | 403 | `insufficient_scope` |
/// | `InsufficientAuthentication` | 401 | `insufficient_user_authentication` (RFC 9470) |
/// | `ProofNonce` | 401 | `use_dpop_nonce` (RFC 9449 §9) |
/// | `Proof`, `ProofReplayed` | 401 | `invalid_dpop_proof` (RFC 9449 §7.1) |
/// | `Scheme` | 401 | `invalid_token`; `invalid_dpop_proof` for a certificate-bound token under the scheme `DPoP`, if the API uses DPoP |
/// | `ReplayUnavailable` | 503 | no challenge, but `Retry-After` |
/// | `RequirementUnavailable` | 503 | no challenge, but `Retry-After` |
/// | `RevocationsUnavailable` | 503 | no challenge, but `Retry-After` |
/// | `IntrospectionUnavailable` | 503 | no challenge, but `Retry-After` |
/// | `IssuersUnavailable` | 503 | no challenge, but `Retry-After` |
/// | `KeysUnavailable` | 503 | no challenge, but `Retry-After` |
/// | every other kind | 401 | `invalid_token` |
///
/// The response to a gRPC call has the status 200. Its `grpc-status` is 16 instead of 400 and 401, 7 instead of 403, and 14
/// instead of 503.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The request has no credential, or one of another scheme.
    NoCredential,
    /// The request has more than one credential, or a malformed one (RFC 6750 §3.1: `invalid_request`).
    Credential(CredentialError),
    /// The host of the request is malformed or ambiguous. It is checked only if the API binds issuers to hosts, derives the
    /// organization from the request, or has several public URLs for DPoP.
    Host(HostError),
    /// The credential cannot be parsed as a token.
    Token(TokenError),
    /// The token's `iss` is not a trusted issuer.
    Issuer(IssuerError),
    /// The token's `alg` is not one of the algorithms of its issuer; see
    /// [`Issuer::with_algorithms`](crate::Issuer::with_algorithms).
    Algorithm {
        /// The algorithm in the token's header.
        algorithm: Algorithm,
    },
    /// The check of a claim failed, and the signature was not verified.
    UnverifiedClaims(ClaimError),
    /// The issuer has no key for this token.
    Key(KeyNotFoundError),
    /// The signature is invalid.
    Signature,
    /// The token is genuine, but the check of a claim failed.
    Claims(ClaimError),
    /// The signature is valid, but the claims cannot be deserialized into the application's custom claims type.
    CustomClaims(CustomClaimsError),
    /// The token is valid, but the request does not prove that its client has the key or the certificate of the token.
    Possession(PossessionError),
    /// The token is valid, but it is [revoked](crate::revocation).
    Revoked {
        /// What the entry names.
        by: RevocationKind,
    },
    /// The token is valid, but it is not known whether it is revoked: the [log](crate::revocation::RevocationLog) that processes share was
    /// not read yet, or not for too long. The cause is this service, not the client.
    #[non_exhaustive]
    RevocationsUnavailable {
        /// The time until the client should retry, at least one second.
        retry_after: Duration,
    },
    /// The server says that the token is not active, or gave no answer about it.
    Introspection(IntrospectionRejection),
    /// A check of the application rejects the claims.
    Check(CheckError),
    /// The token is valid, but does not meet the requirement of the route.
    Requirement(UnmetRequirement),
    /// The token is valid, but a rule of the application for the route cannot be evaluated: see
    /// [`RequirementError::unavailable`].
    #[non_exhaustive]
    RequirementUnavailable {
        /// The time until the client should retry, from the rule.
        retry_after: Duration,
    },
    /// The issuer's keys are not available, so the token cannot be verified.
    ///
    /// A test of an application gets this rejection from a validator whose [`TestIssuer`](crate::testing::TestIssuer) has an
    /// [outage](crate::testing::Outage).
    #[non_exhaustive]
    KeysUnavailable {
        /// The time until the next attempt to fetch the keys, at least one second; one second if an attempt is in flight.
        retry_after: Duration,
        /// How long the issuer has had no usable key: since the last keys expired, or since the first fetch started.
        unavailable_for: Duration,
        /// Why the last attempt failed, or why no attempt can be made; `None` if no attempt has ended yet.
        cause: Option<RefreshError>,
    },
}

/// The reason why a request does not prove that its client has the key or the certificate of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PossessionError {
    /// The token is bound to a key (`jkt`), and is sent as a bearer token (RFC 9449 §7.2).
    BearerScheme,
    /// The token is not bound to a key, and is sent under the scheme `DPoP` (RFC 9449 §7.1).
    NotBound,
    /// The token is bound to a certificate, not to a key, and is sent under the scheme `DPoP` without a proof, which the API does not
    /// [accept](crate::MutualTls::with_bound_tokens_under_dpop_scheme). RFC 8705 §3 uses the scheme `Bearer`.
    CertificateUnderDpop,
    /// The API accepts only sender-constrained tokens, and the request has a bearer token.
    Unconstrained,
    /// The token is bound to a key (`jkt`), and the API does not use DPoP.
    NoDpop,
    /// The client does not have the certificate to which the token is bound (RFC 8705 §3), or the header with it is malformed.
    Certificate(CertificateError),
    /// The proof is missing or invalid.
    Proof(ProofError),
    /// The replay store cannot say whether the proof was used before. The cause is this service, not the client.
    #[non_exhaustive]
    ReplayStore {
        /// The error of the store.
        error: ReplayError,
        /// The time until the client should retry, at least one second.
        retry_after: Duration,
    },
}

/// The kind of a rejection, without data: for logs, metrics and decisions. [`Rejection`] lists the status of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The request has no credential of a scheme that the API accepts.
    NoCredential,
    /// The credential, the host or the header with the client's certificate is malformed, or present more than once.
    InvalidRequest,
    /// The credential cannot be parsed as a token, for example because it is not a JWT, or because a member is present twice.
    MalformedToken,
    /// The token is longer than allowed.
    TokenTooLong,
    /// The issuer is not trusted.
    Issuer,
    /// The token's `alg` is not one of the algorithms of its issuer.
    Algorithm,
    /// The issuer has no key for the token.
    KeyNotFound,
    /// The signature is invalid.
    Signature,
    /// `typ` is not accepted, or a claim marks the token as an ID token.
    TokenType,
    /// `aud` does not contain an audience of the API.
    Audience,
    /// `exp` is in the past.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// `iat` is in the future, so the age of the token is unknown. Checked only if a maximum age is configured.
    IssuedInFuture,
    /// The token is older than the configured maximum age.
    TooOld,
    /// A required claim is missing or empty.
    MissingClaim,
    /// A claim does not have its registered type, or is out of range.
    MalformedClaim,
    /// The token was issued to a client that the API does not accept, or it names no client.
    Client,
    /// The token is for an organization that the API or the request does not accept, or it names no organization.
    Organization,
    /// The token is bound to a key or a certificate (`cnf`), and no proof of possession is configured; or `cnf` is malformed.
    Confirmation,
    /// The token is bound to a key and sent under the scheme `Bearer`, or not bound to a key and sent under the scheme `DPoP`.
    Scheme,
    /// The API accepts only sender-constrained tokens, and the request has a bearer token.
    Unconstrained,
    /// The client does not have the certificate to which the token is bound.
    Certificate,
    /// The proof is missing or invalid.
    Proof,
    /// The token is bound to another key than that of the proof.
    ProofKey,
    /// The proof has no current nonce of the server.
    ProofNonce,
    /// The proof was used before. A retry needs a new proof.
    ProofReplayed,
    /// The replay store cannot say whether the proof was used before.
    ReplayUnavailable,
    /// The token, its session, or all tokens of its subject, client or issuer up to a time are revoked.
    Revoked,
    /// It is not known whether the token is revoked. The cause is this service, not the client.
    RevocationsUnavailable,
    /// The server says that the token is not active.
    Inactive,
    /// The answer of the server contradicts the claims of the token.
    Contradicted,
    /// The server gave no answer about the token. The cause is this service or the server, not the client.
    IntrospectionUnavailable,
    /// The claims cannot be deserialized into the application's custom claims type.
    CustomClaims,
    /// A check of the application rejects the claims.
    Check,
    /// A required scope, permission or claim value is missing.
    InsufficientScope,
    /// The authentication is too weak or too old (RFC 9470).
    InsufficientAuthentication,
    /// A rule of the application cannot be evaluated. The cause is this service, not the client.
    RequirementUnavailable,
    /// It is not known whether the issuer is trusted. The cause is this service, not the client.
    IssuersUnavailable,
    /// The issuer's keys are not available. The cause is this service or the issuer, not the client.
    KeysUnavailable,
}

impl Rejection {
    /// Wraps the error of a wait for a key.
    pub(crate) fn from_key_wait(error: KeyWaitError) -> Self {
        match error {
            KeyWaitError::Unavailable(KeysUnavailable { retry_after, unavailable_for, cause }) => {
                Self::KeysUnavailable { retry_after, unavailable_for, cause }
            }
            KeyWaitError::NotReplaced => Self::Signature,
        }
    }

    /// Returns the kind, by which callers, logs and metrics distinguish rejections.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::NoCredential => RejectionKind::NoCredential,
            Self::Credential(_) | Self::Host(_) => RejectionKind::InvalidRequest,
            Self::Token(TokenError::TooLong { .. }) => RejectionKind::TokenTooLong,
            Self::Token(_) => RejectionKind::MalformedToken,
            Self::Issuer(IssuerError::Missing) => RejectionKind::MissingClaim,
            Self::Issuer(IssuerError::Malformed) => RejectionKind::MalformedClaim,
            Self::Issuer(error) if error.is_unavailable() => RejectionKind::IssuersUnavailable,
            Self::Issuer(_) => RejectionKind::Issuer,
            Self::Algorithm { .. } => RejectionKind::Algorithm,
            Self::Key(_) => RejectionKind::KeyNotFound,
            Self::Signature => RejectionKind::Signature,
            Self::UnverifiedClaims(error) | Self::Claims(error) => claim_kind(error),
            Self::CustomClaims(_) => RejectionKind::CustomClaims,
            Self::Possession(error) => possession_kind(*error),
            Self::Revoked { .. } => RejectionKind::Revoked,
            Self::RevocationsUnavailable { .. } => RejectionKind::RevocationsUnavailable,
            Self::Introspection(IntrospectionRejection::Inactive) => RejectionKind::Inactive,
            Self::Introspection(IntrospectionRejection::Contradicted { .. }) => RejectionKind::Contradicted,
            Self::Introspection(IntrospectionRejection::Unavailable { .. }) => RejectionKind::IntrospectionUnavailable,
            Self::Check(_) => RejectionKind::Check,
            Self::Requirement(UnmetRequirement::SenderConstraint { .. }) => RejectionKind::Unconstrained,
            Self::Requirement(UnmetRequirement::Authentication { .. }) => RejectionKind::InsufficientAuthentication,
            Self::Requirement(_) => RejectionKind::InsufficientScope,
            Self::RequirementUnavailable { .. } => RejectionKind::RequirementUnavailable,
            Self::KeysUnavailable { .. } => RejectionKind::KeysUnavailable,
        }
    }

    /// Returns whether a route rejects the request, and not the validation of its token. The code that checks the requirement of
    /// the route records such a rejection.
    pub(crate) fn is_of_route(&self) -> bool {
        matches!(self, Self::NoCredential | Self::Requirement(_) | Self::RequirementUnavailable { .. })
    }

    /// Returns the name of the error that makes the issuer, its keys or its answers unavailable.
    pub(crate) fn cause_name(&self) -> Option<&'static str> {
        match self {
            Self::KeysUnavailable { cause, .. } => cause.map(RefreshError::name),
            Self::Introspection(IntrospectionRejection::Unavailable { cause, .. }) => Some(cause.name()),
            Self::Issuer(IssuerError::TenantUnavailable { error }) => Some(error.name()),
            _ => None,
        }
    }

    /// Returns the error of the proof of possession, if the proof is the reason.
    pub(crate) fn proof_error(&self) -> Option<ProofError> {
        match self {
            Self::Possession(PossessionError::Proof(error)) => Some(*error),
            _ => None,
        }
    }

    /// Returns whether the signature was checked before the rejection. If not, or if the rejection is [`Rejection::Signature`],
    /// no content of the token can be trusted.
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
            | Self::Introspection(_)
            | Self::KeysUnavailable { .. } => false,
            // The grammar of the proof's field is checked before the token.
            Self::Possession(PossessionError::Proof(
                ProofError::Multiple | ProofError::TooLong { .. } | ProofError::Form(_),
            )) => false,
            Self::Signature
            | Self::Claims(_)
            | Self::CustomClaims(_)
            | Self::Possession(_)
            | Self::Revoked { .. }
            | Self::RevocationsUnavailable { .. }
            | Self::Check(_)
            | Self::Requirement(_)
            | Self::RequirementUnavailable { .. } => true,
        }
    }
}

fn possession_kind(error: PossessionError) -> RejectionKind {
    match error {
        PossessionError::BearerScheme | PossessionError::NotBound | PossessionError::CertificateUnderDpop => {
            RejectionKind::Scheme
        }
        PossessionError::Unconstrained => RejectionKind::Unconstrained,
        PossessionError::NoDpop => RejectionKind::Confirmation,
        PossessionError::Certificate(CertificateError::Header(_)) => RejectionKind::InvalidRequest,
        PossessionError::Certificate(_) => RejectionKind::Certificate,
        PossessionError::Proof(ProofError::OtherKey) => RejectionKind::ProofKey,
        PossessionError::Proof(ProofError::Nonce(_)) => RejectionKind::ProofNonce,
        PossessionError::Proof(ProofError::Replayed) => RejectionKind::ProofReplayed,
        PossessionError::Proof(_) => RejectionKind::Proof,
        PossessionError::ReplayStore { .. } => RejectionKind::ReplayUnavailable,
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
        ClaimError::SessionId => RejectionKind::MalformedClaim,
        ClaimError::IssuedAt(reason) | ClaimError::Required { reason, .. } => {
            reason_kind(*reason, RejectionKind::MalformedClaim)
        }
        ClaimError::Client(ClaimErrorReason::Malformed) | ClaimError::Organization(ClaimErrorReason::Malformed) => {
            RejectionKind::MalformedClaim
        }
        // Tokens without client or organization are common: such a token is not for this API, and not malformed.
        ClaimError::Client(_) => RejectionKind::Client,
        ClaimError::Organization(_) => RejectionKind::Organization,
        ClaimError::Confirmation | ClaimError::MalformedConfirmation => RejectionKind::Confirmation,
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
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::NoCredential,
        Self::InvalidRequest,
        Self::MalformedToken,
        Self::TokenTooLong,
        Self::Issuer,
        Self::Algorithm,
        Self::KeyNotFound,
        Self::Signature,
        Self::TokenType,
        Self::Audience,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInFuture,
        Self::TooOld,
        Self::MissingClaim,
        Self::MalformedClaim,
        Self::Client,
        Self::Organization,
        Self::Confirmation,
        Self::Scheme,
        Self::Unconstrained,
        Self::Certificate,
        Self::Proof,
        Self::ProofKey,
        Self::ProofNonce,
        Self::ProofReplayed,
        Self::ReplayUnavailable,
        Self::Revoked,
        Self::RevocationsUnavailable,
        Self::Inactive,
        Self::Contradicted,
        Self::IntrospectionUnavailable,
        Self::CustomClaims,
        Self::Check,
        Self::InsufficientScope,
        Self::InsufficientAuthentication,
        Self::RequirementUnavailable,
        Self::IssuersUnavailable,
        Self::KeysUnavailable,
    ];

    /// Returns the kind with this [name](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Returns the stable snake_case name for logs and metrics, such as `key_not_found`.
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
            Self::Scheme => "scheme",
            Self::Unconstrained => "unconstrained",
            Self::Certificate => "certificate",
            Self::Proof => "proof",
            Self::ProofKey => "proof_key",
            Self::ProofNonce => "nonce",
            Self::ProofReplayed => "replayed",
            Self::ReplayUnavailable => "replay_unavailable",
            Self::Revoked => "revoked",
            Self::RevocationsUnavailable => "revocations_unavailable",
            Self::Inactive => "inactive",
            Self::Contradicted => "contradicted",
            Self::IntrospectionUnavailable => "introspection_unavailable",
            Self::CustomClaims => "custom_claims",
            Self::Check => "check",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientAuthentication => "insufficient_authentication",
            Self::RequirementUnavailable => "requirement_unavailable",
            Self::IssuersUnavailable => "issuers_unavailable",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

impl fmt::Display for RejectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
            Self::Algorithm { algorithm } => write!(f, "the algorithm {algorithm} is not allowed for this issuer"),
            Self::UnverifiedClaims(error) => write!(f, "{error} (signature not checked)"),
            Self::Key(error) => error.fmt(f),
            Self::Signature => f.write_str("the signature is invalid"),
            Self::Claims(error) => error.fmt(f),
            Self::CustomClaims(_) => f.write_str("the claims do not match the application's custom claims type"),
            Self::Possession(error) => error.fmt(f),
            Self::Revoked { by } => write!(f, "the token is revoked ({by})"),
            Self::RevocationsUnavailable { .. } => f.write_str("it is not known whether the token is revoked"),
            Self::Introspection(error) => error.fmt(f),
            Self::Check(_) => f.write_str("a check of the application rejected the token"),
            Self::Requirement(unmet) => unmet.fmt(f),
            Self::RequirementUnavailable { .. } => f.write_str(requirement::UNAVAILABLE),
            Self::KeysUnavailable { .. } => f.write_str("the issuer's keys are not available"),
        }
    }
}

impl std::error::Error for Rejection {
    /// Returns the [`CustomClaimsError`] of [`Rejection::CustomClaims`] and the cause of missing keys or answers. The
    /// `Display` text of every other rejection is that of the error in it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::CustomClaims(error) => Some(error),
            Self::KeysUnavailable { cause: Some(cause), .. } => Some(cause),
            Self::Introspection(error) => error.source(),
            _ => None,
        }
    }
}

impl From<RequirementError> for Rejection {
    fn from(error: RequirementError) -> Self {
        match error.into_reason() {
            requirement::Reason::Unmet(unmet) => Self::Requirement(unmet),
            requirement::Reason::Unavailable { retry_after } => Self::RequirementUnavailable { retry_after },
        }
    }
}

impl fmt::Display for PossessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BearerScheme => f.write_str("the token is bound to a key (jkt), and is sent as a bearer token"),
            Self::NotBound => f.write_str("the token is not bound to a key (jkt), and is sent under the scheme DPoP"),
            Self::CertificateUnderDpop => {
                f.write_str("the token is bound to a certificate, and is sent under the scheme DPoP without a proof")
            }
            Self::Unconstrained => f.write_str("the API accepts only sender-constrained tokens"),
            Self::NoDpop => f.write_str("the token is bound to a key (jkt), and the API does not use DPoP"),
            Self::Certificate(error) => error.fmt(f),
            Self::Proof(error) => error.fmt(f),
            Self::ReplayStore { error, .. } => error.fmt(f),
        }
    }
}

impl std::error::Error for PossessionError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variants are in the order of `ALL`, which is that of the derived `Ord`, so a gap is a missing variant.
    #[test]
    fn all_lists_every_kind_once() {
        let positions: Vec<isize> = RejectionKind::ALL.iter().map(|kind| position(*kind)).collect();
        assert!(positions.iter().copied().eq(0..position(RejectionKind::KeysUnavailable) + 1), "{positions:?}");
        assert!(RejectionKind::ALL.iter().all(|kind| RejectionKind::from_name(kind.name()) == Some(*kind)));
        assert_eq!(RejectionKind::from_name("Audience"), None);
    }

    #[expect(clippy::as_conversions, reason = "the number of a variant")]
    fn position(kind: RejectionKind) -> isize {
        kind as isize
    }
}
