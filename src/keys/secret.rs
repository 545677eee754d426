//! Shared secrets for HMAC (RFC 7518 §3.2).

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::keys::thumbprint::Thumbprint;
use crate::keys::verify::{Verifier, VerifyingKey};
use crate::token::Algorithm;

/// A secret that signer and verifier share. Wiped from memory when dropped; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    octets: Zeroizing<Vec<u8>>,
    length: Length,
}

#[derive(Clone, Copy)]
enum Length {
    /// RFC 7518 §3.2: as long as the hash.
    OfHash,
    Short,
}

impl Secret {
    /// The octets of a text.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn utf8(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::bytes(text.into())
    }

    /// Standard base64.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn base64(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::bytes(STANDARD.decode(text.into()).map_err(|_| SecretError::Encoding)?)
    }

    /// base64url.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn base64url(text: impl Into<String>) -> Result<Self, SecretError> {
        Self::bytes(URL_SAFE_NO_PAD.decode(text.into()).map_err(|_| SecretError::Encoding)?)
    }

    /// Octets.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub fn bytes(octets: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let octets = Zeroizing::new(octets.into());
        if octets.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self { octets, length: Length::OfHash })
    }

    /// Allows a secret of at least 16 octets.
    #[must_use]
    pub fn dangerous_short_secret(mut self) -> Self {
        self.length = Length::Short;
        self
    }

    /// Binds the secret to one algorithm.
    pub(crate) fn bind(&self, algorithm: Algorithm) -> Result<VerifyingKey, SecretError> {
        let (hash, needed) = match algorithm {
            Algorithm::HS256 => (hmac::HMAC_SHA256, 32),
            Algorithm::HS384 => (hmac::HMAC_SHA384, 48),
            Algorithm::HS512 => (hmac::HMAC_SHA512, 64),
            _ => return Err(SecretError::NotSymmetric),
        };
        let needed = if matches!(self.length, Length::Short) { 16 } else { needed };
        if self.octets.len() < needed {
            return Err(SecretError::TooShort { octets: self.octets.len(), needed });
        }
        let key = hmac::Key::new(hash, &self.octets);
        let thumbprint = Thumbprint::from_bytes(crate::keys::thumbprint::sha256(&self.octets));
        Ok(VerifyingKey::new(None, algorithm, thumbprint, Verifier::Secret(key)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretError {
    /// No octets at all.
    Empty,
    /// Not in the encoding that was named.
    Encoding,
    /// Fewer octets than the algorithm needs.
    TooShort {
        /// How many there are.
        octets: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The algorithm is not one of HMAC.
    NotSymmetric,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret cannot be used")
    }
}

impl std::error::Error for SecretError {}
