//! Checks of Ed25519 public keys.

/// Returns whether an encoded Ed25519 point has small order or is not in canonical form (RFC 8032 §5.1.3).
///
/// With a point of small order, some signatures are valid for almost any message, so anyone can forge them.
pub(super) fn is_weak(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    // The highest bit is the sign of x. Each of these y is weak with either sign.
    y[31] &= 0x7f;
    let is_canonical = y.iter().rev().lt(FIELD_PRIME.iter().rev());
    !is_canonical || SMALL_ORDER_Y.contains(&y)
}

/// 2²⁵⁵ − 19, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// The y coordinates of the eight points of small order: 1, −1, 0 and the two of order eight (order 1, 2, 4, 8, 8).
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = FIELD_PRIME;
        minus_one[0] = 0xec;
        minus_one
    },
    [0; 32],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sign(mut y: [u8; 32]) -> [u8; 32] {
        y[31] |= 0x80;
        y
    }

    #[test]
    fn small_order_points_are_weak_with_either_sign() {
        for y in SMALL_ORDER_Y {
            assert!(is_weak(&y), "{y:?}");
            assert!(is_weak(&with_sign(y)), "{y:?}");
        }
    }

    #[test]
    fn non_canonical_encodings_are_weak() {
        // p .. 2^255 - 1: the 19 numbers that are a second encoding of 0 .. 18.
        for low in 0xed..=0xff {
            let mut y = FIELD_PRIME;
            y[0] = low;
            assert!(is_weak(&y), "{low:#x}");
            assert!(is_weak(&with_sign(y)), "{low:#x}");
        }
    }

    #[test]
    fn neighbors_of_weak_points_are_not_weak() {
        for y in SMALL_ORDER_Y {
            let mut other = y;
            other[15] ^= 1;
            assert!(!is_weak(&other), "{other:?}");
        }
        let mut below = FIELD_PRIME;
        below[0] = 0xeb;
        assert!(!is_weak(&below));
        // The base point, RFC 8032 §5.1.
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert!(!is_weak(&base) && !is_weak(&with_sign(base)));
    }
}
