//! A quick word for a token, by which a verdict is looked for before the token's tag is made.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// Marks tokens, with secrets of its own.
pub(in crate::validator) struct SlotHasher {
    secrets: [u64; 2],
}

/// What a token is looked for by before its tag is made, which takes longer than all else that a hit needs: a keyed hash
/// of its last sixteen octets, which are the signature's and differ from token to token.
///
/// # Security
///
/// Tokens may share it, and nothing rests on it. All sixteen octets have to be right for it to be found, so the time that a
/// tag takes tells nobody of a signature bit by bit. Whoever can watch the caches of this processor may learn which texts
/// lead to one line, and from many of them the secrets: that makes texts which share a mark, each of which costs a tag, or
/// takes a place in the table from verdicts that are then found in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::validator) struct SlotTag(u64);

impl SlotHasher {
    pub(in crate::validator) fn slot_tag(&self, token: &[u8]) -> SlotTag {
        let [one, other] = self.secrets;
        let (rest, last) = token.split_last_chunk().unwrap_or((token, &[0; 8]));
        let before = rest.last_chunk().unwrap_or(&[0; 8]);
        let (last, before) = (u64::from_le_bytes(*last) ^ one, u64::from_le_bytes(*before) ^ other);
        // Each half of the product depends on every octet.
        let product = u128::from(last).wrapping_mul(u128::from(before));
        let half = |octets: u128| u64::try_from(octets & u128::from(u64::MAX)).unwrap_or_default();
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
        f.write_str("Marker(..)")
    }
}

impl SlotTag {
    /// All of it, for a place in a table and to compare.
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
    fn a_mark_is_made_of_the_last_octets_and_of_a_secret() {
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

    /// The secrets are fixed (the digits of pi). One octet moves the low bits of the product in equal steps, a multiple of
    /// the other factor, and with about one random pair of secrets in 200 the steps return to at most 16 sets.
    #[test]
    fn each_of_those_octets_chooses_the_set() {
        let slot_hasher = SlotHasher { secrets: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344] };
        let token = b"header.payload.signature-of-this-token";
        for at in token.len() - 16..token.len() {
            let places = (b'0'..=b'z').map(|octet| {
                let mut changed = *token;
                changed[at] = octet;
                slot_hasher.slot_tag(&changed).0 % 4_096
            });
            let places: std::collections::HashSet<u64> = places.collect();
            assert!(places.len() > 16, "{at}: {places:?}");
        }
    }
}
