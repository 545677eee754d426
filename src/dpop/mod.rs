//! Proofs of possession: DPoP (RFC 9449).
//!
//! A token that is bound to a key is accepted only together with a proof: a small JWS that the client signs for each request,
//! with its method, its URL and the hash of the token. A stolen token is useless without the key.
//!
//! [`verify`] checks one proof and is pure: it uses no clock, no lock, no network and no state. It does not check whether the proof
//! was used before; a [`ReplayStore`] does.
//!
//! # Order of the checks
//!
//! 1. Form: at most 4 KiB, three segments of canonical base64url.
//! 2. Header: `typ`, `alg`, no critical extension, `jwk`. The thumbprint of `jwk` equals the `jkt` of the token.
//! 3. Claims: `jti`, `htm`, `htu`, `ath`, `iat`, `exp`, `nbf`.
//! 4. `nonce`, where the server requires nonces.
//! 5. Signature.
//!
//! Every check that needs no signature comes before it, so that only the owner of the token's key causes its cost.

mod body;
mod error;
mod head;
mod nonce;
mod policy;
mod proof;
mod proof_id;
mod replay;
mod rules;
mod settings;
mod verify;

pub use self::error::{NonceError, ProofClaim, ProofError};
pub(crate) use self::head::ProofHead;
pub use self::nonce::{CurrentNonces, Nonces};
pub(crate) use self::nonce::{NonceAge, NonceSource};
pub use self::policy::ProofPolicy;
pub(crate) use self::proof::{ProofSegments, UnverifiedProof};
pub use self::proof_id::ProofId;
pub use self::replay::{MemoryReplayStore, ProofUse, Recording, RecordingFuture, ReplayError, ReplayStore};
pub(crate) use self::rules::{DpopRules, algorithm_names};
pub use self::settings::Dpop;
pub(crate) use self::settings::ReplayDetection;
pub(crate) use self::verify::verify_with_known_head;
pub use self::verify::{AccessTokenHash, Expected, VerifiedProof, verify};

use http::HeaderName;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

/// The header that contains the proof (RFC 9449 §4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header that gives a client its next nonce (RFC 9449 §8).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The request headers that a browser must be allowed to send: `Access-Control-Allow-Headers`.
pub const REQUEST_HEADERS: [HeaderName; 2] = [AUTHORIZATION, DPOP];

/// The response headers that a browser must be able to read, also in error responses: `Access-Control-Expose-Headers` (RFC 9449
/// §8).
pub const RESPONSE_HEADERS: [HeaderName; 2] = [WWW_AUTHENTICATE, DPOP_NONCE];

#[cfg(test)]
mod tests;
