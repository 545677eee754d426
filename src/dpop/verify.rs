//! `verify`: all checks of a proof except that for replay.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;

use crate::clock::Timestamp;
use crate::dpop::body::ProofBody;
use crate::dpop::error::{NonceError, ProofError};
use crate::dpop::head::ProofHead;
use crate::dpop::nonce::{CurrentNonces, NonceAge, UsedNonce};
use crate::dpop::policy::ProofPolicy;
use crate::dpop::proof::UnverifiedProof;
use crate::dpop::proof_id::ProofId;
use crate::keys::{self, Thumbprint};
use crate::request::{Handshake, PublicUrl};
use crate::token;

/// What a proof must be about: the request, the token, and the key to which the token is bound.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    method: &'e Method,
    /// `None` if the host of the request is not that of a public URL.
    url: Option<&'e PublicUrl>,
    path: &'e str,
    handshake: Handshake,
    token: AccessTokenHash,
    key: Thumbprint,
    nonces: Option<&'e CurrentNonces>,
}

impl<'e> Expected<'e> {
    /// Creates the expectation for a request: its method, the public URL of the API, the path of the request target without the
    /// query, the hash of the token, and the `jkt` of the token.
    #[must_use]
    pub fn new(method: &'e Method, url: &'e PublicUrl, path: &'e str, token: AccessTokenHash, key: Thumbprint) -> Self {
        Self::for_request(method, Some(url), path, token, key)
    }

    /// Requires a nonce of this server, see [`Nonces::current`](super::Nonces::current). Default: a nonce is ignored.
    #[must_use]
    pub fn with_nonces(mut self, nonces: &'e CurrentNonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// Creates the expectation for a request. Without a URL, every proof is rejected as one for an unknown host.
    pub(crate) fn for_request(
        method: &'e Method,
        url: Option<&'e PublicUrl>,
        path: &'e str,
        token: AccessTokenHash,
        key: Thumbprint,
    ) -> Self {
        Self { method, url, path, handshake: Handshake::None, token, key, nonces: None }
    }

    pub(crate) fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }
}

/// The SHA-256 hash of an access token, as `ath` contains it (RFC 9449 §4.2). `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessTokenHash(
    /// In base64url without padding. A hash has only one such text.
    [u8; 43],
);

impl AccessTokenHash {
    /// Hashes the text of a token, without its scheme.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self::from_bytes(token.as_bytes())
    }

    pub(crate) fn from_bytes(token: &[u8]) -> Self {
        let mut text = [0; 43];
        // The text of 32 bytes has 43 characters, so this cannot fail. If it did, `text` would equal no `ath`.
        let _length = URL_SAFE_NO_PAD.encode_slice(keys::sha256(token), &mut text);
        Self(text)
    }

    /// Returns whether the text is the hash in base64url without padding.
    fn is(&self, text: &str) -> bool {
        *text.as_bytes() == self.0
    }
}

impl fmt::Debug for AccessTokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokenHash(..)")
    }
}

/// A proof that passed every check except that for replay. Only [`verify`] creates one, so a [`ReplayStore`](super::ReplayStore)
/// records only proofs whose sender has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedProof {
    id: ProofId,
    created_at: Timestamp,
    accepted_until: Timestamp,
    nonce: Option<NonceAge>,
}

impl VerifiedProof {
    /// Returns the identifier under which the proof is recorded.
    #[must_use]
    pub fn id(&self) -> ProofId {
        self.id
    }

    /// Returns when the proof was created: `iat` or, with nonces, the start of the period of its nonce.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns the last point in time at which the proof is accepted. Until then it must not be accepted a second time.
    #[must_use]
    pub fn accepted_until(&self) -> Timestamp {
        self.accepted_until
    }

    #[cfg(test)]
    pub(crate) fn for_tests(id: ProofId, created_at: Timestamp, accepted_until: Timestamp) -> Self {
        Self { id, created_at, accepted_until, nonce: None }
    }

    pub(crate) fn nonce_age(&self) -> Option<NonceAge> {
        self.nonce
    }
}

/// Checks a proof at the time `now`, except for replay (RFC 9449 §4.3).
///
/// # Errors
///
/// Returns [`ProofError`] for the first check that fails, in the order of the [module](super).
///
/// # Security
///
/// The result says nothing about the token. `expected` must contain the `jkt` of a token that was validated.
pub fn verify(
    proof: &str,
    expected: &Expected<'_>,
    policy: &ProofPolicy,
    now: Timestamp,
) -> Result<VerifiedProof, ProofError> {
    let proof = UnverifiedProof::parse(proof.as_bytes())?;
    verify_with_known_head(&proof, None, expected, policy, now).map(|(verified, _)| verified)
}

/// Checks a proof like [`verify`]. `known` is the head of an earlier proof under the same policy. Returns the head unless it is
/// the known one.
pub(crate) fn verify_with_known_head(
    proof: &UnverifiedProof<'_>,
    known: Option<&ProofHead>,
    expected: &Expected<'_>,
    policy: &ProofPolicy,
    now: Timestamp,
) -> Result<(VerifiedProof, Option<ProofHead>), ProofError> {
    let verify = |head: &ProofHead| BoundProof { head, proof }.check_claims(expected, policy, now)?.check_signature();
    match known.filter(|head| head.is_head_of(proof) && head.thumbprint() == expected.key) {
        Some(head) => Ok((verify(head)?, None)),
        None => {
            let head = ProofHead::parse(proof, policy, &expected.key)?;
            Ok((verify(&head)?, Some(head)))
        }
    }
}

/// A proof whose key is that of the token.
struct BoundProof<'p> {
    head: &'p ProofHead,
    proof: &'p UnverifiedProof<'p>,
}

impl<'p> BoundProof<'p> {
    fn check_claims(
        self,
        expected: &Expected<'_>,
        policy: &ProofPolicy,
        now: Timestamp,
    ) -> Result<CheckedProof<'p>, ProofError> {
        let json = self.proof.claims()?;
        let body = ProofBody::parse(&json)?;
        // RFC 9110 §9.1: a method is case-sensitive.
        if body.method != expected.method.as_str() {
            return Err(ProofError::Method);
        }
        let url = expected.url.ok_or(ProofError::UnknownHost)?;
        url.check(&body.url, expected.path, expected.handshake).map_err(|near_miss| ProofError::Url { near_miss })?;
        if !expected.token.is(&body.token_hash) {
            return Err(ProofError::TokenHash);
        }
        if policy.compares_issued_at(expected.nonces.is_some()) {
            check_issued_at(body.issued_at, policy, now)?;
        }
        check_dates(&body, policy, now)?;
        let nonce = expected.nonces.map(|nonces| check_nonce(&body, nonces)).transpose()?;
        let (created_at, accepted_until) = match &nonce {
            Some(nonce) => (nonce.starts_at, nonce.accepted_until),
            None => (body.issued_at, policy.accepts_until(body.issued_at)),
        };
        let id = ProofId::new(&self.head.thumbprint(), &body.jti);
        let verified = VerifiedProof { id, created_at, accepted_until, nonce: nonce.map(|nonce| nonce.age) };
        Ok(CheckedProof { bound: self, verified })
    }
}

/// A proof that is valid if its signature is.
struct CheckedProof<'p> {
    bound: BoundProof<'p>,
    verified: VerifiedProof,
}

impl CheckedProof<'_> {
    fn check_signature(self) -> Result<VerifiedProof, ProofError> {
        self.bound.head.verify(self.bound.proof).map(|()| self.verified)
    }
}

/// Both ends of the period are included.
fn check_issued_at(issued_at: Timestamp, policy: &ProofPolicy, now: Timestamp) -> Result<(), ProofError> {
    if issued_at > now.saturating_add(policy.leeway()) {
        return Err(ProofError::IssuedInFuture { by: issued_at.saturating_since(now) });
    }
    if now > policy.accepts_until(issued_at) {
        return Err(ProofError::TooOld { by: now.saturating_since(issued_at) });
    }
    Ok(())
}

/// RFC 7519 §4.1.4 and §4.1.5, for a proof that has these claims.
fn check_dates(body: &ProofBody<'_>, policy: &ProofPolicy, now: Timestamp) -> Result<(), ProofError> {
    if body.expires_at.is_some_and(|expires_at| now >= expires_at.saturating_add(policy.leeway())) {
        return Err(ProofError::Expired);
    }
    if body.not_before.is_some_and(|not_before| not_before > now.saturating_add(policy.leeway())) {
        return Err(ProofError::NotYetValid);
    }
    Ok(())
}

fn check_nonce(body: &ProofBody<'_>, nonces: &CurrentNonces) -> Result<UsedNonce, ProofError> {
    let json = body.nonce.ok_or(ProofError::Nonce(NonceError::Missing))?;
    let used = token::unquote(json).and_then(|nonce| nonces.find(&nonce));
    used.ok_or(ProofError::Nonce(NonceError::NotCurrent))
}
