//! `TokenFingerprint`: a keyed hash of a token, the key of the token cache. The cache does not contain the token.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;

/// Computes fingerprints of tokens: AES-256-GMAC (NIST SP 800-38D) over all bytes of a token. The key is random, is used only
/// for this, and never leaves this process. It also computes a cheap hash that selects the slots of a token in the cache.
///
/// # Security
///
/// A second token with the fingerprint of a cached token would be accepted without a valid signature, so collisions must be
/// infeasible. SHA-256 is sufficient, but it costs three times as much, and more than all other work of a cache hit. A
/// polynomial hash with a secret key is sufficient as well:
///
/// - A fingerprint is `GHASH_H(token) ⊕ E(0)`. `H` and `E(0)` are derived from the secret key. Two different tokens of at
///   most `n` blocks collide for at most `n + 1` of the 2¹²⁸ values of `H`. The largest token that an API can allow has
///   65,536 blocks, and a lookup compares a token with at most eight entries. So one attempt succeeds with a probability below
///   2⁻¹⁰⁸, and each attempt is a request. An attacker cannot search for collisions offline, as with a public hash.
/// - With the constant nonce, an attacker who sees the fingerprints of chosen messages could compute `H` (SP 800-38D §8).
///   Fingerprints never leave the process: no message, log or response contains one.
/// - An attacker who can read the memory of this process could compute collisions, but could also copy valid tokens from it.
/// - A fingerprint has 16 bytes, so the token cannot be reconstructed from it.
pub(crate) struct Fingerprinter {
    key: LessSafeKey,
    /// The secrets of [`slot_hash`](Self::slot_hash).
    secrets: [u64; 5],
}

/// The fingerprint of one token. It is valid only for the [`Fingerprinter`] that computed it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFingerprint([u8; 16]);

impl Fingerprinter {
    /// Generates a random key. Returns `None` if the system has no entropy.
    pub(crate) fn new() -> Option<Self> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        let mut secrets = [[0; 8]; 5];
        rand::fill(secrets.as_flattened_mut()).ok()?;
        Some(Self { key: LessSafeKey::new(key), secrets: secrets.map(u64::from_le_bytes) })
    }

    /// Computes the fingerprint of a token. Returns `None` if the token is longer than the limit of the cipher, 2³⁶ bytes.
    pub(crate) fn fingerprint(&self, token: &[u8]) -> Option<TokenFingerprint> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let fingerprint = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        fingerprint.as_ref().try_into().ok().map(TokenFingerprint)
    }

    /// Computes a keyed hash of four words of the token: its start, its end and two between. The signature of a JWT is at its
    /// end; opaque tokens may have a common start or end.
    ///
    /// It takes 3 % of the time of a fingerprint, so the cache computes a fingerprint only if this hash matches. If the fingerprint
    /// selected the slots, each token that is rejected early would pay for it: 0.17 µs for a token of 900 bytes, a fifth of the
    /// rejection of an expired one. Tokens that differ only between these words have the same slots, so at most eight of them are
    /// in the cache.
    ///
    /// # Security
    ///
    /// It only limits the work of a lookup. Anyone can create texts with equal hashes, by copying these words. Each costs a
    /// fingerprint, or the slot of one other token.
    pub(crate) fn slot_hash(&self, token: &[u8]) -> u64 {
        let last = token.len().saturating_sub(size_of::<u64>());
        let third = last / 3;
        let [first_secret, second_secret, third_secret, fourth_secret, last_secret] = self.secrets;
        let word = |at: usize, secret: u64| {
            let bytes = token.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes)) ^ secret
        };
        let start = fold(word(0, first_secret), word(third, second_secret));
        let end = fold(word(last.saturating_sub(third), third_secret), word(last, fourth_secret));
        // A change of few bits in a word may leave the low bits of its product unchanged, but not those of the second product.
        fold(start ^ end, last_secret | 1)
    }
}

/// Returns a random text that no server has issued as a token; `None` if the system has no entropy.
pub(crate) fn random_token() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Multiplies, and combines both halves of the product.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one).wrapping_mul(u128::from(other));
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    half(product) ^ half(product >> u64::BITS)
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(..)")
    }
}

impl fmt::Debug for TokenFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(fingerprinter: &Fingerprinter, token: &str) -> TokenFingerprint {
        fingerprinter.fingerprint(token.as_bytes()).expect("short enough")
    }

    #[test]
    fn returns_the_same_fingerprint_for_the_same_token() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        assert_eq!(fingerprint(&fingerprinter, "a.b.c"), fingerprint(&fingerprinter, "a.b.c"));
    }

    #[test]
    fn returns_another_fingerprint_for_any_other_text() {
        let fingerprinter = Fingerprinter::new().expect("entropy");
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
        let ours = fingerprint(&fingerprinter, token);
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let other = String::from_utf8(bytes).expect("ASCII");
                assert_ne!(ours, fingerprint(&fingerprinter, &other), "byte {at}, bit {bit}");
            }
            assert_ne!(ours, fingerprint(&fingerprinter, &token[..at]));
            assert_ne!(ours, fingerprint(&fingerprinter, &token[at + 1..]));
        }
        // GCM pads with zeros, but the length is part of the input.
        assert_ne!(ours, fingerprint(&fingerprinter, &format!("{token}\0")));
    }

    #[test]
    fn fingerprints_differ_between_fingerprinters_and_debug_hides_them() {
        let (one, other) = (Fingerprinter::new().expect("entropy"), Fingerprinter::new().expect("entropy"));
        assert_ne!(fingerprint(&one, "a.b.c"), fingerprint(&other, "a.b.c"));
        assert_eq!(format!("{one:?} {:?}", fingerprint(&one, "a.b.c")), "Fingerprinter(..) TokenFingerprint(..)");
    }

    #[test]
    fn slot_hash_depends_on_the_secret_and_on_the_start_the_end_and_two_words_between() {
        let (fingerprinter, other) = (Fingerprinter::new().expect("entropy"), Fingerprinter::new().expect("entropy"));
        let token: Vec<u8> = (b'0'..=b'z').collect();
        assert_eq!(fingerprinter.slot_hash(&token), fingerprinter.slot_hash(&token));
        assert_ne!(fingerprinter.slot_hash(&token), other.slot_hash(&token));
        // 75 bytes: the words start at 0, 22, 45 and 67.
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            let is_read = [0..8, 22..30, 45..53, 67..75].iter().any(|word| word.contains(&at));
            assert_eq!(fingerprinter.slot_hash(&token) != fingerprinter.slot_hash(&changed), is_read, "{at}");
        }
        for short in ["", "a", "seven by"] {
            let _no_panic = fingerprinter.slot_hash(short.as_bytes());
        }
    }

    /// The secrets are chosen so that a single product would leave its low bits unchanged.
    #[test]
    fn slot_hash_spreads_tokens_that_differ_in_one_byte() {
        let mut fingerprinter = Fingerprinter::new().expect("entropy");
        let token: Vec<u8> = (b'0'..=b'z').collect();
        for shift in [0, 8, 16, 24] {
            fingerprinter.secrets = [
                0x243f_6a88_85a3_08d3,
                0x1319_8a2e_0370_7344,
                0xa409_3822_299f_31d0,
                0x082e_fa98_ec4e_6c89,
                0x4528_21e6_38d0_1377,
            ];
            for (at, word) in [(0, 22), (22, 0), (45, 67), (67, 45)] {
                // The product with this word ends in zeros.
                let secret = [0, 22, 45, 67].iter().position(|start| *start == word).expect("a word");
                let text = u64::from_le_bytes(token[word..word + 8].try_into().expect("8 bytes"));
                fingerprinter.secrets[secret] = text ^ (fingerprinter.secrets[secret] | 1) << shift;
                for part in [0, 16] {
                    let sets = (0..=u8::MAX).map(|byte| {
                        let mut changed = token.clone();
                        changed[at] = byte;
                        (fingerprinter.slot_hash(&changed) >> part) % 4_096
                    });
                    let sets: std::collections::HashSet<u64> = sets.collect();
                    assert!(sets.len() > 200, "shift {shift}, byte {at}: {} sets", sets.len());
                }
            }
        }
    }
}
