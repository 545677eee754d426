//! Thumbprints of keys (RFC 7638).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The SHA-256 thumbprint of a key (RFC 7638). It depends on the public key only, not on its `kid` or its encoding.
///
/// It identifies a key in [`KeySource::revoke_key`](crate::jwks::KeySource::revoke_key). It is parsed from base64url, which
/// is what tools print, created from its 32 bytes, or computed by
/// [`KeySet::thumbprints`](crate::keys::KeySet::thumbprints). `Debug` does not show its value.
///
/// ```
/// use tower_bearer::keys::{KeySet, Thumbprint, ThumbprintError};
///
/// let thumbprint: Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".parse()?;
/// let key = r#"{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// assert!(KeySet::from_jwks(key)?.thumbprints().eq([thumbprint]));
///
/// let too_short: Result<Thumbprint, ThumbprintError> = "kPrK_qmx".parse();
/// assert!(too_short.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Computes the thumbprint of an RSA key (RFC 7638 §3.2: `e`, `kty`, `n`).
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::from_json(&format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n)))
    }

    /// Computes the thumbprint of an EC key (RFC 7638 §3.2: `crv`, `kty`, `x`, `y`).
    pub(super) fn ec(curve: &str, x: &[u8], y: &[u8]) -> Self {
        Self::of_ec_members(curve, &base64url(x), &base64url(y))
    }

    /// Computes the thumbprint of an EC key from its coordinates in base64url without padding.
    pub(super) fn of_ec_members(curve: &str, x: &str, y: &str) -> Self {
        Self::from_json(&[r#"{"crv":""#, curve, r#"","kty":"EC","x":""#, x, r#"","y":""#, y, r#""}"#].concat())
    }

    /// Computes the thumbprint of an OKP key (RFC 8037 §2: `crv`, `kty`, `x`).
    pub(super) fn okp(curve: &str, x: &[u8]) -> Self {
        Self::from_json(&format!(r#"{{"crv":"{curve}","kty":"OKP","x":"{}"}}"#, base64url(x)))
    }

    /// Computes an identifier for a secret. It must not leave this process (RFC 7638 §7).
    pub(crate) fn secret(bytes: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self(from_slice(hmac::sign(&key, b"tower-bearer thumbprint").as_ref()))
    }

    /// Returns base64url without padding, as `jkt` has it (RFC 9449 §6.1): 43 characters.
    ///
    /// # Security
    ///
    /// The thumbprint of a client's key is a pseudonym of the client.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        base64url(&self.0)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_json(json: &str) -> Self {
        Self(sha256(json.as_bytes()))
    }
}

impl From<[u8; 32]> for Thumbprint {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// Parses base64url without padding: 43 characters.
impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let digest = URL_SAFE_NO_PAD.decode(text).map_err(|_| ThumbprintError)?;
        digest.try_into().map(Self).map_err(|_| ThumbprintError)
    }
}

/// The text is not the base64url encoding of a SHA-256 thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ThumbprintError;

impl fmt::Display for ThumbprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not the base64url encoding of a SHA-256 thumbprint")
    }
}

impl std::error::Error for ThumbprintError {}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thumbprint(..)")
    }
}

/// Returns a name for a text, of 43 letters, digits, `-` and `_`. Different texts have different names.
pub(crate) fn digest_name(text: &str) -> String {
    base64url(&sha256(text.as_bytes()))
}

/// Computes the SHA-256 hash of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    from_slice(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Copies the 32 bytes of a SHA-256 digest or MAC.
pub(super) fn from_slice(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest);
    bytes
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixtures::{ED25519, P256, RSA, RSA_7638, changed, member, published};

    fn text(jwk: &str) -> String {
        base64url(published(jwk).material.thumbprint().as_bytes())
    }

    #[test]
    fn matches_the_rfc_examples() {
        // RFC 7638 §3.1 and RFC 8037 §A.3.
        assert_eq!(text(RSA_7638), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(text(ED25519), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn depends_on_the_key_and_not_on_its_encoding() {
        let padded = changed(RSA, "n", member(RSA, "n") + "==");
        assert_eq!(text(&padded), text(RSA));
        assert_eq!(text(&changed(RSA, "kid", "another")), text(RSA));
        assert_eq!(text(&changed(P256, "alg", "ES256")), text(P256));
        assert_ne!(text(RSA), text(RSA_7638));
    }

    #[test]
    fn parses_base64url_without_padding_only() {
        let printed = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(printed.parse(), Ok(published(RSA_7638).material.thumbprint()));
        assert_eq!(
            Thumbprint::from(*published(RSA).material.thumbprint().as_bytes()),
            published(RSA).material.thumbprint()
        );
        let (longer, padded, hex) = (format!("{printed}AA"), format!("{printed}="), "36cb".repeat(16));
        for text in
            ["", &printed[1..], &longer, &padded, &hex, &printed.replace('_', "/"), &printed.replace("Xs", "Xt")]
        {
            assert_eq!(text.parse::<Thumbprint>(), Err(ThumbprintError), "{text}");
        }
    }

    #[test]
    fn differs_between_secrets_and_debug_hides_it() {
        assert_eq!(Thumbprint::secret(b"one"), Thumbprint::secret(b"one"));
        assert_ne!(Thumbprint::secret(b"one"), Thumbprint::secret(b"two"));
        assert_eq!(format!("{:?}", Thumbprint::secret(b"one")), "Thumbprint(..)");
    }
}
