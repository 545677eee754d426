//! Digests of names: the keys of the list, which contains no name itself.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// Computes 64-bit digests of the value of a claim together with its issuer, under a random key.
///
/// Issuer and value are a sequence of words: seven bytes each, and the length after each text, so that two different pairs never
/// have the same sequence. The digest is the polynomial with these words as coefficients, at a secret point, modulo 2⁶¹ − 1.
///
/// # Security
///
/// Two different sequences of at most `n` words have the same digest for at most `n` of the 2⁶¹ points, whoever chooses them. If
/// it happens, a token is rejected that was not revoked; a revoked token is never accepted. For a list of a million entries and
/// values of 36 bytes, the probability for one token is 10⁻¹¹. Digests never leave the process, so nobody learns the point.
pub(super) struct Digester {
    point: u64,
}

/// The digest of an issuer, from which that of each value continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IssuerDigest(u64);

impl Digester {
    pub(super) fn new() -> Self {
        // The standard library seeds it from the random numbers of the system.
        let random = RandomState::new().hash_one(0_u8);
        Self { point: random.checked_rem(MODULUS).unwrap_or_default().max(2) }
    }

    pub(super) fn issuer(&self, issuer: &str) -> IssuerDigest {
        IssuerDigest(self.absorb(1, issuer))
    }

    /// Returns the digest of a value of an issuer.
    pub(super) fn value(&self, issuer: IssuerDigest, value: &str) -> u64 {
        spread(self.absorb(issuer.0, value))
    }

    /// Returns the digest of an issuer with a number, which differs from the digests of its values.
    pub(super) fn number(&self, issuer: IssuerDigest, number: u8) -> u64 {
        spread(self.step(issuer.0, u64::from(number)))
    }

    fn absorb(&self, state: u64, text: &str) -> u64 {
        let (words, rest) = text.as_bytes().as_chunks::<WORD_BYTES>();
        let state = words.iter().fold(state, |state, [a, b, c, d, e, f, g]| {
            self.step(state, u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, 0]))
        });
        // At most six bytes. The length that follows says how many.
        let last = rest.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        self.step(self.step(state, last), u64::try_from(text.len()).unwrap_or_default())
    }

    /// Multiplies by the point and adds a word, modulo 2⁶¹ − 1. The word is less than the modulus.
    fn step(&self, state: u64, word: u64) -> u64 {
        let product = u128::from(state).wrapping_mul(u128::from(self.point));
        // 2⁶¹ is 1 modulo 2⁶¹ − 1. Each of the three terms is less than 2⁶¹.
        let low = u64::try_from(product & u128::from(MODULUS)).unwrap_or_default();
        let high = u64::try_from(product >> MODULUS_BITS).unwrap_or_default();
        let sum = low.wrapping_add(high).wrapping_add(word);
        let folded = (sum & MODULUS).wrapping_add(sum >> MODULUS_BITS);
        if folded >= MODULUS { folded.wrapping_sub(MODULUS) } else { folded }
    }
}

/// Spreads digests over all 64 bits, so that the upper bits select a bucket. Different inputs have different results.
fn spread(digest: u64) -> u64 {
    let mixed = (digest ^ digest >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

const WORD_BYTES: usize = 7;

/// A Mersenne prime.
const MODULUS: u64 = (1 << MODULUS_BITS) - 1;
const MODULUS_BITS: u32 = 61;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn digest(digester: &Digester, issuer: &str, value: &str) -> u64 {
        digester.value(digester.issuer(issuer), value)
    }

    #[test]
    fn depends_on_every_byte_and_on_the_limit_between_issuer_and_value() {
        let digester = Digester::new();
        let mut digests = HashSet::new();
        let texts = ["", "\0", "\0\0", "a", "ab", "a|b", "abcdefg", "abcdefg\0", "abcdefgh", "0123456789abcdef"];
        for issuer in texts {
            for value in texts {
                assert!(digests.insert(digest(&digester, issuer, value)), "{issuer:?} {value:?}");
                assert_eq!(digest(&digester, issuer, value), digest(&digester, issuer, value));
            }
            assert!(digests.insert(digester.number(digester.issuer(issuer), 3)));
        }
        for (one, other) in [(("a|b", "c"), ("a", "b|c")), (("ab", "c"), ("a", "bc")), (("a\0", "c"), ("a", "\0c"))] {
            assert_ne!(digest(&digester, one.0, one.1), digest(&digester, other.0, other.1));
        }
        let other = Digester::new();
        assert_ne!(digest(&digester, "a", "b"), digest(&other, "a", "b"), "the point is random");
        assert_eq!(format!("{digester:?}"), "Digester(..)");
    }

    proptest! {
        #[test]
        fn computes_the_polynomial_exactly(state in 0..MODULUS, point in 2..MODULUS, word in 0_u64..1 << 56) {
            let modulus = u128::from(MODULUS);
            let product = u128::from(state).checked_mul(u128::from(point)).expect("less than 2^122");
            let expected = product.checked_add(u128::from(word)).and_then(|sum| sum.checked_rem(modulus));
            prop_assert_eq!(Some(u128::from(Digester { point }.step(state, word))), expected);
        }
    }
}
