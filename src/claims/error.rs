//! Why a claims set is not good enough.

use std::fmt;
use std::sync::Arc;

/// Why a claims set is not good enough for an API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimError {
    /// The header's `typ` is not one that the profile takes (RFC 8725 §3.11, RFC 9068 §4).
    TokenType,
    /// `iss` is not the issuer whose keys were asked (RFC 7519 §4.1.1).
    Issuer(ClaimErrorReason),
    /// `aud` holds none of the API's audiences (RFC 7519 §4.1.3, RFC 9068 §4).
    Audience(ClaimErrorReason),
    /// `exp` is missing or no date before the year 10,000 (RFC 7519 §4.1.4).
    Expiry(ClaimErrorReason),
    /// The token has expired; the leeway is used up.
    Expired,
    /// `nbf` is no date before the year 10,000 (RFC 7519 §4.1.5).
    NotBefore,
    /// The token is not valid yet, even with the leeway.
    NotYetValid,
    /// `iat` is no date, or missing though the maximum age needs it (RFC 7519 §4.1.6).
    IssuedAt(ClaimErrorReason),
    /// `iat` lies in the future, so the age is not known.
    IssuedInFuture,
    /// The token was issued longer ago than the maximum age.
    TooOld,
    /// `sub` is not a string (RFC 7519 §4.1.2).
    Subject,
    /// `jti` is not a string (RFC 7519 §4.1.7).
    JwtId,
    /// A required claim is missing, empty, or of another type than registered.
    Required {
        /// The claim's name, from the configuration.
        claim: Arc<str>,
        /// What is wrong with it.
        reason: ClaimErrorReason,
    },
    /// The client that the token was issued to is none of the API's (RFC 9068 §2.2 `client_id`, else `azp`).
    Client(ClaimErrorReason),
    /// The token is for none of the organizations that the API, or the request, names.
    Organization(ClaimErrorReason),
    /// `cnf` binds the token to a key (RFC 7800 §3.1), and nothing proves that the sender holds it (RFC 9449 §7.2).
    Confirmation,
    /// The token is an ID token (RFC 8725 §3.12); the name of the claim that says so.
    IdToken {
        /// `at_hash`, `c_hash`, `token_use`, `typ` or `nonce`.
        marker: &'static str,
    },
}

/// What is wrong with a claim that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClaimErrorReason {
    /// It is not there, or empty.
    Missing,
    /// It is of another type than registered, or out of range.
    Malformed,
    /// It holds another value than expected.
    Mismatch,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenType => f.write_str("the token's type is not taken here"),
            Self::Issuer(reason) => write!(f, "iss {reason}"),
            Self::Audience(reason) => write!(f, "aud {reason}"),
            Self::Expiry(reason) => write!(f, "exp {reason}"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotBefore => f.write_str("nbf is malformed"),
            Self::NotYetValid => f.write_str("the token is not valid yet"),
            Self::IssuedAt(reason) => write!(f, "iat {reason}"),
            Self::IssuedInFuture => f.write_str("the token was issued in the future"),
            Self::TooOld => f.write_str("the token was issued too long ago"),
            Self::Subject => f.write_str("sub is not a string"),
            Self::JwtId => f.write_str("jti is not a string"),
            Self::Required { claim, reason } => write!(f, "the required claim {claim} {reason}"),
            Self::Client(reason) => write!(f, "the client {reason}"),
            Self::Organization(reason) => write!(f, "the organization {reason}"),
            Self::Confirmation => f.write_str("the token is bound to a key, and no proof of possession was made"),
            Self::IdToken { marker } => write!(f, "an ID token is no access token ({marker} says that it is one)"),
        }
    }
}

impl fmt::Display for ClaimErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::Malformed => "is malformed",
            Self::Mismatch => "has another value",
        })
    }
}

impl std::error::Error for ClaimError {}
