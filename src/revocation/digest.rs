//! Digests of names: the keys of the list, which contains no name itself.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// Computes 64-bit digests of the value of a claim together with its issuer, under a random key.
///
/// The input is a sequence of words of 64 bits, and the digest is the upper half of a sum modulo 2¹²⁸: each word is multiplied by its
/// own random factor of 128 bits (D. Lemire and O. Kaser, Strongly universal string hashing is fast, 2014). The value contributes its
/// words and its length, so that different values never have the same sequence; the issuer contributes one word, the digest of its
/// name.
///
/// # Security
///
/// Two different sequences have the same digest for one of 2⁶⁴ keys, whoever chooses them. If it happens, a token is rejected that was
/// not revoked; a revoked token is never accepted. For a list of a million entries, the probability for one token is 10⁻¹³. Digests
/// never leave the process, so nobody learns the key.
pub(super) struct Digester {
    constant: u128,
    issuer: u128,
    length: u128,
    /// For the digest of what comes before the last block of a long value.
    before: u128,
    words: [u128; BLOCK_WORDS],
}

/// The digest of the name of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IssuerDigest(u64);

/// What a value contributes to the digest of each issuer with this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueSum(u128);

impl Digester {
    pub(super) fn new() -> Self {
        // The standard library seeds it from the random numbers of the system.
        let random = RandomState::new();
        let factor =
            |number: usize| u128::from(random.hash_one((number, 0))) << 64 | u128::from(random.hash_one((number, 1)));
        Self {
            constant: factor(0),
            issuer: factor(1),
            length: factor(2),
            before: factor(3),
            words: std::array::from_fn(|number| factor(number.saturating_add(4))),
        }
    }

    pub(super) fn issuer(&self, name: &str) -> IssuerDigest {
        IssuerDigest(digest(self.value(name).0))
    }

    /// Returns what a value contributes to its digests.
    pub(super) fn value(&self, value: &str) -> ValueSum {
        let mut rest = value.as_bytes();
        let mut before = 0;
        while rest.len() > BLOCK_BYTES {
            let (block, after) = rest.split_at(BLOCK_BYTES);
            before = digest(self.sum(block).wrapping_add(times(before, self.before)));
            rest = after;
        }
        // Never zero, so that a short value is not the start of a longer one.
        let length = u64::try_from(value.len()).unwrap_or_default().wrapping_add(1);
        let mut sum = self.sum(rest).wrapping_add(times(length, self.length));
        if value.len() > BLOCK_BYTES {
            sum = sum.wrapping_add(times(before, self.before));
        }
        ValueSum(sum)
    }

    /// Returns the digest of an issuer together with a claim, for the values of that claim.
    pub(super) fn within(&self, issuer: IssuerDigest, claim: &str) -> IssuerDigest {
        IssuerDigest(self.combine(issuer, self.value(claim)))
    }

    /// Returns what a number contributes to its digests, which differ from those of all values.
    pub(super) fn number(&self, number: u8) -> ValueSum {
        let [first, ..] = self.words;
        ValueSum(self.constant.wrapping_add(times(u64::from(number), first)))
    }

    /// Returns the digest of a value of an issuer.
    pub(super) fn combine(&self, issuer: IssuerDigest, value: ValueSum) -> u64 {
        digest(value.0.wrapping_add(times(issuer.0, self.issuer)))
    }

    /// Returns the sum of at most [`BLOCK_BYTES`] bytes.
    fn sum(&self, bytes: &[u8]) -> u128 {
        let (words, tail) = bytes.as_chunks::<WORD_BYTES>();
        let add = |sum: u128, (word, factor): (&[u8; WORD_BYTES], &u128)| {
            sum.wrapping_add(times(u64::from_le_bytes(*word), *factor))
        };
        let sum = words.iter().zip(&self.words).fold(self.constant, add);
        if tail.is_empty() {
            return sum;
        }
        let last = match bytes.last_chunk::<WORD_BYTES>() {
            // Overlaps with the word before. The length says by how much.
            Some(last) => u64::from_le_bytes(*last),
            None => tail.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        let factor = self.words.get(words.len()).copied().unwrap_or_default();
        sum.wrapping_add(times(last, factor))
    }
}

fn times(word: u64, factor: u128) -> u128 {
    u128::from(word).wrapping_mul(factor)
}

fn digest(sum: u128) -> u64 {
    u64::try_from(sum >> 64).unwrap_or_default()
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

const WORD_BYTES: usize = 8;

/// Longer values are digested in blocks, each together with the digest of those before it.
const BLOCK_WORDS: usize = 14;
const BLOCK_BYTES: usize = BLOCK_WORDS * WORD_BYTES;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn combined(digester: &Digester, issuer: &str, value: &str) -> u64 {
        digester.combine(digester.issuer(issuer), digester.value(value))
    }

    #[test]
    fn depends_on_every_byte_and_on_the_limit_between_issuer_and_value() {
        let digester = Digester::new();
        let mut digests = HashSet::new();
        let long = "x".repeat(BLOCK_BYTES);
        let longer = "x".repeat(BLOCK_BYTES + 1);
        let longest = "x".repeat(3 * BLOCK_BYTES);
        let texts =
            ["", "\0", "\0\0", "a", "ab", "a|b", "abcdefg", "abcdefg\0", "abcdefgh", "bcdefghi", "0123456789abcdef"];
        let texts: Vec<&str> = texts.into_iter().chain([&*long, &*longer, &*longest]).collect();
        for issuer in &texts {
            for value in &texts {
                assert!(digests.insert(combined(&digester, issuer, value)), "{issuer:?} {value:?}");
                assert_eq!(combined(&digester, issuer, value), combined(&digester, issuer, value));
            }
            for number in 0..4 {
                assert!(digests.insert(digester.combine(digester.issuer(issuer), digester.number(number))));
            }
        }
        for (one, other) in [(("a|b", "c"), ("a", "b|c")), (("ab", "c"), ("a", "bc")), (("a\0", "c"), ("a", "\0c"))] {
            assert_ne!(combined(&digester, one.0, one.1), combined(&digester, other.0, other.1));
        }
        let other = Digester::new();
        assert_ne!(combined(&digester, "a", "b"), combined(&other, "a", "b"), "the key is random");
        assert_eq!(format!("{digester:?}"), "Digester(..)");
    }

    #[test]
    fn every_byte_of_a_value_of_any_length_counts() {
        let digester = Digester::new();
        for length in
            (0..40).chain([BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 7])
        {
            let value = "a".repeat(length);
            let mut digests = HashSet::from([combined(&digester, "i", &value)]);
            for at in 0..length {
                let mut changed = value.clone();
                changed.replace_range(at..=at, "b");
                assert!(digests.insert(combined(&digester, "i", &changed)), "{length} {at}");
            }
        }
    }

    proptest! {
        /// Without the key, nobody can find a sequence that adds the same.
        #[test]
        fn digests_of_different_values_differ(one in "[a-z]{0,20}", other in "[a-z]{0,20}") {
            let digester = Digester::new();
            prop_assert_eq!(combined(&digester, "i", &one) == combined(&digester, "i", &other), one == other);
        }
    }
}
