//! `SlotTag`: a cheap hash of a token, which the token cache compares before it computes the fingerprint.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// Computes slot tags, with its own random secrets.
pub(in crate::validator) struct SlotHasher {
    secrets: [u64; 2],
}

/// A keyed hash of the last 16 bytes of a token. These bytes belong to the signature and differ from token to token.
///
/// The fingerprint takes longer than all other steps of a cache hit. A lookup compares slot tags first, and computes the
/// fingerprint only if one is equal.
///
/// # Security
///
/// Different tokens may have equal slot tags; a lookup always compares fingerprints as well. A slot tag is equal only if all
/// 16 bytes are, so the time of a lookup does not reveal parts of a signature. An attacker who can observe the processor's
/// caches may learn which texts use the same cache line, and derive the secrets from many of these. With the secrets, the
/// attacker can create texts with equal slot tags. Each of these costs one fingerprint, or replaces a recent entry that is
/// then found in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::validator) struct SlotTag(u64);

impl SlotHasher {
    pub(in crate::validator) fn slot_tag(&self, token: &[u8]) -> SlotTag {
        let [one, other] = self.secrets;
        let (rest, last) = token.split_last_chunk().unwrap_or((token, &[0; 8]));
        let before = rest.last_chunk().unwrap_or(&[0; 8]);
        let (last, before) = (u64::from_le_bytes(*last) ^ one, u64::from_le_bytes(*before) ^ other);
        // Each half of the product depends on all 16 bytes.
        let product = u128::from(last).wrapping_mul(u128::from(before));
        let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default();
        SlotTag(half(product) ^ half(product >> 64))
    }
}

impl Default for SlotHasher {
    fn default() -> Self {
        Self { secrets: [0, 1].map(|number| RandomState::new().hash_one(number)) }
    }
}

impl fmt::Debug for SlotHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotHasher(..)")
    }
}

impl SlotTag {
    /// Returns the hash value.
    pub(in crate::validator) fn bits(self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(in crate::validator) fn for_tests(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_the_last_bytes_with_a_secret() {
        let (slot_hasher, other) = (SlotHasher::default(), SlotHasher::default());
        let token = b"header.payload.signature-of-this-token";
        assert_eq!(slot_hasher.slot_tag(token), slot_hasher.slot_tag(b"x.y.signature-of-this-token"));
        for at in token.len() - 16..token.len() {
            let mut changed = *token;
            changed[at] ^= 1;
            assert_ne!(slot_hasher.slot_tag(token), slot_hasher.slot_tag(&changed), "{at}");
        }
        assert_ne!(slot_hasher.slot_tag(token), other.slot_tag(token));
        assert_eq!(slot_hasher.slot_tag(b"short"), slot_hasher.slot_tag(b""));
        assert_ne!(slot_hasher.slot_tag(b"not short"), slot_hasher.slot_tag(b""));
    }

    /// The secrets are constants (digits of pi). A change of one byte adds a multiple of the other factor to the product. With
    /// about one random pair of secrets in 200, this reaches at most 16 sets.
    #[test]
    fn selects_the_set_by_each_of_these_bytes() {
        let slot_hasher = SlotHasher { secrets: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344] };
        let token = b"header.payload.signature-of-this-token";
        for at in token.len() - 16..token.len() {
            let sets = (b'0'..=b'z').map(|byte| {
                let mut changed = *token;
                changed[at] = byte;
                slot_hasher.slot_tag(&changed).0 % 4_096
            });
            let sets: std::collections::HashSet<u64> = sets.collect();
            assert!(sets.len() > 16, "{at}: {sets:?}");
        }
    }
}
