//! `TokenFingerprint`: a keyed hash of a token, the key of the token cache. The cache does not contain the token.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;

/// Computes fingerprints of tokens: AES-256-GMAC (NIST SP 800-38D) over all bytes of a token. The key is random, is used only
/// for this, and never leaves this process.
///
/// # Security
///
/// A second token with the fingerprint of a cached token would be accepted without a valid signature, so collisions must be
/// infeasible. SHA-256 is sufficient, but it costs three times as much, and more than all other work of a cache hit. A
/// polynomial hash with a secret key is sufficient as well:
///
/// - A fingerprint is `GHASH_H(token) ⊕ E(0)`. `H` and `E(0)` are derived from the secret key. Two different tokens of at
///   most `n` blocks collide for at most `n + 1` of the 2¹²⁸ values of `H`. The largest token that an API can allow has
///   65,536 blocks, and a token cache of 8 MiB has some thousand entries. So one attempt succeeds with a probability below
///   2⁻⁹⁹, and each attempt is a request. An attacker cannot search for collisions offline, as with a public hash.
/// - With the constant nonce, an attacker who sees the fingerprints of chosen messages could compute `H` (SP 800-38D §8).
///   Fingerprints never leave the process: no message, log or response contains one.
/// - An attacker who can read the memory of this process could compute collisions, but could also copy valid tokens from it.
/// - A fingerprint has 16 bytes, so the token cannot be reconstructed from it.
pub(crate) struct Fingerprinter {
    key: LessSafeKey,
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
        Some(Self { key: LessSafeKey::new(key) })
    }

    /// Computes the fingerprint of a token. Returns `None` if the token is longer than the limit of the cipher, 2³⁶ bytes.
    pub(crate) fn fingerprint(&self, token: &[u8]) -> Option<TokenFingerprint> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let fingerprint = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        fingerprint.as_ref().try_into().ok().map(TokenFingerprint)
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter(..)")
    }
}

#[cfg(test)]
impl TokenFingerprint {
    pub(crate) fn for_tests(number: u64) -> Self {
        Self(u128::from(number).to_le_bytes())
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
}
