//! Shared secrets for HMAC (RFC 7518 §3.2).

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::defaults;
use crate::keys::der;
use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::Algorithm;

/// A secret that issuer and resource server share, for HS256, HS384 and HS512.
///
/// The caller names the encoding by the constructor, because the same text is three different secrets in UTF-8, base64 and hex.
/// Auth0 signs with the UTF-8 bytes of the secret that its dashboard shows.
///
/// The bytes are zeroed in memory when the secret is dropped. `Debug` does not show them.
///
/// ```
/// use tower_bearer::Secret;
/// use tower_bearer::keys::SecretError;
///
/// let secret = Secret::from_base64url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")?;
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(Secret::from_text("-----BEGIN PUBLIC KEY-----\n..").unwrap_err(), SecretError::KeyFile);
/// # Ok::<(), SecretError>(())
/// ```
///
/// # Security
///
/// Anyone who has the secret can sign tokens as well as verify them. Prefer an asymmetric algorithm if the issuer supports
/// one.
#[derive(Clone)]
pub struct Secret {
    bytes: Zeroizing<Vec<u8>>,
    kid: Option<Box<str>>,
    strength: Strength,
}

#[derive(Clone, Copy)]
enum Strength {
    /// RFC 7518 §3.2: at least as long as the hash.
    Full,
    Short,
}

impl Secret {
    /// Uses the UTF-8 bytes of a text.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Empty`] or [`SecretError::KeyFile`].
    pub fn from_text(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::checked(Zeroizing::new(text.into().into_bytes()))
    }

    /// Decodes a secret in standard base64, with or without padding.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Encoding`], [`SecretError::Empty`] or [`SecretError::KeyFile`].
    pub fn from_base64(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::checked(decode_base64(&STANDARD, text.into().into_bytes())?)
    }

    /// Decodes a secret in base64url, with or without padding.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Encoding`], [`SecretError::Empty`] or [`SecretError::KeyFile`].
    pub fn from_base64url(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::checked(decode_base64(&URL_SAFE, text.into().into_bytes())?)
    }

    /// Decodes a secret in hexadecimal digits, in upper or lower case.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Encoding`], [`SecretError::Empty`] or [`SecretError::KeyFile`].
    pub fn from_hex(text: impl Into<String>) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text.into());
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
        for pair in text.as_bytes().chunks(2) {
            bytes.push(hex_byte(pair).ok_or(SecretError::Encoding)?);
        }
        Self::checked(bytes)
    }

    /// Uses the bytes unchanged.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::Empty`] or [`SecretError::KeyFile`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        Self::checked(Zeroizing::new(bytes.into()))
    }

    fn checked(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        if is_key_file(&bytes) {
            return Err(SecretError::KeyFile);
        }
        Ok(Self { bytes, kid: None, strength: Strength::Full })
    }

    /// Sets the `kid` of the secret, which is then tried only for tokens with this `kid`. For a token without `kid`, the secret
    /// is tried only if it is the issuer's only secret.
    ///
    /// A secret without `kid` is tried for every token. This is the simplest way to rotate secrets.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError::KidTooLong`] if `kid` is longer than 256 bytes.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Result<Self, SecretError> {
        let kid = kid.into();
        if kid.len() > defaults::MAX_KID_BYTES {
            return Err(SecretError::KidTooLong);
        }
        self.kid = Some(kid.into_boxed_str());
        Ok(self)
    }

    /// Allows a secret of at least 16 bytes. By default it must be as long as the hash: 32, 48 or 64 bytes (RFC 7518 §3.2).
    ///
    /// Some of Auth0's older applications have secrets of 16 characters.
    ///
    /// # Security
    ///
    /// An attacker who has one token can try secrets offline. Sixteen typed characters have less than 128 bits of entropy. If
    /// possible, rotate the secret instead.
    #[must_use]
    pub fn dangerous_short_secret(mut self) -> Self {
        self.strength = Strength::Short;
        self
    }

    /// Returns the secret as a key for HMAC-SHA-256. It must have 32 bytes, also if it is a [short](Self::dangerous_short_secret)
    /// secret.
    pub(super) fn hmac_sha256_key(&self) -> Result<hmac::Key, SecretError> {
        self.hmac_key(Algorithm::HS256, hmac::HMAC_SHA256, Strength::Full)
    }

    /// Compares the bytes with those of a request, in constant time for their length.
    pub(crate) fn is_equal(&self, bytes: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.bytes, bytes).is_ok()
    }

    fn hmac_key(
        &self,
        algorithm: Algorithm,
        hash: hmac::Algorithm,
        strength: Strength,
    ) -> Result<hmac::Key, SecretError> {
        let needed = match strength {
            Strength::Full => hash.digest_algorithm().output_len(),
            Strength::Short => defaults::MIN_SHORT_SECRET_BYTES,
        };
        let length = self.bytes.len();
        if length < needed {
            return Err(SecretError::TooShort { algorithm, length, needed });
        }
        Ok(hmac::Key::new(hash, &self.bytes))
    }

    /// Binds the secret to one algorithm.
    pub(crate) fn bind(&self, algorithm: Algorithm) -> Result<VerifyingKey, SecretError> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return Err(SecretError::NotSymmetric),
        };
        let verifier = Verifier::Secret(Box::new(self.hmac_key(algorithm, hash, self.strength)?));
        Ok(VerifyingKey::new(self.kid.clone(), algorithm, Thumbprint::secret(&self.bytes), verifier))
    }
}

/// Allows the constructors of an issuer to accept both a secret and the result of decoding one.
impl From<Secret> for Result<Secret, SecretError> {
    fn from(secret: Secret) -> Self {
        Ok(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn decode_base64(alphabet: &Alphabet, text: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let text = Zeroizing::new(text);
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = engine(alphabet).decode_slice(&*text, &mut bytes).map_err(|_| SecretError::Encoding)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn engine(alphabet: &Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// Returns whether a "secret" is a key in one of the usual file formats. With a public key as the secret, anyone could sign
/// tokens (CVE-2015-9235 and many similar ones).
fn is_key_file(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    KEY_FILE_STARTS.iter().any(|start| text.starts_with(start))
        || contains(b"-----BEGIN")
        || (text.starts_with(b"{") && contains(b"\"kty\""))
        || der::is_public_key(bytes)
        || is_base64_of_public_key(bytes)
}

/// Returns whether the text is the content of a PEM block without its label lines.
fn is_base64_of_public_key(bytes: &[u8]) -> bool {
    // Allocated with the full capacity, since a vector that grows leaves a copy in memory that is not zeroed.
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    text.extend(bytes.iter().filter(|byte| !byte.is_ascii_whitespace()));
    [&STANDARD, &URL_SAFE]
        .into_iter()
        .any(|alphabet| decode_base64(alphabet, text.to_vec()).is_ok_and(|decoded| der::is_public_key(&decoded)))
}

/// RFC 4253 §6.6 in the format of OpenSSH, and RFC 4716.
const KEY_FILE_STARTS: [&[u8]; 5] = [b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-", b"ssh-dss", b"---- BEGIN SSH2"];

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret has no bytes.
    Empty,
    /// The text is not in the named encoding.
    Encoding,
    /// The text is a key in PEM, DER, JWK or SSH format, not a secret.
    KeyFile,
    /// The secret has fewer bytes than the algorithm requires (RFC 7518 §3.2).
    TooShort {
        /// The algorithm.
        algorithm: Algorithm,
        /// The length of the secret in bytes.
        length: usize,
        /// The required length in bytes.
        needed: usize,
    },
    /// The secret has fewer bytes than nonces require.
    #[non_exhaustive]
    TooShortForNonces {
        /// The length of the secret in bytes.
        length: usize,
        /// The required length in bytes.
        needed: usize,
    },
    /// The algorithm is not an HMAC algorithm, or the key to convert is not a shared secret.
    NotSymmetric,
    /// The `kid` is longer than 256 bytes.
    KidTooLong,
    /// A random secret cannot be generated, because the system has no entropy.
    NoEntropy,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the secret is empty"),
            Self::Encoding => f.write_str("the secret is not in the named encoding"),
            Self::KeyFile => {
                f.write_str("the secret is a key file; with a public key as the secret, anyone could sign tokens")
            }
            Self::TooShort { algorithm, length, needed } => write!(
                f,
                "the secret has {length} bytes, and {algorithm} requires {needed}; for an old Auth0 secret of 16 characters \
                 use `dangerous_short_secret`"
            ),
            Self::TooShortForNonces { length, needed } => {
                write!(f, "the secret has {length} bytes, and nonces require {needed} random bytes")
            }
            Self::NotSymmetric => f.write_str("a secret verifies HS256, HS384 and HS512 only"),
            Self::KidTooLong => f.write_str("the kid of the secret is longer than 256 bytes"),
            Self::NoEntropy => f.write_str("the system has no entropy for a random secret"),
        }
    }
}

impl std::error::Error for SecretError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixtures::RSA;

    const PEM: &str = include_str!("../../tests/data/keys/rsa-2048.spki.pem");
    const PKCS1: &str = include_str!("../../tests/data/keys/rsa-2048.pkcs1.pem");

    fn bytes(secret: Result<Secret, SecretError>) -> Vec<u8> {
        secret.expect("a secret").bytes.to_vec()
    }

    fn error_of(secret: Result<Secret, SecretError>) -> SecretError {
        secret.map(drop).expect_err("rejected")
    }

    /// The base64 lines of a PEM block.
    fn body(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn decodes_each_encoding() {
        assert_eq!(bytes(Secret::from_text("+/8=")), b"+/8=");
        assert_eq!(bytes(Secret::new(vec![0, 255])), [0, 255]);
        assert_eq!(bytes(Secret::from_base64("+/8=")), [0xfb, 0xff]);
        assert_eq!(bytes(Secret::from_base64("+/8")), [0xfb, 0xff]);
        assert_eq!(bytes(Secret::from_base64url("-_8=")), [0xfb, 0xff]);
        assert_eq!(bytes(Secret::from_base64url("-_8")), [0xfb, 0xff]);
        assert_eq!(bytes(Secret::from_hex("00fFA9")), [0, 255, 0xa9]);
    }

    #[test]
    fn rejects_text_in_another_encoding() {
        for text in ["-_8", "+/9", "+ 8", "A", "+/8=\n"] {
            assert_eq!(error_of(Secret::from_base64(text)), SecretError::Encoding, "{text}");
        }
        for text in ["+/8", "-_9", "A"] {
            assert_eq!(error_of(Secret::from_base64url(text)), SecretError::Encoding, "{text}");
        }
        for text in ["0", "0g", "+1", "0x00", "00 00", "é"] {
            assert_eq!(error_of(Secret::from_hex(text)), SecretError::Encoding, "{text}");
        }
    }

    #[test]
    fn rejects_empty_secrets() {
        for empty in [
            Secret::from_text(""),
            Secret::from_base64(""),
            Secret::from_base64url(""),
            Secret::from_hex(""),
            Secret::new([]),
        ] {
            assert_eq!(error_of(empty), SecretError::Empty);
        }
    }

    #[test]
    fn rejects_key_files() {
        let der = base64::engine::general_purpose::STANDARD.decode(body(PEM).replace('\n', "")).expect("base64");
        for text in [
            PEM.to_owned(),
            PKCS1.to_owned(),
            format!("  \n{PEM}"),
            PEM.replace("PUBLIC", "PRIVATE"),
            PEM.replace('\n', "\\n"),
            body(PEM),
            body(PKCS1),
            body(PEM).replace('\n', ""),
            "ssh-rsa AAAAB3NzaC1yc2E me@host".to_owned(),
            " ecdsa-sha2-nistp256 AAAA".to_owned(),
            RSA.to_owned(),
        ] {
            assert_eq!(error_of(Secret::from_text(text.as_str())), SecretError::KeyFile, "{text}");
            assert_eq!(error_of(Secret::new(text.as_bytes())), SecretError::KeyFile, "{text}");
        }
        assert_eq!(error_of(Secret::new(der)), SecretError::KeyFile);
        assert_eq!(error_of(Secret::from_base64(body(PEM).replace('\n', ""))), SecretError::KeyFile);
        for fine in [
            "-----a secret with dashes-----",
            "{not a key, though it looks like one}",
            "not a \"kty\" either",
            "MIIBIjANBgkqhkiG9w0BAQEF",
        ] {
            assert!(Secret::from_text(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn rejects_secrets_shorter_than_the_hash() {
        for (algorithm, needed) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
            let secret = |length: usize| Secret::new(vec![7; length]).expect("a secret");
            assert!(secret(needed).bind(algorithm).is_ok());
            let error = SecretError::TooShort { algorithm, length: needed - 1, needed };
            assert_eq!(secret(needed - 1).bind(algorithm).map(drop), Err(error));
            assert!(secret(16).dangerous_short_secret().bind(algorithm).is_ok());
            let error = SecretError::TooShort { algorithm, length: 15, needed: 16 };
            assert_eq!(secret(15).dangerous_short_secret().bind(algorithm).map(drop), Err(error));
        }
        let error = SecretError::TooShort { algorithm: Algorithm::HS256, length: 16, needed: 32 };
        assert_eq!(
            error.to_string(),
            "the secret has 16 bytes, and HS256 requires 32; for an old Auth0 secret of 16 characters use \
             `dangerous_short_secret`"
        );
    }

    #[test]
    fn binds_to_hmac_algorithms_only_and_keeps_its_kid() {
        let secret = Secret::new([7; 64]).expect("a secret");
        for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_symmetric()) {
            assert_eq!(secret.bind(algorithm).map(drop), Err(SecretError::NotSymmetric), "{algorithm}");
        }
        assert_eq!(secret.bind(Algorithm::HS256).expect("bound").kid(), None);
        let named = secret.clone().with_kid("1").and_then(|secret| secret.bind(Algorithm::HS256)).expect("bound");
        assert_eq!(named.kid(), Some("1"));
        for (longest, too_long) in [("k".repeat(256), "k".repeat(257)), ("é".repeat(128), "é".repeat(129))] {
            assert!(secret.clone().with_kid(longest).is_ok());
            assert_eq!(error_of(secret.clone().with_kid(too_long)), SecretError::KidTooLong);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::from_text("hunter2")), "Ok(Secret(..))");
    }
}
