//! Checks of RSA public keys (RFC 7518 §3.3, §6.3.1).

use crate::defaults;
use crate::keys::error::SkipReason;

/// Checks the size and the form of a modulus and an exponent, both big-endian without leading zeros.
pub(super) fn check_form(n: &[u8], e: &[u8]) -> Result<(), SkipReason> {
    let (Some(1..), Some(last)) = (n.first(), n.last()) else { return Err(SkipReason::RsaModulus) };
    if !(defaults::MIN_RSA_BITS..=defaults::MAX_RSA_BITS).contains(&bits(n)) {
        return Err(SkipReason::RsaSize);
    }
    if last.is_multiple_of(2) {
        return Err(SkipReason::RsaModulus);
    }
    if is_safe_exponent(e) { Ok(()) } else { Err(SkipReason::RsaExponent) }
}

/// Returns a big-endian number without leading zero bytes.
pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Returns the bit length of a big-endian number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |first| usize::try_from(first.leading_zeros()).unwrap_or_default());
    number.len().saturating_mul(8).saturating_sub(leading)
}

/// Returns whether the exponent is an odd number, at least 3 and below 2³³, without leading zero bytes. With
/// an `e` of 1, every signature is its own message. A large `e` makes verification slow.
fn is_safe_exponent(e: &[u8]) -> bool {
    if !matches!(e.first(), Some(1..)) || e.len() > 8 {
        return false;
    }
    let value = e.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    (3..1 << 33).contains(&value) && !value.is_multiple_of(2)
}

/// Detects the moduli that faulty chips generated until 2017, which can be factored (ROCA, CVE-2017-15361).
///
/// Their residues are powers of 65537 modulo every small prime. One in 2²⁷ other moduli has this form by chance. This can take as
/// long as a verification.
pub(super) fn is_factorable(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let residue = n.iter().try_fold(0_u64, |rest, byte| (rest << 8 | u64::from(*byte)).checked_rem(*prime));
        let powers = std::iter::successors(Some(1_u64), |power| power.saturating_mul(65_537).checked_rem(*prime));
        powers.take(POWERS).any(|power| Some(power) == residue)
    })
}

/// The primes below 160 modulo which 65537 has few powers.
const ROCA_PRIMES: [u64; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// The most powers that there can be modulo the largest of these primes.
const POWERS: usize = 157;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a number with `bits` bits, all set. It is not a product of two primes, which is not checked.
    fn modulus(bits: usize) -> Vec<u8> {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] = 0xff >> n.len().saturating_mul(8).saturating_sub(bits);
        n
    }

    const E: [u8; 3] = [1, 0, 1];

    #[test]
    fn rejects_moduli_of_less_than_2048_or_more_than_8192_bits() {
        for bits in [2048, 2049, 2055, 2056, 3072, 4096, 8191, 8192] {
            assert_eq!(check_form(&modulus(bits), &E), Ok(()), "{bits}");
        }
        for bits in [1, 8, 512, 1024, 2040, 2047, 8193, 8200, 16_384] {
            assert_eq!(check_form(&modulus(bits), &E), Err(SkipReason::RsaSize), "{bits}");
        }
    }

    #[test]
    fn rejects_moduli_that_are_even_empty_or_have_leading_zeros() {
        let mut even = modulus(2048);
        even[255] = 0xfe;
        assert_eq!(check_form(&even, &E), Err(SkipReason::RsaModulus));
        assert_eq!(check_form(&[], &E), Err(SkipReason::RsaModulus));
        assert_eq!(check_form(&[&[0], modulus(2048).as_slice()].concat(), &E), Err(SkipReason::RsaModulus));
    }

    #[test]
    fn rejects_exponents_that_are_even_or_not_of_3_to_33_bits() {
        for e in [&[3][..], &[5], &[17], &[1, 0, 1], &[0xff; 4], &[1, 0, 0, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(check_form(&modulus(2048), e), Ok(()), "{e:?}");
        }
        for e in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[4],
            &[1, 0, 0],
            &[0, 3],
            &[0, 1, 0, 1],
            &[2, 0, 0, 0, 1],
            &[1, 0, 0, 0, 0, 1],
            &[0xff; 8],
            &[0xff; 9],
            &[1, 0, 0, 0, 0, 0, 0, 0, 3],
            &[0xff; 256],
        ] {
            assert_eq!(check_form(&modulus(2048), e), Err(SkipReason::RsaExponent), "{e:?}");
        }
    }

    #[test]
    fn rejects_moduli_that_are_vulnerable_to_roca() {
        // One more than a multiple of every prime in the list, and 1 is a power of 65537.
        let product: u128 = ROCA_PRIMES.iter().copied().map(u128::from).product();
        let product: Vec<u8> = product.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        let modulus = |last: u8| [&product, &[0; 260][..], &[last]].concat();
        assert!(is_factorable(&modulus(1)));
        assert!(!is_factorable(&modulus(3)));
    }
}
