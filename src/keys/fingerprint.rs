//! A short name for a whole token, under which a verdict can be remembered without the token.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;

/// Names tokens: AES-256-GMAC (NIST SP 800-38D) over all of a token's octets, under a key that is drawn when the tagger
/// is made, used for nothing else, and never leaves this process.
///
/// # Security
///
/// A verdict that is remembered under a tag is as good as forged for whoever finds a second token with that tag. SHA-256
/// would do, at three times the cost of this and more than everything else that a hit needs. A secret polynomial does too:
///
/// - A tag is `GHASH_H(token) ⊕ E(0)` with `H` and `E(0)` from the secret key. Two different tokens of at most `n` blocks
///   collide for at most `n + 1` of the 2¹²⁸ values of `H`. The largest token that an API may allow has 65,536 blocks, and a
///   memo of 8 MiB holds some thousand tags: one attempt succeeds with a chance below 2⁻⁹⁹, and each attempt is a request.
///   Nothing can be searched offline, as collisions of a public hash can.
/// - The constant nonce would give `H` away to somebody who sees the tags of chosen messages (SP 800-38D §8). Tags go
///   nowhere: they are names in one process, and no message, log or answer holds one.
/// - Who reads this process's memory could make collisions, but there finds living tokens to replay anyway.
/// - A tag holds 16 octets, so the token cannot be had back from it.
pub(crate) struct Fingerprinter {
    key: LessSafeKey,
}

/// The name of one token, meaningless to any other [`Fingerprinter`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenFingerprint([u8; 16]);

impl Fingerprinter {
    /// Draws a key; `None` if the system has no entropy to give.
    pub(crate) fn new() -> Option<Self> {
        let mut octets = [0; 32];
        rand::fill(&mut octets).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &octets).ok()?;
        Some(Self { key: LessSafeKey::new(key) })
    }

    /// Names a token; `None` if it is longer than the cipher takes, which is 2³⁶ octets.
    pub(crate) fn fingerprint(&self, token: &[u8]) -> Option<TokenFingerprint> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let fingerprint = self.key.seal_in_place_separate_tag(nonce, Aad::from(token), &mut []).ok()?;
        fingerprint.as_ref().try_into().ok().map(TokenFingerprint)
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tagger(..)")
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
        f.write_str("TokenTag(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(tagger: &Fingerprinter, token: &str) -> TokenFingerprint {
        tagger.fingerprint(token.as_bytes()).expect("short enough")
    }

    #[test]
    fn one_token_has_one_tag() {
        let tagger = Fingerprinter::new().expect("entropy");
        assert_eq!(fingerprint(&tagger, "a.b.c"), fingerprint(&tagger, "a.b.c"));
    }

    #[test]
    fn any_other_text_has_another_tag() {
        let tagger = Fingerprinter::new().expect("entropy");
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl";
        let ours = fingerprint(&tagger, token);
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut octets = token.as_bytes().to_vec();
                octets[at] ^= 1 << bit;
                let other = String::from_utf8(octets).expect("ASCII");
                assert_ne!(ours, fingerprint(&tagger, &other), "octet {at}, bit {bit}");
            }
            assert_ne!(ours, fingerprint(&tagger, &token[..at]));
            assert_ne!(ours, fingerprint(&tagger, &token[at + 1..]));
        }
        // GCM pads with zeros: the length is part of what is named.
        assert_ne!(ours, fingerprint(&tagger, &format!("{token}\0")));
    }

    #[test]
    fn taggers_share_nothing_and_show_nothing() {
        let (one, other) = (Fingerprinter::new().expect("entropy"), Fingerprinter::new().expect("entropy"));
        assert_ne!(fingerprint(&one, "a.b.c"), fingerprint(&other, "a.b.c"));
        assert_eq!(format!("{one:?} {:?}", fingerprint(&one, "a.b.c")), "Tagger(..) TokenTag(..)");
    }
}
