//! The equations of the NIST curves (NIST SP 800-186 §3.2.1).

use crypto_bigint::modular::constant_mod::{Residue, ResidueParams};
use crypto_bigint::{Limb, U256, U384, U640, Uint, Word, impl_modulus};

use crate::keys::material::Curve;

/// Returns whether two coordinates, one after the other and big-endian, are a point of the curve.
///
/// The coordinates are public, so the time may depend on them.
pub(super) fn has_point(curve: Curve, coordinates: &[u8]) -> bool {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    match curve {
        Curve::P256 => solves(x, y, &P256_B),
        Curve::P384 => solves(x, y, &P384_B),
        Curve::P521 => solves(x, y, &P521_B),
    }
}

/// Returns whether y² = x³ − 3x + b, for numbers below the modulus.
fn solves<M: ResidueParams<LIMBS>, const LIMBS: usize>(x: &[u8], y: &[u8], b: &Residue<M, LIMBS>) -> bool {
    let (x, y) = (number(x), number(y));
    if x >= M::MODULUS || y >= M::MODULUS {
        return false;
    }
    let [x, y] = [&x, &y].map(Residue::<M, LIMBS>::new);
    let three_x = x.add(&x).add(&x);
    y.square() == x.square().mul(&x).sub(&three_x).add(b)
}

/// Returns a big-endian number that has at most `LIMBS` limbs.
fn number<const LIMBS: usize>(bytes: &[u8]) -> Uint<LIMBS> {
    let mut words = [0; LIMBS];
    for (word, bytes) in words.iter_mut().zip(bytes.rchunks(Limb::BYTES)) {
        *word = bytes.iter().fold(0, |word: Word, byte| word << 8 | Word::from(*byte));
    }
    Uint::from_words(words)
}

impl_modulus!(P256, U256, "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
impl_modulus!(
    P384,
    U384,
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"
);
impl_modulus!(
    P521,
    U640,
    "000000000000000000000000000001ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
);

const P256_B: Residue<P256, { U256::LIMBS }> =
    Residue::new(&U256::from_be_hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"));
const P384_B: Residue<P384, { U384::LIMBS }> = Residue::new(&U384::from_be_hex(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
));
const P521_B: Residue<P521, { U640::LIMBS }> = Residue::new(&U640::from_be_hex(
    "00000000000000000000000000000051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
));

#[cfg(test)]
mod tests {
    use crypto_bigint::Encoding as _;

    use super::*;
    use crate::keys::fixtures;
    use crate::keys::material::Material;

    fn coordinates(jwk: &str) -> Vec<u8> {
        [fixtures::bytes(jwk, "x"), fixtures::bytes(jwk, "y")].concat()
    }

    #[test]
    fn has_the_same_points_as_the_import_of_keys() {
        for (curve, jwk) in
            [(Curve::P256, fixtures::P256), (Curve::P384, fixtures::P384), (Curve::P521, fixtures::P521)]
        {
            let point = coordinates(jwk);
            assert!(has_point(curve, &point) && Material::ec_key(curve, &point).is_ok());
            for bit in 0..point.len() * 8 {
                let mut other = point.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!has_point(curve, &other), "bit {bit}, {}", curve.name());
                assert!(Material::ec_key(curve, &other).is_err(), "bit {bit}, {}", curve.name());
            }
        }
    }

    /// The same point, but its x is not below the modulus.
    #[test]
    fn a_coordinate_is_below_the_modulus() {
        let mut point = coordinates(fixtures::P521);
        let x: U640 = number(&point[..66]);
        let x = x.wrapping_add(&P521::MODULUS).to_be_bytes();
        point[..66].copy_from_slice(&x[x.len() - 66..]);
        assert!(!has_point(Curve::P521, &point) && Material::ec_key(Curve::P521, &point).is_err());
    }
}
