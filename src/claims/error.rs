//! `ClaimError`: the reason why a claim fails its check.

use std::fmt;
use std::sync::Arc;

/// The first check of the claims set that failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimError {
    /// The header's `typ` is not accepted by the profile (RFC 8725 §3.11, RFC 9068 §4).
    TokenType,
    /// `iss` is not the issuer whose keys verify the token (RFC 7519 §4.1.1).
    Issuer(ClaimErrorReason),
    /// `aud` contains none of the API's audiences (RFC 7519 §4.1.3, RFC 9068 §4).
    Audience(ClaimErrorReason),
    /// `exp` is missing, or not a date before the year 10,000 (RFC 7519 §4.1.4).
    Expiry(ClaimErrorReason),
    /// The token has expired, even with the leeway.
    Expired,
    /// `nbf` is not a date before the year 10,000 (RFC 7519 §4.1.5).
    NotBefore,
    /// The token is not valid yet, even with the leeway.
    NotYetValid,
    /// `iat` is not a date, or it is missing although a maximum age is configured (RFC 7519 §4.1.6).
    IssuedAt(ClaimErrorReason),
    /// `iat` is in the future, so the age of the token is unknown. Checked only if a maximum age is configured.
    IssuedInFuture,
    /// The token is older than the maximum age.
    TooOld,
    /// `sub` is not a string (RFC 7519 §4.1.2).
    Subject,
    /// `jti` is not a string (RFC 7519 §4.1.7).
    JwtId,
    /// `sid` is not a string, and sessions of the issuer are [revoked](crate::revocation).
    SessionId,
    /// A required claim is missing, empty, or not of its registered type.
    Required {
        /// The claim's name, from the configuration.
        claim: Arc<str>,
        /// What is wrong with the claim.
        reason: ClaimErrorReason,
    },
    /// The token was issued to none of the configured clients: `client_id` (RFC 9068 §2.2), or `azp` if there is no
    /// `client_id`.
    Client(ClaimErrorReason),
    /// The token is for none of the organizations that the API or the request names.
    Organization(ClaimErrorReason),
    /// `cnf` binds the token to a key or a certificate (RFC 7800 §3.1), and no proof of possession is configured.
    Confirmation,
    /// `cnf` is malformed, or has none of the members that this crate can check (RFC 7800 §3.1).
    MalformedConfirmation,
    /// The token is an ID token (RFC 8725 §3.12).
    IdToken {
        /// The claim that marks the token as an ID token: `at_hash`, `c_hash`, `token_use`, `typ` or `nonce`.
        marker: &'static str,
    },
}

/// The reason why a claim is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimErrorReason {
    /// The claim is absent or empty.
    Missing,
    /// The claim does not have its registered type, or is out of range.
    Malformed,
    /// The claim does not have an expected value.
    Mismatch,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenType => f.write_str(
                "the token type (typ, or token_type or token_use of an introspection answer) is not accepted",
            ),
            Self::Issuer(reason) => write!(f, "iss {reason}"),
            Self::Audience(reason) => write!(f, "aud {reason}"),
            Self::Expiry(reason) => write!(f, "exp {reason}"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotBefore => f.write_str("nbf is malformed"),
            Self::NotYetValid => f.write_str("the token is not valid yet"),
            Self::IssuedAt(reason) => write!(f, "iat {reason}"),
            Self::IssuedInFuture => f.write_str("the token was issued in the future"),
            Self::TooOld => f.write_str("the token is older than the maximum age"),
            Self::Subject => f.write_str("sub is not a string"),
            Self::JwtId => f.write_str("jti is not a string"),
            Self::SessionId => f.write_str("sid is not a string, and sessions of the issuer are revoked"),
            Self::Required { claim, reason } => write!(f, "the required claim {claim} {reason}"),
            Self::Client(reason) => write!(f, "the client {reason}"),
            Self::Organization(reason) => write!(f, "the organization {reason}"),
            Self::Confirmation => {
                f.write_str("the token is bound to a key (cnf), and the request has no proof of possession")
            }
            Self::MalformedConfirmation => f.write_str("cnf is malformed, or has no member that can be checked"),
            Self::IdToken { marker } => write!(f, "the token is an ID token, not an access token (claim {marker})"),
        }
    }
}

impl fmt::Display for ClaimErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Malformed => "is malformed",
            Self::Mismatch => "does not match",
        })
    }
}

impl std::error::Error for ClaimError {}
