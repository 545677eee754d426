//! `ProofPolicy`: what an API accepts as a proof.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::defaults;
use crate::token::Algorithm;

/// What an API accepts as a proof: algorithms, and the time for which a proof is valid.
///
/// [`Dpop`](crate::dpop::Dpop) has the same settings for a validator. Its configuration also checks their ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPolicy {
    algorithms: Vec<Algorithm>,
    lifetime: Duration,
    leeway: Duration,
    issued_at: IssuedAtRule,
}

/// Whether `iat` is compared with the clock if the proof has a nonce of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IssuedAtRule {
    /// The nonce says when the proof was created.
    WithoutNonce,
    Always,
}

impl ProofPolicy {
    /// Accepts ES256, EdDSA and PS256, and proofs from 90 s ago to 30 s ahead: a lifetime of 60 s and a leeway of 30 s.
    #[must_use]
    pub fn new() -> Self {
        Self {
            algorithms: ALGORITHMS.to_vec(),
            lifetime: defaults::PROOF_LIFETIME,
            leeway: defaults::PROOF_LEEWAY,
            issued_at: IssuedAtRule::WithoutNonce,
        }
    }

    /// Sets the accepted algorithms, preferred ones first. Default: ES256, EdDSA and PS256, those of FAPI 2.0.
    #[must_use]
    pub fn with_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Sets how long a proof is valid after `iat`. Default: 60 s.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Sets the tolerated difference between the clocks of client and server. Default: 30 s.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Compares `iat` with the clock also if the proof has a nonce. Default: a current nonce is enough (RFC 9449 §11.1).
    #[must_use]
    pub fn with_issued_at_too(mut self) -> Self {
        self.issued_at = IssuedAtRule::Always;
        self
    }

    /// Returns the accepted algorithms.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Returns how long a proof is valid after `iat`.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Returns the tolerated difference of clocks.
    #[must_use]
    pub fn leeway(&self) -> Duration {
        self.leeway
    }

    pub(super) fn accepts(&self, algorithm: Algorithm) -> bool {
        // No embedded key verifies an HMAC, so a symmetric algorithm in the list accepts nothing.
        self.algorithms.contains(&algorithm)
    }

    /// Returns the last point in time at which a proof with this `iat` is accepted.
    pub(super) fn accepts_until(&self, issued_at: Timestamp) -> Timestamp {
        issued_at.saturating_add(self.lifetime).saturating_add(self.leeway)
    }

    /// Returns whether `iat` is compared with the clock, where nonces are required or not.
    pub(super) fn compares_issued_at(&self, requires_nonces: bool) -> bool {
        !requires_nonces || self.issued_at == IssuedAtRule::Always
    }
}

/// Those of FAPI 2.0 §5.4.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256];

impl Default for ProofPolicy {
    fn default() -> Self {
        Self::new()
    }
}
