//! `Proof`: what proved that the token of an entry is genuine.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::defaults;
use crate::introspection::ActiveAnswer;
use crate::jwks::{KeyEpoch, RingSerial};
use crate::keys::{Thumbprint, VerifyingKey};

/// What proved that a token is genuine. It is checked again on every hit.
#[derive(Debug)]
pub(in crate::validator) enum Proof {
    /// A signature that a public key has verified.
    Key(KeyProof),
    /// A positive answer of the issuer's server. Boxed, so that other entries are not larger.
    Server(Box<ServerProof>),
}

/// A positive answer about a token, and the keys that verified the token and the answer, if they are signed.
pub(in crate::validator) struct ServerProof {
    pub(in crate::validator) answer: Arc<ActiveAnswer>,
    /// The key that verified the token; `None` for an opaque one.
    pub(in crate::validator) token_key: Option<KeyProof>,
    pub(in crate::validator) answer_key: Option<KeyProof>,
    /// Whether a request has started the next call.
    is_refreshing: AtomicBool,
}

/// The public key that has verified a token.
#[derive(Debug)]
pub(in crate::validator) struct KeyProof {
    thumbprint: Thumbprint,
    ring: RingSerial,
    /// The number of the last epoch of these keys that is known to include this key.
    epoch: AtomicU64,
}

impl Proof {
    /// Returns the memory of the proof besides the entry, in bytes.
    pub(super) fn footprint(&self) -> usize {
        match self {
            Self::Key(_) => 0,
            Self::Server(server) => {
                let header = server.answer.signature.as_ref().map_or(0, |signature| signature.header.footprint());
                // The claims of an opaque token are those of the answer.
                let claims = server.token_key.as_ref().map_or(0, |_| server.answer.claims.footprint());
                let own = size_of::<ServerProof>().saturating_add(size_of::<ActiveAnswer>());
                // The proof and the answer are two allocations.
                let own = own.saturating_add(defaults::TOKEN_CACHE_ENTRY_OVERHEAD_BYTES);
                own.saturating_add(header).saturating_add(claims)
            }
        }
    }
}

impl ServerProof {
    pub(in crate::validator) fn new(answer: Arc<ActiveAnswer>, token_key: Option<KeyProof>) -> Self {
        let answer_key = answer.signature.as_ref().map(|signed| KeyProof::new(signed.thumbprint, signed.epoch));
        Self { answer, token_key, answer_key, is_refreshing: AtomicBool::new(false) }
    }

    /// Returns whether the entry depends on keys.
    pub(in crate::validator) fn is_signed(&self) -> bool {
        self.token_key.is_some() || self.answer_key.is_some()
    }

    /// Returns whether no request has started the next call yet; further calls of this method return `false`.
    pub(in crate::validator) fn start_refresh(&self) -> bool {
        !self.is_refreshing.swap(true, Ordering::Relaxed)
    }

    /// Allows another request to start the next call.
    pub(in crate::validator) fn cancel_refresh(&self) {
        self.is_refreshing.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for ServerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerProof(..)")
    }
}

impl KeyProof {
    /// Returns the same proof for another entry.
    pub(in crate::validator) fn copy(&self) -> Self {
        Self::new(self.thumbprint, KeyEpoch { ring: self.ring, number: self.epoch.load(Ordering::Relaxed) })
    }

    /// Creates the proof by a key of this thumbprint, which the keys of `epoch` include.
    pub(in crate::validator) fn new(thumbprint: Thumbprint, epoch: KeyEpoch) -> Self {
        Self { thumbprint, ring: epoch.ring, epoch: AtomicU64::new(epoch.number) }
    }

    /// Returns whether the current keys include the key that verified the token: the epoch is unchanged, or `candidates` returns
    /// the same key. The keys of another issuer never do, although they have epochs with the same numbers.
    pub(in crate::validator) fn is_current<'k, I: Iterator<Item = &'k VerifyingKey>>(
        &self,
        epoch: KeyEpoch,
        candidates: impl FnOnce() -> Option<I>,
    ) -> bool {
        if self.ring != epoch.ring {
            return false;
        }
        if self.epoch.load(Ordering::Relaxed) == epoch.number {
            return true;
        }
        let is_current = self.is_among(candidates());
        if is_current {
            // In a race, each request stores an epoch for which this is true. The cost is at most one more lookup.
            self.epoch.store(epoch.number, Ordering::Relaxed);
        }
        is_current
    }

    /// Returns whether the candidates include the key that verified the token.
    pub(in crate::validator) fn is_among<'k, I: Iterator<Item = &'k VerifyingKey>>(
        &self,
        candidates: Option<I>,
    ) -> bool {
        candidates.is_some_and(|mut keys| keys.any(|key| *key.thumbprint() == self.thumbprint))
    }
}

#[cfg(test)]
pub(in crate::validator) mod tests {
    use super::*;
    use crate::claims::Claims;
    use crate::keys::{Found, KeyOrigin, KeySet, KeyTable};
    use crate::testing::TestIssuer;
    use crate::token::Algorithm;

    pub(in crate::validator) fn epoch(ring: u64, number: u64) -> KeyEpoch {
        KeyEpoch { ring: RingSerial::for_tests(ring), number }
    }

    /// Concurrent requests with one token may have snapshots of different epochs, in any order.
    #[test]
    fn looks_the_key_up_unless_the_epoch_is_the_last_known_one() {
        let keys = KeySet::from_jwks(TestIssuer::new().jwks()).expect("a key set");
        let with_key = keys.bind(&[Algorithm::RS256], KeyOrigin::Remote);
        let without = KeyTable::from_secrets(Vec::new());
        let Found::Keys(mut found) = with_key.find(None, Algorithm::RS256) else { panic!("one key") };
        let thumbprint = *found.next().expect("one key").thumbprint();
        let proof = KeyProof::new(thumbprint, epoch(0, 1));
        let header = Claims::for_tests(r#"{"iss":"i","exp":1}"#).header().cloned().expect("a header");
        // A lookup in `without` finds no key.
        for (table, number, expected) in [
            (&without, 1, true),
            (&without, 0, false),
            (&without, 2, false),
            (&without, 1, true),
            (&with_key, 3, true),
            (&without, 3, true),
            (&without, 1, false),
            (&without, 2, false),
            (&without, 4, false),
            (&with_key, 2, true),
        ] {
            let candidates = || match table.find(header.key_id(), header.algorithm()) {
                Found::Keys(keys) => Some(keys),
                _ => None,
            };
            assert_eq!(proof.is_current(epoch(0, number), candidates), expected, "epoch {number}");
            assert!(!proof.is_current(epoch(1, number), candidates), "the keys of another issuer, epoch {number}");
        }
    }
}
