//! `ProofError`: why a proof is rejected.

use std::fmt;
use std::time::Duration;

use crate::keys::SkipReason;
use crate::request::NearMiss;
use crate::token::{Algorithm, TokenError};

/// The first check of a proof that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofError {
    /// The request has no `DPoP` field.
    Missing,
    /// The request has more than one `DPoP` field, or one field with several proofs (RFC 9449 §4.3, check 1).
    Multiple,
    /// The proof is longer than 4 KiB. It was not decoded.
    #[non_exhaustive]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The proof is not a compact JWS with a header and claims in JSON (check 2).
    Form(TokenError),
    /// `typ` is not `dpop+jwt` (check 4).
    Type,
    /// `alg` is missing, or not the name of a signature algorithm (check 5).
    UnknownAlgorithm,
    /// `alg` is not an algorithm that the API accepts for proofs (check 5).
    #[non_exhaustive]
    AlgorithmNotAccepted {
        /// The algorithm of the proof.
        algorithm: Algorithm,
    },
    /// The header has `crit` or `b64` (RFC 7515 §4.1.11, RFC 7797 §7).
    CriticalHeader,
    /// The header has no `jwk` (check 6).
    MissingKey,
    /// `jwk` is not a public key that can verify the proof (checks 6 and 7).
    Key(SkipReason),
    /// The token is bound to another key (check 12).
    OtherKey,
    /// A required claim is missing (check 3).
    MissingClaim(ProofClaim),
    /// A claim does not have its type, or is out of range.
    MalformedClaim(ProofClaim),
    /// `htm` is not the method of the request (check 8).
    Method,
    /// `htu` is not the URL of the request (check 9).
    #[non_exhaustive]
    Url {
        /// The only part that differs, if it is only one.
        near_miss: Option<NearMiss>,
    },
    /// The API has several public URLs, and the host of the request is not that of one of them.
    UnknownHost,
    /// `ath` is not the hash of the token (check 12).
    TokenHash,
    /// `iat` is too far in the future (check 11).
    #[non_exhaustive]
    IssuedInFuture {
        /// The time from now to `iat`.
        by: Duration,
    },
    /// `iat` is too long ago (check 11).
    #[non_exhaustive]
    TooOld {
        /// The time from `iat` to now.
        by: Duration,
    },
    /// `exp` is in the past.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// The proof has no current nonce of the server (check 10).
    Nonce(NonceError),
    /// The signature is invalid (check 6).
    Signature,
    /// The proof was used before (RFC 9449 §11.1). A retry needs a new proof.
    Replayed,
}

/// A claim of a proof (RFC 9449 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProofClaim {
    /// The identifier of the proof.
    Jti,
    /// The method of the request.
    Htm,
    /// The URL of the request.
    Htu,
    /// The time at which the proof was created.
    Iat,
    /// The hash of the token.
    Ath,
    /// The time at which the proof expires.
    Exp,
    /// The time before which the proof is not valid.
    Nbf,
}

/// Why the nonce of a proof is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NonceError {
    /// The proof has no nonce.
    Missing,
    /// The nonce is not a current one of this server.
    NotCurrent,
}

impl ProofError {
    /// Returns how far `iat` is from the time of this server, if that is why the proof is rejected.
    pub(crate) const fn off_by(self) -> Option<Duration> {
        match self {
            Self::IssuedInFuture { by } | Self::TooOld { by } => Some(by),
            _ => None,
        }
    }

    /// Returns the only part of `htu` that differs, if it is only one.
    pub(crate) const fn near_miss(self) -> Option<NearMiss> {
        match self {
            Self::Url { near_miss } => near_miss,
            _ => None,
        }
    }

    /// Returns the fixed word for logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Multiple => "multiple",
            Self::TooLong { .. } => "too_long",
            Self::Form(_) => "form",
            Self::Type => "typ",
            Self::UnknownAlgorithm | Self::AlgorithmNotAccepted { .. } => "alg",
            Self::CriticalHeader => "crit",
            Self::MissingKey | Self::Key(_) => "jwk",
            Self::OtherKey => "jkt",
            Self::MissingClaim(claim) | Self::MalformedClaim(claim) => claim.name(),
            Self::Method => "htm",
            Self::Url { .. } | Self::UnknownHost => "htu",
            Self::TokenHash => "ath",
            Self::IssuedInFuture { .. } | Self::TooOld { .. } => "iat",
            Self::Expired => "exp",
            Self::NotYetValid => "nbf",
            Self::Nonce(_) => "nonce",
            Self::Signature => "signature",
            Self::Replayed => "replayed",
        }
    }
}

impl ProofClaim {
    /// Returns the name of the claim.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Htm => "htm",
            Self::Htu => "htu",
            Self::Iat => "iat",
            Self::Ath => "ath",
            Self::Exp => "exp",
            Self::Nbf => "nbf",
        }
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the request has no DPoP proof"),
            Self::Multiple => f.write_str("the request has more than one DPoP proof"),
            Self::TooLong { length } => write!(f, "the DPoP proof has {length} bytes, more than the allowed 4096"),
            Self::Form(error) => write!(f, "the DPoP proof is malformed: {error}"),
            Self::Type => f.write_str("the typ of the DPoP proof is not dpop+jwt"),
            Self::UnknownAlgorithm => f.write_str("the alg of the DPoP proof is not a signature algorithm"),
            Self::AlgorithmNotAccepted { algorithm } => {
                write!(f, "the algorithm {algorithm} is not accepted for DPoP proofs")
            }
            Self::CriticalHeader => f.write_str("the DPoP proof has a critical extension (crit or b64)"),
            Self::MissingKey => f.write_str("the DPoP proof has no jwk"),
            Self::Key(reason) => write!(f, "the jwk of the DPoP proof cannot be used: {reason}"),
            Self::OtherKey => f.write_str("the token is bound to another key than that of the DPoP proof"),
            Self::MissingClaim(claim) => write!(f, "the DPoP proof has no {}", claim.name()),
            Self::MalformedClaim(claim) => write!(f, "{} of the DPoP proof is malformed", claim.name()),
            Self::Method => f.write_str("htm of the DPoP proof is not the method of the request"),
            Self::Url { near_miss: None } => f.write_str("htu of the DPoP proof is not the URL of the request"),
            Self::Url { near_miss: Some(near_miss) } => {
                write!(f, "htu of the DPoP proof is not the URL of the request; {near_miss}")
            }
            Self::UnknownHost => f.write_str("the host of the request is not that of a public URL of the API"),
            Self::TokenHash => f.write_str("ath of the DPoP proof is not the hash of the token"),
            Self::IssuedInFuture { by } => write!(f, "the DPoP proof was issued {by:?} in the future"),
            Self::TooOld { by } => write!(f, "the DPoP proof was issued {by:?} ago"),
            Self::Expired => f.write_str("the DPoP proof has expired"),
            Self::NotYetValid => f.write_str("the DPoP proof is not valid yet"),
            Self::Nonce(error) => error.fmt(f),
            Self::Signature => f.write_str("the signature of the DPoP proof is invalid"),
            Self::Replayed => f.write_str("the DPoP proof was used before"),
        }
    }
}

impl fmt::Display for NonceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the DPoP proof has no nonce",
            Self::NotCurrent => "the nonce of the DPoP proof is not a current one",
        })
    }
}

impl std::error::Error for ProofError {}

impl std::error::Error for NonceError {}
