//! `Mac`: a keyed hash for values that this server writes and reads itself.

use std::fmt;

use aws_lc_rs::{constant_time, hmac, rand};

use crate::keys::secret::{Secret, SecretError};
use crate::keys::thumbprint::from_slice;

/// An HMAC-SHA-256 key.
#[derive(Clone)]
pub(crate) struct Mac(hmac::Key);

impl Mac {
    /// Uses a shared secret of at least 32 bytes.
    pub(crate) fn new(secret: &Secret) -> Result<Self, SecretError> {
        secret.hmac_sha256_key().map(Self)
    }

    /// Generates a random key. Returns `None` if the system has no entropy.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &*bytes)))
    }

    /// Computes the MAC of the concatenated parts.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        from_slice(context.sign().as_ref())
    }
}

/// Compares two values in constant time for their length.
pub(crate) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Algorithm;

    #[test]
    fn computes_hmac_sha_256_over_the_concatenation() {
        // RFC 4231 §4.4: the key has 20 bytes, so it is padded here to the block, which changes nothing.
        let key = [&[0xaa; 20][..], &[0; 12]].concat();
        let mac = Mac::new(&Secret::new(key).expect("a secret")).expect("32 bytes");
        let expected = "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe";
        let hex: String = mac.sign(&[&[0xdd; 20], &[], &[0xdd; 30]]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(format!("{mac:?}"), "Mac(..)");
    }

    #[test]
    fn rejects_a_secret_of_fewer_than_32_bytes() {
        let short = Secret::new(vec![7; 31]).expect("a secret");
        let error = SecretError::TooShort { algorithm: Algorithm::HS256, length: 31, needed: 32 };
        assert_eq!(Mac::new(&short).map(drop), Err(error));
        assert_eq!(Mac::new(&short.dangerous_short_secret()).map(drop), Err(error));
        assert!(Mac::new(&Secret::new(vec![7; 32]).expect("a secret")).is_ok());
    }

    #[test]
    fn random_keys_differ() {
        let [one, other] = [(); 2].map(|()| Mac::random().expect("entropy").sign(&[b"a"]));
        assert_ne!(one, other);
        assert!(is_equal(&one, &one) && !is_equal(&one, &other) && !is_equal(&one, &one[1..]));
    }
}
